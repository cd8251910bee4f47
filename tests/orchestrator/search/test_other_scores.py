"""Searches among models of numbers, and of several labels: ranked, told apart and shown by their own score."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import spearmanr

from hybridsplit.orchestrator.pipeline import RunSettings
from hybridsplit.orchestrator.search.files import write_search
from hybridsplit.orchestrator.search.page import search_page
from hybridsplit.orchestrator.search.results import ModelSearch, SearchSettings
from hybridsplit.orchestrator.search.study import search_models
from hybridsplit.orchestrator.studies.significance import mean_over_seeds
from hybridsplit.orchestrator.views.search import search_lines, search_table
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.loader import scenario_of_values
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.scores import MULTI_LABEL, REGRESSION, SINGLE_LABEL

INLINE = RunSettings("inline", 1, num_rounds=2)
NAMES = {REGRESSION: "r2", MULTI_LABEL: "macro_f1", SINGLE_LABEL: "accuracy"}
LABELS = {REGRESSION: "R²", MULTI_LABEL: "macro F1", SINGLE_LABEL: "accuracy"}
CODE = """
import torch
from torch import nn

def net(outputs, width=8, depth=1):
    inner = [nn.Sequential(nn.Linear(width, width), nn.Tanh()) for _ in range(depth)]
    return nn.Sequential(nn.Linear(4, width), nn.Tanh(), *inner, nn.Linear(width, outputs))

def samples(kind):
    inputs = torch.randn(96, 4, generator=torch.Generator().manual_seed(3))
    numbers = torch.stack([inputs[:, 0] - inputs[:, 1], inputs[:, 2].sin()], 1)
    labels = {"regression": numbers, "multi_label_classification": (numbers > 0).long()}.get(kind)
    return list(zip(inputs, (numbers[:, 0] > 0).long().tolist() if labels is None else labels))
