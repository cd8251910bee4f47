"""Strategies over seeds: paired differences in one voice, files a reader can use, and runs that are kept."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridsplit.orchestrator.studies.seed_files import latex, score_svg
from hybridsplit.orchestrator.studies.seed_runs import SeedRun
from hybridsplit.orchestrator.studies.seeds import summarised
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


def test_options_of_a_study_need_one() -> None:
    for arguments, word in (
        (["--seeds", "2"], "--seeds: needs --run"),
        (["--run", "--out", "x"], "--out: needs --seeds"),
    ):
        result = invoke("compare", "quickstart", *SMALL, "--strategies", "greedy", *arguments)
        assert result.exit_code == 2
        assert word in result.stderr


def test_all_modes_let_a_method_in_that_needs_another() -> None:
    arguments = ["compare", "quickstart", *SMALL, "--strategies", "hosl"]
    assert "infeasible" in document(*arguments)["strategies"][0]
    assert document(*arguments, "--relax", "modes")["strategies"][0]["objective_s"] > 0
