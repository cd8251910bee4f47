"""What training would refuse of data is refused before planning, in the same words."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hybridsplit.orchestrator.pipeline import check_data
from hybridsplit.profiler import data_check
from hybridsplit.profiler.options import profile_scenario
from hybridsplit.scenarios.errors import InputWarning, ScenarioError
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.scenarios.schema import Scenario


def scenario_of(folder: Path, labels: np.ndarray, *more: str) -> Scenario:
    images = np.random.default_rng(0).integers(0, 255, (len(labels), 8, 8)).astype(np.uint8)
    np.savez(folder / "x.npz", images=images, labels=labels)
    data = f"data={{source: image-archive, path: {folder}/x.npz, image_size: 16}}"
    return load_scenario("quickstart", [data, "training.batch_size=4", "objective.gradient_split=assumed", *more])


GOOD = np.arange(60) % 10


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (np.where(GOOD == 3, "three", GOOD.astype(str)), r"labels\[3\] has the label 'three'"),
        (np.arange(60) % 12, "model.config.num_labels: found 10; the data has 12 classes: state num_labels: 12"),
    ],
)
def test_planning_refuses_what_training_refuses_in_the_same_words(
    tmp_path: Path, labels: np.ndarray, says: str
) -> None:
    scenario = scenario_of(tmp_path, labels)
    with pytest.raises(ScenarioError, match=says) as trained:
        check_data(scenario)
    with pytest.raises(ScenarioError) as planned:
        profile_scenario(scenario)
    assert str(planned.value) == str(trained.value)


def test_recorded_links_are_read_before_planning(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("0 5000\n1000 5000\n", encoding="utf-8")
    scenario = scenario_of(tmp_path, GOOD, f"clients.pi4.link.trace={tmp_path}/log.txt")
    with pytest.raises(ScenarioError, match=r"clients.0.link.trace: .*log.txt, line 1 to line 2: .*1000 ms"):
        profile_scenario(scenario)


def test_data_that_were_right_are_loaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYBRIDSPLIT_CACHE", str(tmp_path / "cache"))
    scenario = scenario_of(tmp_path, GOOD)
    data_check.check_data(scenario, "key")
    kept = tmp_path / "cache" / "data" / "key.json"
    assert json.loads(kept.read_text()) == {"key": "key", "num_train_samples": 48}
    (tmp_path / "x.npz").unlink()
    data_check.check_data(scenario, "key")
    for damaged in (
        "{}",
        "[",
        '{"key": "other", "num_train_samples": 48}',
        '{"key": "key", "num_train_samples": true}',
    ):
        kept.write_text(damaged)
        with pytest.raises(ScenarioError, match=r"x\.npz"):
            data_check.check_data(scenario, "key")


@pytest.mark.parametrize("partition", ["{scheme: iid}", "{scheme: by-key, key: label}"])
def test_too_few_samples_are_a_warning_when_planning(tmp_path: Path, partition: str) -> None:
    scenario = scenario_of(tmp_path, GOOD, "clients.orin.count=30", f"data.partition={partition}")
    with pytest.warns(InputWarning, match=r"at least one batch of 4.* \(this plan can be replayed"):
        data_check.check_data(scenario, None)
