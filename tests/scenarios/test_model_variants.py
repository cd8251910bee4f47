"""Variants of a model: which models they stand for, and what is refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.loader import builtin_text, scenario_of_values
from hybridsplit.scenarios.model_variants import named_models
from hybridsplit.scenarios.schema import Scenario


def scenario(*variants: dict[str, Any], model: dict[str, Any] | None = None) -> Scenario:
    document = yaml.safe_load(builtin_text("quickstart")) | {"variants": list(variants)}
    if model is not None:
        document["model"] = model
    return scenario_of_values(document, {})


def names(of: Scenario) -> list[str]:
    return [one.name for one in named_models(of.model, of.variants)]


def test_lists_stand_for_all_combinations() -> None:
    grid = scenario(
        {"variant": "full"},
        {"variant": "grid", "width": [0.5, 1], "depth": 0.5, "choices": {"layer_type": ["basic", "bottleneck"]}},
    )
    assert names(grid) == [
        "full",
        "grid-width-0.5-layer_type-basic",
        "grid-width-0.5-layer_type-bottleneck",
        "grid-width-1-layer_type-basic",
        "grid-width-1-layer_type-bottleneck",
    ]
    last = named_models(grid.model, grid.variants)[-1]
    assert (last.depth, last.width, last.config) == (0.5, 1.0, {"layer_type": "bottleneck"})


def test_values_that_are_no_words_go_by_their_place() -> None:
    listed = scenario({"variant": "v", "choices": {"hidden_sizes": [[8, 16, 32], [16, 32, 64]]}})
    assert names(listed) == ["v-hidden_sizes-1", "v-hidden_sizes-2"]


def test_arguments_are_those_of_a_model_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("")
    own = {"task": "image-classification", "python": f"{tmp_path}/net.py:make", "arguments": {"width": 8, "depth": 2}}
    found = scenario({"variant": "v", "arguments": {"depth": 3}, "choices": {"width": [4, 8]}}, model=own)
    assert [dict(one.arguments) for one in named_models(found.model, found.variants)] == [
        {"depth": 3, "width": 4},
        {"depth": 3, "width": 8},
    ]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 4), min_size=3, max_size=3), st.lists(st.integers(1, 3), max_size=2))
def test_there_are_as_many_models_as_combinations(factors: list[int], choices: list[int]) -> None:
    values = {
        key: [1 + k / 8 for k in range(number)]
        for key, number in zip(("depth", "width", "kernel"), factors, strict=True)
    }
    offered = {f"key_{place}": list(range(number)) for place, number in enumerate(choices)}
    found = scenario({"variant": "v", **values, "choices": offered})
    assert len(set(names(found))) == math.prod([*factors, *choices]) == found.variants[0].num_models


def test_a_plan_does_not_depend_on_models_that_are_offered() -> None:
    assert scenario({"variant": "v", "width": 0.5}).content_hash() == scenario().content_hash()


@pytest.mark.parametrize(
    ("variants", "said"),
    [
        ([{"variant": "v", "width": 0}], "variants.0.width"),
        ([{"variant": "v", "width": []}], "variants.0.width"),
        ([{"variant": "v", "widht": 1}], "did you mean 'width'?"),
        ([{"variant": "v"}, {"variant": "v"}], "variants.1.variant: found a second model called 'v'"),
        ([{"variant": "v", "accuracy": 0.9}], "variants.0: accuracy_is: found accuracy alone"),
        ([{"variant": "v", "accuracy_is": "stated"}], "variants.0: accuracy: found accuracy_is alone"),
        (
            [{"variant": "v", "accuracy": 0.9, "accuracy_is": "stated", "width": [0.5, 1]}],
            "found one figure for 2 models",
        ),
        ([{"variant": "v", "config": {"depths": [1]}, "choices": {"depths": [[1]]}}], "choices.depths: is fixed"),
        ([{"variant": "v", "arguments": {"width": 8}}], "needs config, depth, width and kernel"),
        ([{"variant": "v", "checkpoint": "folder"}], "needs config, depth, width and kernel"),
        ([{"variant": "v", "choices": {f"k{k}": list(range(8)) for k in range(3)}}], "found 512 models"),
        ([{"variant": "v" * 60, "width": [0.5, 1]}], "names of more than 64 characters"),
    ],
)
def test_what_is_no_variant_is_refused_by_its_key(variants: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(ScenarioError) as refused:
        scenario(*variants)
    assert said in str(refused.value)
    assert "variants" in str(refused.value)
