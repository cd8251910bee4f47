"""The Python interface: frozen names, a light import, and pages whose code runs."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import hybridsplit as hs
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.solver.strategies import Proposal, Strategy
from tests.solver.virtual_space.tasks import random_task

ROOT = Path(__file__).resolve().parent.parent
PUBLIC = [
    "Comparison", "HybridSplitError", "ModelSearch", "OptionTable", "ParetoFront", "Placement", "Plan", "Replayed",
    "Run", "Scenario", "WhatIf", "compare", "export", "load", "pareto", "plan", "profile", "replay", "report", "run",
    "search", "what_if",
]  # fmt: skip
SMALL = {"training.local_steps": 1, "training.rounds": 1, "training.frozen_control": False}


def test_public_names_are_these_and_exist() -> None:
    assert hs.__all__ == PUBLIC
    assert all(getattr(hs, name) is not None for name in PUBLIC)
    assert set(PUBLIC) <= set(dir(hs))
    with pytest.raises(AttributeError, match="no attribute 'plans'"):
        _ = hs.plans  # type: ignore[attr-defined]


def test_importing_it_imports_nothing_heavy() -> None:
    code = "import hybridsplit, sys; print([m for m in ('torch', 'numpy', 'pandas', 'pydantic') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_checkout_without_symbolic_links_works(tmp_path: Path) -> None:
    """As on Windows, where git may write links as text files."""
    package = tmp_path / "src" / "hybridsplit"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text((ROOT / "src/hybridsplit/__init__.py").read_text(encoding="utf-8"))
    (package / "solver").write_text("../../solver")
    (tmp_path / "solver").mkdir()
    (tmp_path / "solver" / "__init__.py").write_text("here = True")
    code = "import hybridsplit.solver as s; assert s.here"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(tmp_path / "src")}, check=True)


class LeastMemory(Strategy):
    """Every client's option with the least peak."""

    name = "least-memory"
    summary = "the option with the least peak, at equal shares"

    def propose(self, problem, effort):  # type: ignore[no-untyped-def]
        peaks = problem.table["client_peak_bytes"].to_numpy()
        ends = [*problem.starts[1:], problem.num_rows]
        rows = [a + int(peaks[a:b].argmin()) for a, b in zip(problem.starts, ends, strict=True)]
        return Proposal(rows, equal_shares=True, reason="least memory")


def test_a_strategy_may_be_an_object_that_is_not_registered() -> None:
    scenario = hs.load("quickstart")
    options = hs.profile(scenario)
    plan = hs.plan(scenario, options, strategy=LeastMemory())
    assert plan.strategy == "least-memory"
    assert all(
        client.client_peak_bytes
        == options.fitting().query("client == @client.id and cut >= @minimum")["client_peak_bytes"].min()
        for client, minimum in ((c, 3 if c.id.startswith("pi4") else 1) for c in plan.clients)
    )
    assert [row.strategy for row in hs.compare(scenario, options, [LeastMemory(), "greedy"]).rows] == [
        "least-memory",
        "greedy",
    ]


def test_values_and_overrides_are_checked_like_a_file() -> None:
    values = hs.load("quickstart").resolved()
    again = hs.load(values, **{"clients.pi4.count": 3}, seed=7)
    assert (again.clients[0].count, again.seed) == (3, 7)
    assert values["seed"] == 0, "what was passed is left as it was"
    with pytest.raises(hs.HybridSplitError, match="did you mean 'seed'"):
        hs.load(values, sed=1)
    with pytest.raises(hs.HybridSplitError, match="no item 'pi9'"):
        hs.load("quickstart", clients__pi9__count=1)


