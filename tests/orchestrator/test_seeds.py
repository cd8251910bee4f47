"""Strategies over seeds: paired differences in one voice, files a reader can use, and runs that are kept."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hybridsplit as hs
from hybridsplit.orchestrator.pipeline import RunSettings
from hybridsplit.orchestrator.studies.over_seeds.files import latex, score_svg
from hybridsplit.orchestrator.studies.over_seeds.page import study_page
from hybridsplit.orchestrator.studies.over_seeds.runs import CutRun, SeedRun
from hybridsplit.orchestrator.studies.over_seeds.side_by_side import _go_side_by_side
from hybridsplit.orchestrator.studies.over_seeds.study import SeedStudy, score_over_time, summarised
from hybridsplit.orchestrator.studies.significance import mean_over_seeds, verdict
from tests.orchestrator.test_cli import SMALL, document, done, invoke


def run(strategy: str, seed: int, accuracy: list[float], round_s: float = 2.0, joules: float | None = 3.0) -> SeedRun:
    rounds = len(accuracy)
    return SeedRun(
        strategy=strategy, seed=seed, simulated_s=tuple(round_s * (k + 1) for k in range(rounds)),
        test_score=tuple(accuracy), train_loss=(1.0,) * rounds, bytes_a_round=100, joules_a_round=joules,
        fullest=0.5,
    )  # fmt: skip


def test_figures_to_the_target_are_those_of_the_round_in_which_it_is_reached() -> None:
    runs = {"slow": tuple(run("slow", seed, [0.2, 0.4, 0.6, 0.8, 0.8]) for seed in range(3))}
    (one,) = summarised(runs, (0.5, True)).strategies
    for name, expected in (("seconds_to_target", 5.0), ("bytes_to_target", 250.0), ("joules_to_target", 7.5)):
        figure = getattr(one, name)
        assert figure.mean == pytest.approx(expected)
        assert figure.low == pytest.approx(expected)
        assert figure.high == pytest.approx(expected)
    assert one.minus_first == {}


def test_differences_are_paired_by_seed() -> None:
    """Seeds differ by far more than strategies do, and the difference shows all the same."""
    luck = [0.0, 0.2, 0.35]
    one = tuple(run("one", s, [0.3 + luck[s], 0.5 + luck[s]]) for s in range(3))
    other = tuple(run("other", s, [0.3 + luck[s], 0.48 + luck[s] + 0.001 * s]) for s in range(3))
    study = summarised({"one": one, "other": other}, None)
    second = study.strategies[1]
    difference = second.minus_first["test_accuracy"]
    assert difference is not None
    assert difference.mean == pytest.approx(-0.019)
    assert second.verdicts == {"test_accuracy": "worse"}
    own = study.strategies[0].test_accuracy
    assert own is not None
    assert own.low is not None
    assert own.low < 0.5


def test_a_run_that_misses_the_target_leaves_no_figure_and_no_claim() -> None:
    one = tuple(run("one", s, [0.3, 0.9, 0.9]) for s in range(2))
    other = (run("other", 0, [0.3, 0.9, 0.9]), run("other", 1, [0.1, 0.1, 0.1]))
    second = summarised({"one": one, "other": other}, (0.8, True)).strategies[1]
    assert second.seconds_to_target is None
    assert second.verdicts["seconds_to_target"].startswith("not comparable, unknown")


def test_unknown_energy_is_unknown_not_zero() -> None:
    one = tuple(run("one", s, [0.9, 0.9], joules=None) for s in range(2))
    (only,) = summarised({"one": one}, (0.8, True)).strategies
    assert only.joules_to_target is None
    assert only.bytes_to_target is not None


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=9))
def test_an_interval_holds_its_mean_and_mirrors(values: list[float]) -> None:
    figure, mirrored = mean_over_seeds(values), mean_over_seeds([-value for value in values])
    assert figure is not None
    assert mirrored is not None
    assert figure.low is not None
    assert figure.high is not None
    assert figure.low <= figure.mean <= figure.high
    assert mirrored.low == pytest.approx(-figure.high)
    words = {"better": "worse", "worse": "better"}
    told = verdict(figure, less_is_better=True)
    assert verdict(mirrored, less_is_better=True) == words.get(told, told)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(4)
    figures = [mean_over_seeds(rng.normal(1.0, 0.3, 5).tolist()) for _ in range(600)]
    held = [f.low <= 1.0 <= f.high for f in figures if f is not None and f.low is not None and f.high is not None]
    assert np.mean(held) == pytest.approx(0.95, abs=0.03)


def test_one_seed_claims_nothing() -> None:
    runs = {"one": (run("one", 0, [0.5, 0.6]),), "other": (run("other", 0, [0.5, 0.9]),)}
    assert summarised(runs, None).strategies[1].verdicts == {"test_accuracy": "one seed tells no difference"}


def test_files_are_what_they_say() -> None:
    runs = {name: tuple(run(name, s, [0.3, 0.6 + 0.1 * s, 0.9, 0.9]) for s in range(3)) for name in ("a<b", "c_d")}
    study = summarised(runs, (0.8, True))
    root = ElementTree.fromstring(score_svg(study))
    assert len(root.findall("{http://www.w3.org/2000/svg}polyline")) == 2
    assert len(root.findall("{http://www.w3.org/2000/svg}polygon")) == 2
    text = latex(study)
    assert text.count("\\\\") == 3
    assert "c\\_d" in text
    assert "s to target" in text


def test_runs_are_kept_and_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = [
        "compare", "quickstart", *SMALL, "--strategies", "greedy,ho-sfl", "--run", "--executor", "inline",
        "--seeds", "2", "--rounds", "2", "--out", str(tmp_path), "--set", "objective.target_loss=9",
    ]  # fmt: skip
    printed = done(*arguments)
    assert "Means over 2 seeds" in printed
    assert "ho-sfl against greedy" in printed
    assert len(list(tmp_path.rglob("seed-*.json"))) == 4
    table = pd.read_csv(tmp_path / "comparison.csv")
    assert table["strategy"].tolist() == ["greedy", "ho-sfl"]
    assert (table["seconds_to_target_low"] <= table["seconds_to_target"]).all()

    from hybridsplit.orchestrator import training

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("nothing is left to be trained")

    monkeypatch.setattr(training, "train_by_plan", refuse)
    again = document(*arguments)
    assert again["seeds"] == [0, 1]
    assert [one["strategy"] for one in again["strategies"]] == ["greedy", "ho-sfl"]
    kept = next(iter(sorted(tmp_path.rglob("seed-*.json"))))
    kept.write_text(json.dumps({"strategy": "greedy"}), encoding="utf-8")
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert "damaged" in result.stderr


def test_a_study_of_strategies_without_a_plan_says_why_there_is_none(tmp_path: Path) -> None:
    asked = ["compare", "quickstart", *SMALL, "--strategies", "edgesplit", "--run", "--seeds", "2"]
    result = invoke(*asked, "--executor", "inline", "--out", str(tmp_path))
    assert result.exit_code == 3
    assert "edgesplit" in result.output


def test_options_of_a_study_need_one() -> None:
    for arguments, word in (
        (["--seeds", "2"], "--seeds: needs --run"),
        (["--run", "--out", "x"], "--out: needs --seeds"),
        (["--torch-device", "cuda"], "--torch-device: needs --run"),
        (["--workers", "2", "--executor", "inline"], "--executor, --workers: needs --run"),
        (["--address", "auto"], "--address: needs --run"),
    ):
        result = invoke("compare", "quickstart", *SMALL, "--strategies", "greedy", *arguments)
        assert result.exit_code == 2
        assert word in result.stderr


def test_all_modes_let_a_method_in_that_needs_another() -> None:
    arguments = ["compare", "quickstart", *SMALL, "--strategies", "hosl"]
    assert "infeasible" in document(*arguments)["strategies"][0]
    assert document(*arguments, "--relax", "modes")["strategies"][0]["objective_s"] > 0


def seed_study() -> SeedStudy:
    """Two strategies over three seeds, with a target that both reach and energy that nobody knows."""
    one = tuple(run("one", s, [0.3 + 0.02 * s, 0.6, 0.9], joules=None) for s in range(3))
    other = tuple(run("o<b>ther", s, [0.2 + 0.02 * s, 0.5, 0.8], round_s=4.0, joules=None) for s in range(3))
    return summarised({"one": one, "o<b>ther": other}, (0.55, True))


def test_the_page_shows_figures_verdicts_and_curves_and_escapes_names() -> None:
    study = seed_study()
    page = study_page(study, "my <i>scenario</i>")
    visible = page[page.index("<main>") :]
    assert "my &lt;i&gt;scenario&lt;/i&gt;" in page
    assert "o&lt;b&gt;ther against one: final accuracy: worse, seconds to the target: worse" in visible
    assert "<b>ther" not in page
    assert "Time to target, against one" in visible
    assert "J to target" not in visible  # unknown for all of them
    assert 'data-figure="figure-learning"' in visible
    assert 'data-figure="figure-target"' in visible


def test_curves_are_means_over_seeds_as_long_as_all_runs_go_on() -> None:
    runs = tuple(run("one", s, [0.2, 0.4, 0.6 + 0.1 * s], round_s=2.0 + s) for s in range(2))
    curve = score_over_time(runs, points=4)
    assert [at_s for at_s, _ in curve] == [0.0, 2.0, 4.0, 6.0]
    assert [figure.mean for _, figure in curve] == pytest.approx([0.2, 0.2, (0.4 + 0.2 + 0.2 / 3) / 2, (0.6 + 0.4) / 2])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")
def test_runs_side_by_side_on_ray_are_those_of_one_process_whatever_is_killed(tmp_path: Path) -> None:
    asked = [
        "compare",
        "quickstart",
        *SMALL,
        "--strategies",
        "greedy,splitfed",
        "--run",
        "--seeds",
        "2",
        "--rounds",
        "2",
    ]
    one = document(*asked, "--executor", "inline", "--out", str(tmp_path / "one"))
    before = _training_processes()
    command = [sys.executable, "-m", "hybridsplit", *asked, "--workers", "2", "--json", "--out", str(tmp_path / "many")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as study:
        until_s = time.monotonic() + 240
        while not (at_work := _training_processes() - before) and time.monotonic() < until_s:
            time.sleep(0.05)
        os.kill(min(at_work), signal.SIGKILL)
        out, _ = study.communicate(timeout=400)
    assert study.returncode == 0
    assert json.loads(out) == one
    assert len(list((tmp_path / "one").rglob("seed-*.json"))) == 4
    assert _kept_runs(tmp_path / "many") == _kept_runs(tmp_path / "one")


def _kept_runs(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("seed-*.json")}


def _training_processes() -> set[int]:
    """Return the processes that train a run of a study for Ray."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if path.read_bytes().startswith(b"ray::_train"):
                found.add(int(path.parent.name))
    return found


@pytest.mark.parametrize(
    ("executor", "number", "changed", "expected"),
    [
        ("ray", 4, {}, True),
        ("inline", 4, {}, False),
        ("ray", 1, {}, False),  # over all workers instead
        ("ray", 4, {"faults": {"client_timeout_s": 5.0, "policy": "drop-round"}}, False),
    ],
)
def test_runs_go_side_by_side_where_that_changes_nothing(
    executor: str, number: int, changed: dict[str, Any], expected: bool
) -> None:
    scenario = hs.load("quickstart", **changed)
    wanted: list[Any] = [CutRun("a", Any, scenario, Any)] * number  # type: ignore[arg-type]
    assert _go_side_by_side(wanted, RunSettings(executor, 2)) is expected
