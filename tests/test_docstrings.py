"""Docstrings of public functions say what a reader cannot see: shapes of arrays and errors.

Commands are left out: their docstring is the text of ``--help``, and their errors become messages and exit codes.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("scenarios", "runtime", "profiler", "solver", "orchestrator", "src/hybridsplit")
Function = ast.FunctionDef | ast.AsyncFunctionDef

ARRAY = re.compile(r"\b(FloatArray|IntArray|BoolArray|NDArray|ndarray|Tensor)\b")
TABLE = re.compile(r"\b(DataFrame|Series)\b")
_SIZE = r"(?:\.\.\.|\d+|[A-Za-z]['′]?|[A-Z]\w* ?[+·*-] ?\w+)"
SHAPE = re.compile(rf"\[{_SIZE}(?:, {_SIZE})*\]|\[\]|\b[Ss]hapes?\b|\b[Ll]ength L\b")
"""``[N, 3]``, ``[..., D]``, ``[]``, or a sentence about the shape."""
SUFFIX = re.compile(r"_[A-Z]{1,4}$")


def public_functions() -> Iterator[tuple[str, Function]]:
    """Functions and methods without a leading underscore, in classes without one."""

    def found(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, Function]]:
        for node in body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield from found(node.body, f"{prefix}{node.name}.")
            elif isinstance(node, Function) and not node.name.startswith("_") and not is_command(node):
                yield f"{prefix}{node.name}", node

    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            where = f"{path.relative_to(ROOT)}: "
            yield from found(ast.parse(path.read_text(encoding="utf-8")).body, where)


def is_command(node: Function) -> bool:
    return any(isinstance(one, ast.Name) and one.id == "reports_errors" for one in node.decorator_list)


def raises(node: ast.AST) -> bool:
    """Whether a function raises in its own body, functions inside it left out."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Raise):
            return True
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)) and raises(child):
            return True
    return False


FUNCTIONS = list(public_functions())


def test_the_folders_were_found() -> None:
    assert len(FUNCTIONS) > 700


def test_returned_arrays_have_a_shape() -> None:
    lacking = []
    for name, node in FUNCTIONS:
        returned, said = ast.unparse(node.returns) if node.returns else "", ast.get_docstring(node) or ""
        if ARRAY.search(returned) and not SHAPE.search(said) and not SUFFIX.search(node.name):
            lacking.append(name)
        if TABLE.search(returned) and not re.search(r"\brows?\b", said, re.IGNORECASE):
            lacking.append(name)
    assert not lacking, lacking


def test_errors_are_listed() -> None:
    lacking = [
        name
        for name, node in FUNCTIONS
        if raises(node) and not re.search(r"^Raises\n-+$", ast.get_docstring(node) or "", re.MULTILINE)
    ]
    assert not lacking, lacking


@pytest.mark.parametrize(
    ("said", "has_shape"),
    [("[N] rows", True), ("[..., 3] shares", True), ("[K, 6 + limits]", False), ("the rows", False), ("[P]", True)],
)
def test_what_counts_as_a_shape(said: str, has_shape: bool) -> None:
    assert bool(SHAPE.search(said)) == has_shape