def test_values_show_themselves_shortly_and_as_tables(tmp_path: Path) -> None:
    scenario = hs.load("quickstart", **SMALL)
    options = hs.profile(scenario)
    plan = hs.plan(scenario, options, strategy="greedy")
    run = hs.run(plan, out=tmp_path / "run")
    shown = [options, plan, run, hs.replay(plan), hs.compare(scenario, options, ["greedy"])]
    for value in shown:
        assert len(repr(value)) < 300
        assert "\n" not in repr(value)
        assert "<pre" in value._repr_html_()
    assert "pi5-0" in plan._repr_html_()
    assert "<script>" not in hs.Plan.model_validate(plan.model_dump() | {"strategy": "<script>"})._repr_html_()
    assert Plan.load(run.path / "plan.json") == plan
    assert run.summary.bytes_agree
    assert hs.report(run) == run.report
    with pytest.raises(hs.HybridSplitError, match="already holds a run"):
        hs.run(plan, out=tmp_path / "run")


def test_inference_tasks_have_the_same_functions_with_values_of_their_own(tmp_path: Path) -> None:
    scenario = hs.load(random_task(6, apps=3, devices=3).resolved())
    plan = hs.plan(scenario)
    compared = hs.compare(scenario, strategies=["optimal", "source-only"])
    replayed = hs.replay(plan, rounds=30)
    layers = hs.profile(scenario)
    for value in (plan, compared, replayed, layers):
        assert len(repr(value)) < 300
        assert "\n" not in repr(value)
        assert "<pre" in value._repr_html_()
    assert plan.apps[0].id in plan._repr_html_()
    altered = plan.model_copy(update={"strategy": "<script>"})
    assert "<script>" not in altered._repr_html_()
    assert replayed.period_s >= plan.period_s * (1 - 1e-9)
    assert list(compared.frame["strategy"]) == ["optimal", "source-only"]
    assert (layers.frame["seconds"] > 0).all()
    assert hs.plan(scenario, warm_start=plan).period_s <= plan.period_s
    assert repr(hs.plan("wearables", strategy="source-only")).startswith("Plan of wearables by source-only")


def test_what_belongs_to_the_other_task_is_refused_by_name(tmp_path: Path) -> None:
    scenario = hs.load(random_task(6, apps=2, devices=2).resolved())
    plan = hs.plan(scenario)
    training = hs.load("quickstart")
    of_training = hs.plan(training, strategy="greedy")
    wrong: list[tuple[str, Callable[[], object]]] = [
        ("run: nothing is trained", lambda: hs.run(plan)),
        ("run: nothing is trained", lambda: hs.run(scenario)),
        ("pareto: nothing is trained", lambda: hs.pareto(scenario)),
        ("options, fixed: belong to training", lambda: hs.plan(scenario, fixed={})),
        ("options, train: belong to training", lambda: hs.compare(scenario, train=True)),
        ("strategy: found LeastMemory", lambda: hs.plan(scenario, strategy=LeastMemory())),
        ("warm_start: found a plan of training", lambda: hs.plan(scenario, warm_start=of_training)),
        ("warm_start: found the plan of an inference task", lambda: hs.plan(training, warm_start=plan)),
        ("traces, in_order and absolute", lambda: hs.replay(plan, in_order=True)),
        ("was changed after it was made", lambda: hs.replay(plan.model_copy(update={"period_s": plan.period_s / 2}))),
        ("this replay was not written", lambda: hs.report(hs.replay(plan, rounds=3))),
    ]
    for words, call in wrong:
        with pytest.raises(hs.HybridSplitError, match=words):
            call()


def snippets(page: Path) -> list[str]:
    return re.findall(r"<!-- python -->\n```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


PAGES = [page for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")) if snippets(page)]


@pytest.mark.parametrize("page", [str(page.relative_to(ROOT)) for page in PAGES])
def test_code_of_the_pages_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for snippet in snippets(ROOT / page):
        exec(compile(snippet, page, "exec"), names)


def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cells = json.loads((ROOT / "docs" / "quickstart.ipynb").read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert len(code) >= 5
    names: dict[str, object] = {}
    for source in code:
        tree = ast.parse(source)
        exec(compile(tree, "quickstart.ipynb", "exec"), names)
