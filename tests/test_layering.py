"""Imports go one way, and light commands stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ALLOWED = {
    "scenarios": {"scenarios"},
    "runtime": {"scenarios", "runtime"},
    "profiler": {"scenarios", "runtime", "profiler"},
    "solver": {"scenarios", "solver"},
    "orchestrator": {"scenarios", "runtime", "profiler", "solver", "orchestrator"},
}
OURS = set(ALLOWED)


def imported(path: Path) -> set[str]:
    """Modules of ours that a file imports, without the leading ``hybridsplit.``."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    assert not {name.split(".")[0] for name in names} & OURS, f"{path}: imported without hybridsplit."
    return {name.removeprefix("hybridsplit.") for name in names if name.startswith("hybridsplit.")}


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_imports_go_one_way(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        reached = {name.split(".")[0] for name in imported(path)}
        assert reached <= ALLOWED[package], f"{path} imports {reached - ALLOWED[package]}"


def test_replay_shares_nothing_with_the_planner() -> None:
    allowed = ("scenarios", "runtime.replay", "runtime.data.participation")
    for path in (ROOT / "runtime" / "replay").rglob("*.py"):
        assert all(name.startswith(allowed) for name in imported(path)), f"{path}: {imported(path)}"


def test_verification_shares_nothing_with_the_solver() -> None:
    for path in (ROOT / "solver" / "verify").rglob("*.py"):
        assert all(name.startswith(("scenarios", "solver.verify")) for name in imported(path)), f"{path}"


def modules_after(code: str) -> set[str]:
    script = f"{code}\nimport sys\nprint('\\n'.join(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    return {line.split(".")[0] for line in done.stdout.splitlines()}


HEAVY = {"torch", "transformers", "pandas", "cvxpy", "ray"}


def command(*arguments: str) -> str:
    """Code that runs a command and goes on after it; a failing one fails the subprocess."""
    return (
        f"import sys; sys.argv = ['hybridsplit', *{arguments!r}]\nfrom hybridsplit.orchestrator.cli import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code"
    )


@pytest.mark.parametrize(
    "arguments", [["--help"], ["scenarios"], ["scenarios", "quickstart"], ["scenarios", "--schema"]]
)
def test_light_commands_import_nothing_heavy(arguments: list[str]) -> None:
    assert not modules_after(command(*arguments)) & HEAVY


def test_the_page_of_plugins_imports_nothing_heavy() -> None:
    facts = "Asks, Gradient, ImageSource, LinkModel, PluginWarning, StepBytes, TextSource, TrainingMode"
    assert not modules_after(f"from hybridsplit.plugins import {facts}") & HEAVY


def test_plan_never_imports_ray() -> None:
    assert "ray" not in modules_after(command("plan", "quickstart"))


def test_the_solver_knows_no_models() -> None:
    code = "import hybridsplit.solver.planner, hybridsplit.solver.explain.decomposition"
    assert not modules_after(code) & {"torch", "transformers", "ray"}
