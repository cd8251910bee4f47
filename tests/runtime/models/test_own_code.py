"""Python code that comes with a checkpoint or a tokenizer is never run, and nobody is asked whether it may be."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from hybridsplit.runtime.data.sources import load_dataset
from hybridsplit.runtime.models.build import build_blocks
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.testing.families import family_scenario
from tests.structure import ROOT

FOLDERS = ("scenarios", "solver", "profiler", "runtime", "orchestrator", "src", "benchmarks", "tests")
LOADERS = {"from_pretrained", "from_config"}


def leaves_a_mark(folder: Path) -> Path:
    """Write a module that, when imported, leaves a file; return where."""
    mark = folder / "was-run"
    (folder / "own.py").write_text(f"open({str(mark)!r}, 'w').close()\n", encoding="utf-8")
    return mark


def write(folder: Path, name: str, stated: dict[str, Any]) -> None:
    (folder / name).write_text(json.dumps(stated), encoding="utf-8")


@pytest.mark.parametrize("meta", [True, False])
@pytest.mark.parametrize(
    "stated",
    [
        {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}},
        {"model_type": "llama", "auto_map": {"AutoModelForCausalLM": "own.Model"}},
        {"model_type": "gemma3", "text_config": {"auto_map": {"AutoModel": "own.Model"}}},
        {"auto_map": {"AutoConfig": "somebody/elsewhere--own.Config"}},
    ],
    ids=["unknown type", "known type", "nested", "of another repository"],
)
def test_a_checkpoint_with_code_is_refused(stated: dict[str, Any], meta: bool, tmp_path: Path) -> None:
    mark = leaves_a_mark(tmp_path)
    write(tmp_path, "config.json", stated)
    scenario = family_scenario("llama")
    section = scenario.model.model_copy(update={"config": None, "checkpoint": str(tmp_path)})
    with pytest.raises(ScenarioError, match=r"model\.checkpoint.*auto_map.*own\..*never run"):
        build_blocks(scenario.model_copy(update={"model": section}), meta=meta)
    assert not mark.exists()


@pytest.mark.parametrize("name", ["tokenizer_config.json", "config.json"])
def test_a_tokenizer_with_code_is_refused(name: str, tmp_path: Path) -> None:
    mark = leaves_a_mark(tmp_path)
    write(tmp_path, name, {"model_type": "own", "auto_map": {"AutoTokenizer": ["own.Tokenizer", None]}})
    (tmp_path / "table.csv").write_text("sentence,label\n" + "fine,0\nnot fine,1\n" * 20, encoding="utf-8")
    document = family_scenario("bert").model_dump(mode="json", exclude_defaults=True)
    document["data"] = {"source": "text-table", "path": str(tmp_path / "table.csv"), "tokenizer": str(tmp_path)}
    with pytest.raises(ScenarioError, match=r"data\.tokenizer.*auto_map.*never run"):
        load_dataset(validate_scenario(document, "own code"))
    assert not mark.exists()


def loads(tree: ast.AST) -> list[ast.Call]:
    """Calls that make transformers load or build something."""
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LOADERS
    ]


def test_every_load_states_that_code_is_not_trusted() -> None:
    found = 0
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            for call in loads(ast.parse(path.read_text(encoding="utf-8"))):
                trust = {keyword.arg: keyword.value for keyword in call.keywords}.get("trust_remote_code")
                assert isinstance(trust, ast.Constant), f"{path}:{call.lineno}"
                assert trust.value is False, f"{path}:{call.lineno}"
                found += 1
    assert found >= 5
