"""Modules of the user's own: which files they are made of, and importing them as they are now."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

_MARK = "_digest_of_user_code"
"""Attribute of modules that were imported from a scenario's folder."""


def files_of_package(package: str) -> list[Path]:
    """Return the Python files of a package, or of a module that stands alone; none where it is not installed."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):  # no module of this name, or one without a file
        return []
    if spec is None:
        return []
    if spec.submodule_search_locations:
        return sorted(path for folder in spec.submodule_search_locations for path in Path(folder).rglob("*.py"))
    return [Path(spec.origin)] if spec.origin is not None and Path(spec.origin).is_file() else []


def fresh_module(file: Path, root: Path, sources: list[Path], digest: str) -> ModuleType:
    """Import a file; anew, with all that it imports from its folder, where one of them changed since.

    Parameters
    ----------
    file, root
        The file, and the folder that its imports start from.
    sources, digest
        All files that decide what it does, and a hash of them.

    Raises
    ------
    BaseException
        Whatever the code raises.
    """
    # A file that stands alone has a name of its own, lest it takes the place of an installed package.
    name = (
        _module_name(file, root)
        if file.parent != root
        else f"_user_code_{hashlib.sha256(str(file).encode()).hexdigest()[:16]}"
    )
    known = sys.modules.get(name)
    if known is not None and getattr(known, _MARK, None) == digest:
        return known
    names = {_module_name(path, root) for path in sources} | {name}
    for other in names & set(sys.modules):
        # Those of an earlier state of these files, or of another scenario's; never a package's of the same name.
        if hasattr(sys.modules[other], _MARK):
            del sys.modules[other]
    importlib.invalidate_caches()
    if file.parent != root:
        module = importlib.import_module(name)
    else:
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    own = {str(path) for path in sources}
    for other in names & set(sys.modules):
        if getattr(sys.modules[other], "__file__", None) in own:
            setattr(sys.modules[other], _MARK, digest)
    return module


def _module_name(file: Path, root: Path) -> str:
    parts = file.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_from(root: Path, file: Path) -> list[Path]:
    """Return the files that a file imports from a folder, directly or not, and itself; in order.

    Parameters
    ----------
    root
        The folder.
    file
        A Python file in or below it.
    """
    found: set[Path] = set()
    waiting = [file]
    while waiting:
        path = waiting.pop()
        if path in found or not path.is_file():
            continue
        found.add(path)
        with contextlib.suppress(SyntaxError, ValueError, OSError):
            for name in _imports(ast.parse(path.read_bytes()), path, root):
                steps = name.split(".")
                for length in range(1, len(steps) + 1):
                    place = root.joinpath(*steps[:length])
                    waiting += [place.with_name(f"{place.name}.py"), place / "__init__.py"]
    return sorted(found)


def _imports(tree: ast.AST, path: Path, root: Path) -> Iterator[str]:
    """Dotted names that a file imports, from the root on."""
    package = path.parent.relative_to(root).parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = [*above, *(node.module.split(".") if node.module else [])]
            yield from (".".join([*base, alias.name]) for alias in node.names)


@contextlib.contextmanager
def importing_from(folder: Path | None) -> Iterator[None]:
    """Within it imports look into a folder first, and no compiled files are written.

    Those tell an edit within a second from none.
    """
    if folder is None:
        yield
        return
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.dont_write_bytecode = before
        with contextlib.suppress(ValueError):
            sys.path.remove(str(folder))
