"""Imports go one way, and light commands stay light."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hybridsplit.scenarios.loader import builtin_text
from tests.structure import ROOT, imported

ALLOWED = {
    "scenarios": {"scenarios"},
    "runtime": {"scenarios", "runtime"},
    "profiler": {"scenarios", "runtime", "profiler"},
    "solver": {"scenarios", "solver"},
    "orchestrator": {"scenarios", "runtime", "profiler", "solver", "orchestrator"},
}


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


def modules_after(code: str, cache: Path | None = None) -> set[str]:
    script = f"{code}\nimport sys\nprint('\\n'.join(sorted(sys.modules)))"
    environment = {**os.environ, **({"HYBRIDSPLIT_CACHE": str(cache)} if cache else {})}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120, env=environment
    )
    return {line.split(".")[0] for line in done.stdout.splitlines()}


LEARNING = {"torch", "transformers", "peft", "sklearn"}
HEAVY = LEARNING | {"pandas", "cvxpy", "ray"}


def command(*arguments: str, code: int = 0) -> str:
    """Code that runs a command and goes on after it; one that ends otherwise fails the subprocess."""
    return (
        f"import sys; sys.argv = ['hybridsplit', *{arguments!r}]\nfrom hybridsplit.orchestrator.start import main\n"
        f"try:\n    main()\nexcept SystemExit as stop:\n    assert (stop.code or 0) == {code}, stop.code"
    )


@pytest.mark.parametrize(
    "arguments", [["--help"], ["scenarios"], ["scenarios", "quickstart"], ["scenarios", "--schema"]]
)
def test_light_commands_import_nothing_heavy(arguments: list[str]) -> None:
    assert not modules_after(command(*arguments)) & HEAVY


def test_the_first_help_imports_no_command_line() -> None:
    assert not modules_after(command("--help")) & (HEAVY | {"typer", "rich", "pydantic", "numpy"})


def test_a_misspelt_key_is_told_before_anything_heavy_is_imported(tmp_path: Path) -> None:
    scenario = tmp_path / "misspelt.yaml"
    scenario.write_text(builtin_text("quickstart").replace("local_steps:", "local_stepz:"), encoding="utf-8")
    assert not modules_after(command("plan", str(scenario), code=2)) & (HEAVY | {"numpy", "scipy"})


def test_a_warm_plan_and_a_replay_import_what_they_need(tmp_path: Path) -> None:
    cache, plan = tmp_path / "cache", tmp_path / "plan.json"
    first = modules_after(command("plan", "quickstart", "--out", str(plan)), cache)
    assert "torch" in first, "the model was traced"
    assert "ray" not in first
    # Fixed links and no limit that couples options: neither cvxpy nor SciPy has anything to do.
    unneeded = LEARNING | {"ray", "networkx", "cvxpy", "scipy", "plotly"}
    assert not modules_after(command("plan", "quickstart"), cache) & unneeded
    assert not modules_after(command("replay", str(plan)), cache) & (HEAVY | unneeded | {"numpy", "pyarrow"})


def test_the_page_of_plugins_imports_nothing_heavy() -> None:
    facts = "Asks, Gradient, ImageSource, LinkModel, PluginWarning, StepBytes, TextSource, TrainingMode"
    assert not modules_after(f"from hybridsplit.plugins import {facts}") & HEAVY


def test_the_solver_knows_no_models() -> None:
    code = "import hybridsplit.solver.planner, hybridsplit.solver.explain.decomposition"
    assert not modules_after(code) & {"torch", "transformers", "ray"}
