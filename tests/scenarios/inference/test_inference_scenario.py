"""Scenarios of inference tasks load, and a wrong one gets one clear message."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from hybridsplit.scenarios.errors import ExitCode, ScenarioError
from hybridsplit.scenarios.inference.loading import validate_inference
from hybridsplit.scenarios.inference.networks import builtin_network, network_names
from hybridsplit.scenarios.inference.schema import InferenceScenario
from hybridsplit.scenarios.json_schema import json_schema
from hybridsplit.scenarios.loader import (
    all_builtin_names,
    builtin_names,
    builtin_text,
    load_scenario,
    load_task,
    scenario_of_values,
)

SETTINGS: list[tuple[str, str]] = [
    ("apps.faces.model=simplent", "apps.0.model: found 'simplent'; .*did you mean 'simplenet'"),
    ("apps.faces.model=../x.yaml", "apps.0.model: found '../x.yaml'; needs a YAML file of layers"),
    ("apps.faces.source=glases", "apps.0.source: found 'glases'; needs one of the accelerators glasses"),
    ("apps.faces.frames=0", "apps.0.frames: found 0; needs a number of at least 1"),
    ("apps.faces.rate=2", "apps.0.rate: unknown key 'rate'; did you mean 'rate_hz'"),
    ("accelerators.ring.device=max7800", "accelerators.2.device: unknown accelerator 'max7800'; nearest: max7800"),
    ("accelerators.ring.link_bps=0", "accelerators.2.link_bps: found 0; needs a number above 0"),
    ("accelerators.ring.link_bps=8 MB", r"'MB' measures an amount of memory"),
    ("accelerators.ring.group=watch", "accelerators: the names watch occur twice"),
    ("accelerators.ring.count=300", "accelerators.2.count: found 300; needs a number of at most 256"),
    ("objective.minimise=enrgy", "objective.minimise: found 'enrgy'; .*did you mean 'energy'"),
    ("objective.minimise=energy", "most_period_s: is needed for minimise: energy"),
    ("search.most_cuts=7", "search.most_cuts: found 7; needs a number of at most 6"),
    ("task=training", "task: found 'training'; needs 'inference', or no such key for training"),
    ("apps=[]", "apps: found"),
    ("networks.x=3", "networks.x: found 3"),
    ("clients=[]", "unknown key 'clients'"),
]


def wearables(*settings: str) -> InferenceScenario:
    loaded = load_task("wearables", list(settings))
    assert isinstance(loaded, InferenceScenario)
    return loaded


@pytest.mark.parametrize(("setting", "words"), SETTINGS)
def test_a_wrong_value_is_named_with_its_key_path(setting: str, words: str) -> None:
    with pytest.raises(ScenarioError, match=words) as caught:
        wearables(setting)
    assert str(caught.value).startswith("built-in wearables: ")
    assert caught.value.exit_code is ExitCode.WRONG_USAGE


def test_rates_and_frames_do_not_go_together() -> None:
    with pytest.raises(ScenarioError, match=r"apps.0: rate_hz: fixes the rate"):
        wearables("apps.faces.rate_hz=3", "apps.faces.frames=2")
    names = ["faces", "voice", "places", "signs", "keywords", "gestures"]
    with pytest.raises(ScenarioError, match="every app has a rate_hz, so there is no period"):
        wearables(*(f"apps.{name}.rate_hz=1" for name in names))


def test_the_resolved_scenario_carries_its_layer_lists_and_is_a_fixed_point() -> None:
    scenario = wearables()
    assert set(scenario.networks) == {app.model for app in scenario.apps}
    again = validate_inference(scenario.resolved(), "again")
    assert again == scenario
    assert again.content_hash() == scenario.content_hash()
    assert wearables("search.time_limit_s=9 s").content_hash() == scenario.content_hash()
    assert wearables("search.gap=0.02").content_hash() != scenario.content_hash()


def test_layer_lists_come_from_files_beside_the_scenario(tmp_path: Path) -> None:
    layers: dict[str, Any] = {"model": "own", "input": [1, 8, 8], "layers": [{"op": "conv2d", "out": 4, "kernel": 3}]}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(layers), encoding="utf-8")
    document = yaml.safe_load(builtin_text("wearables"))
    document["apps"][0]["model"] = document["apps"][1]["model"] = "own.yaml"
    (tmp_path / "task.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    loaded = load_task(str(tmp_path / "task.yaml"))
    assert isinstance(loaded, InferenceScenario)
    assert [app.model for app in loaded.apps[:2]] == ["own", "own"]
    layers["layers"][0]["kernal"] = 3
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(layers), encoding="utf-8")
    with pytest.raises(ScenarioError, match=r"apps.0.model: .*own.yaml: layers.0.kernal: unknown key .* 'kernel'"):
        load_task(str(tmp_path / "task.yaml"))


LAYER_FAULTS: list[tuple[list[dict[str, Any]], str]] = [
    ([{"op": "conv2d"}], "layers.0: out: is needed for conv2d"),
    ([{"op": "pass", "kernel": 3}], "op: pass has no kernel"),
    ([{"op": "conv2d", "out": 4, "inputs": ["input", "input"]}], "join: is needed exactly where"),
    (
        [{"op": "conv2d", "out": 4, "inputs": ["b"]}, {"op": "conv2d", "out": 4, "name": "b"}],
        "found 'b'; needs 'input'",
    ),
    ([{"op": "conv2d", "out": 4, "name": "b"}, {"op": "conv2d", "out": 4, "name": "b"}], "found 'b' for a second time"),
    ([{"op": "linear", "out": 4, "pool": 2}], "pool: cannot be used in a layer that flattens"),
    ([], "layers"),
]


@pytest.mark.parametrize(("layers", "words"), LAYER_FAULTS)
def test_a_wrong_layer_list_is_named_with_its_key_path(layers: list[dict[str, Any]], words: str) -> None:
    document = wearables().resolved()
    document["networks"]["own"] = {"model": "own", "input": [1, 8, 8], "layers": layers}
    with pytest.raises(ScenarioError, match=words):
        validate_inference(document, "tried")


def test_shapes_that_do_not_go_together_name_their_layer() -> None:
    from hybridsplit.profiler.accelerators.space import virtual_space

    document = wearables().resolved()
    document["networks"]["simplenet"]["layers"][3]["kernel"] = 50
    with pytest.raises(ScenarioError, match="model simplenet: layer l3: kernel 50 with padding 1 is larger"):
        virtual_space(validate_inference(document, "tried"))


def test_training_commands_refuse_an_inference_task() -> None:
    with pytest.raises(ScenarioError, match="wearables: task: found 'inference', where nothing is trained"):
        load_scenario("wearables")
    with pytest.raises(ScenarioError, match="the scenario: task: found 'inference'"):
        scenario_of_values(yaml.safe_load(builtin_text("wearables")), {})
    assert all_builtin_names() == [*builtin_names(), "wearables", "factory", "rack"]


def test_the_exported_schema_takes_both_kinds_of_task() -> None:
    checks = Draft202012Validator(json_schema())
    document = yaml.safe_load(builtin_text("wearables"))
    assert checks.is_valid(document)
    assert checks.is_valid(wearables().resolved())
    document["apps"][0]["rate"] = 3
    assert not checks.is_valid(document)


@pytest.mark.parametrize("name", network_names())
def test_layer_lists_that_ship_say_where_their_shapes_come_from(name: str) -> None:
    assert builtin_network(name).model == name
    assert builtin_network(name).source
