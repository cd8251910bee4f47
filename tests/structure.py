"""Rooms of the code and the arrows between them, read from imports."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("scenarios", "runtime", "profiler", "solver", "orchestrator")


def imported(path: Path) -> set[str]:
    """Modules of ours that a file imports, without the leading ``hybridsplit.``, types alone left out."""
    names: set[str] = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.removeprefix("hybridsplit.") for name in names if name.startswith("hybridsplit.")}


def room_of(module: str, folder: str) -> str | None:
    """Return the room of a module within a folder: its subfolder, or the file itself where it stands at the top."""
    parts = module.split(".")
    if parts[0] != folder or len(parts) < 2:
        return None
    place = ROOT / folder / parts[1]
    return parts[1] if place.is_dir() or place.with_suffix(".py").is_file() else None


def arrows(folder: str) -> dict[str, set[str]]:
    """Return for every room of a folder the other rooms of it that it imports."""
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        relative = path.relative_to(ROOT / folder)
        if relative.name == "__init__.py" and len(relative.parts) == 1:
            continue
        room = relative.parts[0].removesuffix(".py")
        reached = {room_of(name, folder) for name in imported(path)} - {None, room}
        found.setdefault(room, set()).update(name for name in reached if name is not None)
    return found


def folders() -> dict[str, set[str]]:
    """Return for every folder the others that it imports."""
    return {
        folder: {name.split(".")[0] for path in (ROOT / folder).rglob("*.py") for name in imported(path)}
        & set(FOLDERS) - {folder}
        for folder in FOLDERS
    }


def floors(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return rooms by floor, the lowest first: every room stands above all it imports.

    Raises
    ------
    AssertionError
        If rooms import each other in a circle.
    """
    level: dict[str, int] = {}

    def height(room: str, above: tuple[str, ...]) -> int:
        assert room not in above, f"a circle: {' -> '.join([*above[above.index(room) :], room])}"
        if room not in level:
            level[room] = 1 + max((height(under, (*above, room)) for under in graph[room]), default=-1)
        return level[room]

    for room in graph:
        height(room, ())
    return [sorted(room for room, at in level.items() if at == floor) for floor in range(max(level.values()) + 1)]
