"""Scenarios with relays: what is refused, in which words, and what stays as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from hybridsplit.scenarios.errors import ExitCode, ScenarioError
from hybridsplit.scenarios.json_schema import json_schema
from hybridsplit.scenarios.loader import builtin_text, load_scenario, load_task, scenario_of_values
from hybridsplit.scenarios.relays.loading import single_cut, validate_relays
from hybridsplit.scenarios.relays.schema import RelayScenario
from hybridsplit.scenarios.schema import Scenario

SETTINGS: list[tuple[str, str]] = [
    ("network.nodes.0.node=edge", "nodes: the names edge occur twice"),
    ("network.nodes.0.device=jetson_orin", "network.nodes.0.device: unknown device 'jetson_orin'; nearest: jetson"),
    ("network.nodes.0.device=null", "memory_bytes and load belong to a node that runs blocks; state its device"),
    ("network.nodes.0.memory=3", "unknown key 'memory'; did you mean 'memory_bytes'"),
    ("network.links.0.to=ap-9", "links.0.to: found 'ap-9'; needs one of the nodes ap-0"),
    ("network.links.0.from=hall-7", "network.links.0.from: found 'hall-7'; needs a client group or a node"),
    ("network.links.2.shared=true", "links.2.shared: is about the clients of a group, and 'ap-0' is a node"),
    ("network.links.0.uplink_bps=3 MB", "network.links.0.uplink_bps: found '3 MB'.*'MB' measures an amount of memory"),
    ("network.links.4.from=ap-0", "found the servers edge, cloud; the parts of all clients are averaged at one"),
    ("network.links.4.to=ap-0", "network.links: no way leads from hall-0 to the server cloud; add links on the way"),
    ("clients.0.group=edge", "clients: the names edge occur twice"),
    ("clients.0.group=hall-9", "found 'hall-0'; needs a client group or a node"),
    ("clients.0.device=rpi9", "clients.0.device: unknown device 'rpi9'; nearest: rpi5_8gb"),
    ("clients.0.count=0", "clients.0.count: found 0; needs a number of at least 1"),
    ("training.micro_batches=[3]", "training: micro_batches: found 3, which does not divide batch_size"),
    ("training.micro_batches=[4, 4]", "micro_batches: lists a number twice"),
    ("training.optimizer=null", "training.optimizer: is needed for minimise: round-latency"),
    ("objective.minimise=inference-period", "optimizer, optimizer_state, local_steps and rounds are about"),
    ("objective.minimise=period", "objective.minimise: found 'period'"),
    ("objective.target_accuracy=2", "objective.target_accuracy: found 2; needs a number of at most 1"),
    ("objective={target_accuracy: 0.5, target_loss: 1.0}", "target_accuracy and target_loss: found both"),
    ("training.cuts.most=17", "training.cuts.most: found 17; needs a number of at most 16"),
    ("data.image_sze=3", "data.image_sze: unknown key 'image_sze'; did you mean 'image_size'"),
    ("radio.uplink_hz=3", "unknown key 'radio'"),
]


def factory(*settings: str) -> RelayScenario:
    loaded = load_task("factory", list(settings))
    assert isinstance(loaded, RelayScenario)
    return loaded


@pytest.mark.parametrize(("setting", "words"), SETTINGS)
def test_a_wrong_value_is_named_with_its_key_path(setting: str, words: str) -> None:
    with pytest.raises(ScenarioError, match=words) as caught:
        factory(setting)
    assert str(caught.value).startswith("built-in factory: ")
    assert caught.value.exit_code is ExitCode.WRONG_USAGE


def test_the_resolved_scenario_is_a_fixed_point() -> None:
    scenario = factory()
    again = validate_relays(scenario.resolved(), "again")
    assert again == scenario
    assert again.content_hash() == scenario.content_hash()
    assert factory("search.time_limit_s=9 s").content_hash() == scenario.content_hash()
    assert factory("objective.target_accuracy=0.5").content_hash() == scenario.content_hash()
    assert factory("training.cuts.most=2").content_hash() != scenario.content_hash()
    assert [client.id for client in scenario.expanded_clients()] == ["hall-0-0", "hall-1-0"]


def test_a_target_needs_training() -> None:
    only_run = ["objective={minimise: inference-period, target_loss: 1.0}", "training.optimizer=null"]
    with pytest.raises(ScenarioError, match=r"objective.target_loss: is about training; remove it"):
        factory(*only_run, "training.local_steps=1", "training.rounds=1")


def test_files_are_found_beside_the_scenario(tmp_path: Path) -> None:
    document = yaml.safe_load(builtin_text("factory"))
    document["data"] = {"source": "image-folder", "path": "pictures", "image_size": 64, "partition": {"scheme": "iid"}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    with pytest.raises(ScenarioError, match="data"):
        load_task(str(tmp_path / "own.yaml"))


def test_the_profile_is_of_the_same_model_and_training() -> None:
    scenario = factory()
    one = single_cut(scenario)
    assert isinstance(one, Scenario)
    assert (one.model, one.data) == (scenario.model, scenario.data)
    assert one.training.optimizer == scenario.training.optimizer
    assert one.training.batch_size == scenario.training.batch_size


def test_what_is_about_one_cut_refuses_it_in_one_sentence() -> None:
    with pytest.raises(ScenarioError, match=r"this is about one cut.*state radio and server instead of network"):
        load_scenario("factory")
    with pytest.raises(ScenarioError, match="this is about one cut"):
        scenario_of_values(yaml.safe_load(builtin_text("factory")), {})


def test_a_server_of_several_machines_is_a_chain_of_nodes() -> None:
    loaded = load_task("rack")
    assert isinstance(loaded, RelayScenario)
    assert [link.to for link in loaded.network.links if link.origin == "card-0"] == ["card-1"]
    assert len({node.memory_bytes for node in loaded.network.nodes}) == 1


def test_the_exported_schema_takes_it() -> None:
    checks = Draft202012Validator(json_schema())
    document = yaml.safe_load(builtin_text("factory"))
    assert checks.is_valid(document)
    assert checks.is_valid(factory().resolved())
    document["network"]["nodes"][0]["nod"] = 3
    assert not checks.is_valid(document)
    properties = json_schema()["$defs"]["RelayLink"]["properties"]
    assert {"from", "to"} <= set(properties)
    assert all(value.get("description") for value in properties.values())