"""


def scenario(folder: Path, kind: str, *variants: dict[str, Any]) -> Scenario:
    (folder / "mine.py").write_text(CODE, encoding="utf-8")
    document = {
        "name": "found",
        "model": {
            "task": "classification", "problem_type": kind, "python": "mine.py:net", "arguments": {"outputs": 2},
        },
        "data": {"python": "mine.py:samples", "arguments": {"kind": kind}},
        "training": {
            "optimizer": {"name": "sgd", "learning_rate": 0.2}, "batch_size": 8, "local_steps": 4, "rounds": 2,
            "modes": ["fo"], "frozen_control": False,
        },
        "server": {"device": "edge_rtx_a2000_6gb"},
        "radio": {"link_model": "fixed", "uplink_hz": "20 MHz", "downlink_hz": "20 MHz"},
        "clients": [
            {
                "group": "pi", "device": "rpi5_8gb", "count": 2, "memory_budget_bytes": "1 MiB",
                "link": {"uplink_bps_per_hz": 2, "downlink_bps_per_hz": 4},
            }
        ],
        "objective": {"minimise": "round-latency", "minimum_progress": 0.5},
        "variants": list(variants),
    }  # fmt: skip
    return scenario_of_values(document, {}, folder)


GRID = {"variant": "v", "choices": {"width": [2, 4, 8, 12, 16]}}


@pytest.fixture(scope="module", params=list(NAMES))
def searched(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ModelSearch, Path]:
    folder = tmp_path_factory.mktemp("search")
    found = search_models(scenario(folder, request.param, GRID), SearchSettings(train="all", seeds=2), INLINE, folder)
    write_search(found, folder)
    return request.param, found, folder


def test_models_are_judged_by_the_score_of_their_labels(searched: tuple[str, ModelSearch, Path]) -> None:
    kind, found, _ = searched
    assert found.judged_by.name == NAMES[kind]
    for one in found.models:
        reached = [run.test_score[-1] for run in found.runs[one.name]]
        assert {run.score for run in found.runs[one.name]} == {NAMES[kind]}
        assert one.test_score == mean_over_seeds(reached)
        assert one.test_score_is == "trained"


def test_higher_is_better_and_no_model_off_the_front_is_cheaper_and_as_good(
    searched: tuple[str, ModelSearch, Path],
) -> None:
    _, found, _ = searched
    mean = {one.name: one.test_score.mean for one in found.models if one.test_score is not None}
    cost = {one.name: one.cost for one in found.models if one.cost is not None}
    for point in found.front:
        assert point.value == mean[point.name]
        assert not any(cost[name] <= point.cost and mean[name] > point.value for name in mean)
    assert max(mean.values()) in [point.value for point in found.front]


def test_rank_correlations_are_those_of_the_score(searched: tuple[str, ModelSearch, Path]) -> None:
    _, found, _ = searched
    by_score = {one.score: one for one in found.correlations}
    parameters = [one.parameters for one in found.models]
    reached = [one.test_score.mean for one in found.models if one.test_score is not None]
    assert by_score["parameters"].value == pytest.approx(float(spearmanr(parameters, reached).statistic))


def test_files_and_table_have_the_score_under_its_name(searched: tuple[str, ModelSearch, Path]) -> None:
    kind, found, folder = searched
    name, label = NAMES[kind], LABELS[kind]
    document = json.loads((folder / "search.json").read_text(encoding="utf-8"))
    assert document["judged_by"] == name
    assert [point[name] for point in document["front"]] == [point.value for point in found.front]
    for row, one in zip(document["models"], found.models, strict=True):
        assert one.test_score is not None
        assert row[name]["mean"] == one.test_score.mean
        assert row[f"{name}_is"] == "trained"
    header = next(csv.reader(io.StringIO((folder / "models.csv").read_text(encoding="utf-8"))))
    assert {name, f"{name}_low", f"{name}_high", f"{name}_is"} <= set(header)
    assert label in [column.header for column in search_table(found).columns]
    lines = "\n".join(search_lines(found))
    assert f"against {label}" in lines
    page = (folder / "search.html").read_text(encoding="utf-8")
    assert f"models of at least this {label}" in page
    assert f"Models by round latency and {label}" in page
    if kind != SINGLE_LABEL:
        texts = [lines, re.sub(r"<script.*?</script>|<style.*?</style>", "", page, flags=re.DOTALL), *header]
        assert not any("accuracy" in text.lower() for text in texts)


@pytest.mark.parametrize("kind", [REGRESSION, MULTI_LABEL])
def test_a_score_that_is_known_is_not_trained_for(tmp_path: Path, kind: str) -> None:
    best = {"variant": "best", "arguments": {"width": 16}, "test_score": 0.99, "test_score_is": "measured"}
    poor = {"variant": "poor", "arguments": {"width": 32}, "test_score": 0.01, "test_score_is": "stated"}
    found = search_models(scenario(tmp_path, kind, best, poor), SearchSettings(), INLINE, tmp_path)
    assert not found.runs
    assert [one.test_score_is for one in found.models] == ["measured", "stated"]
    assert found.front[-1].name == "best"
    assert [one.place for one in found.models if one.name == "poor"] == ["beaten"]


def test_an_r2_below_zero_is_stated_and_drawn(tmp_path: Path) -> None:
    bad = {"variant": "bad", "test_score": -3.5, "test_score_is": "stated"}
    found = search_models(scenario(tmp_path, REGRESSION, bad), SearchSettings(), INLINE, tmp_path)
    assert found.front[0].value == -3.5
    assert "at least -3.500: bad" in "\n".join(search_lines(found))
    assert "-3.500" in search_page(found)


@pytest.mark.parametrize(
    ("kind", "variant", "said"),
    [
        (REGRESSION, {"accuracy": 0.9, "accuracy_is": "stated"}, "whose score is R²; state test_score and"),
        (SINGLE_LABEL, {"test_score": 0.9, "test_score_is": "stated"}, "whose score is accuracy; state accuracy and"),
        (MULTI_LABEL, {"test_score": -0.1, "test_score_is": "stated"}, "found -0.1; macro F1 is from 0 to 1"),
        (REGRESSION, {"test_score": 1.5, "test_score_is": "stated"}, "test_score"),
        (REGRESSION, {"test_score": 0.5}, "test_score_is: found test_score alone; needs both"),
        (REGRESSION, {"test_score_is": "stated"}, "test_score: found test_score_is alone; needs both"),
        (
            REGRESSION,
            {"test_score": 0.5, "test_score_is": "stated", "choices": {"width": [2, 4]}},
            "found one figure for 2 models",
        ),
    ],
)
def test_a_figure_of_another_score_is_refused(tmp_path: Path, kind: str, variant: dict[str, Any], said: str) -> None:
    with pytest.raises(ScenarioError) as refused:
        scenario(tmp_path, kind, {"variant": "v", **variant})
    assert said in str(refused.value)
    assert "variants.0" in str(refused.value)
