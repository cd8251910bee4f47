"""Scenarios load, and a wrong one gets one clear message."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from hybridsplit.scenarios.agreement import disagreements
from hybridsplit.scenarios.errors import ExitCode, ScenarioError
from hybridsplit.scenarios.json_schema import json_schema
from hybridsplit.scenarios.loader import builtin_names, builtin_text, load_scenario, validate_scenario


def test_builtin_scenarios_are_the_documented_four() -> None:
    assert builtin_names() == ["quickstart", "smart-home", "campus", "city"]


@pytest.mark.parametrize("name", builtin_names())
def test_builtin_scenario_loads_and_explains_itself(name: str) -> None:
    scenario = load_scenario(name)
    assert scenario.name == name
    assert scenario.description
    assert builtin_text(name).startswith("#")
    assert sum(client.data_weight for client in scenario.expanded_clients()) == pytest.approx(1)


@pytest.mark.parametrize(("name", "clients"), [("quickstart", 6), ("smart-home", 12), ("campus", 100), ("city", 1000)])
def test_builtin_sizes(name: str, clients: int) -> None:
    scenario = load_scenario(name)
    assert scenario.num_clients == clients == len({client.id for client in scenario.expanded_clients()})


def test_quickstart_has_at_least_four_kinds_of_device() -> None:
    assert len({group.device for group in load_scenario("quickstart").clients}) >= 4


@pytest.mark.parametrize("name", builtin_names())
def test_builtin_scenarios_pass_the_exported_schema(name: str) -> None:
    errors = list(Draft202012Validator(json_schema()).iter_errors(yaml.safe_load(builtin_text(name))))
    assert errors == []


def test_exported_schema_rejects_unknown_keys_and_describes_every_key() -> None:
    schema = json_schema()
    document = yaml.safe_load(builtin_text("quickstart"))
    document["radoi"] = {}
    assert not Draft202012Validator(schema).is_valid(document)
    for name, definition in {"Scenario": schema, **schema["$defs"]}.items():
        for key, value in definition.get("properties", {}).items():
            known = "description" in value or "const" in value or "$ref" in value
            assert known, f"{name}.{key} has no description"


def test_resolved_scenario_is_a_fixed_point() -> None:
    scenario = load_scenario("quickstart")
    again = validate_scenario(scenario.resolved(), "again")
    assert again == scenario
    assert again.content_hash() == scenario.content_hash()


def test_hash_changes_with_any_value_but_those_of_faults() -> None:
    base = load_scenario("quickstart").content_hash()
    assert load_scenario("quickstart", ["seed=1"]).content_hash() != base
    assert load_scenario("quickstart", ["clients.orin.memory_budget_bytes=5 MiB"]).content_hash() != base
    assert load_scenario("quickstart", ["clients.orin.memory_budget_bytes=4096 KiB"]).content_hash() == base
    assert load_scenario("quickstart", ["faults.policy=drop-client"]).content_hash() == base


def test_groups_are_addressed_by_name_and_index() -> None:
    by_name = load_scenario("quickstart", ["clients.pi5.count=3"])
    by_index = load_scenario("quickstart", ["clients.1.count=3"])
    assert by_name == by_index
    assert [c.id for c in by_name.expanded_clients()][2:5] == ["pi5-0", "pi5-1", "pi5-2"]


def test_exponents_without_a_point_are_numbers() -> None:
    assert (
        load_scenario("quickstart", ["training.optimizer.learning_rate=1e-3"]).training.optimizer.learning_rate == 1e-3
    )


WRONG = [
    (
        "clients.pi4.memory_budget_bytes=3 Mbit/s",
        ["clients.0.memory_budget_bytes", "3 Mbit/s", "measures a link rate", "512 MiB"],
    ),
    ("clients.pi4.memory_budget_byte=3 MiB", ["clients.0", "unknown key 'memory_budget_byte'", "memory_budget_bytes"]),
    ("radio.uplink_hz=20 mhz", ["radio.uplink_hz", "did you mean 'MHz'"]),
    ("clients.0.device=rpi4", ["clients.0.device", "unknown device 'rpi4'", "rpi4b_8gb"]),
    ("server.device=rtx3090", ["server.device", "edge_rtx_3090"]),
    ("training.optimizer.name=adam", ["training.optimizer", "'adam'", "did you mean 'adamw'"]),
    ("training.rounds=-3", ["training.rounds", "-3", "at least 1"]),
    ("training.optimizer.learning_rate=-0.1", ["training.optimizer.learning_rate", "-0.1", "above 0"]),
    ("data.source=digit", ["data", "'digit'", "did you mean 'digits'"]),
    ("clients.0.link={uplink_bps_per_hz: 1}", ["clients.0.link.downlink_bps_per_hz", "absent"]),
    ("training.modes=[fo,fa]", ["training.modes.1", "'fa'", "did you mean 'fo'"]),
    ("training.modes=[fo,fo]", ["training", "twice"]),
    ("training.modes=[]", ["training.modes", "[]"]),
    ("training.optimizer.momentun=0.9", ["unknown key 'momentun'", "momentum"]),
    ("server.load=2", ["server.load", "below 1"]),
    ("clients.zz.count=1", ["no item 'zz'", "pi4"]),
    ("radio.link_model=shannon", ["clients.0.link", "path_gain_db"]),
    ("server.memory_bytes=-3MiB", ["server.memory_bytes", "-3MiB"]),
    ("clients=[]", ["clients"]),
    ("training=3", ["training", "found 3"]),
    ("model.checkpoint=abc", ["model", "exactly one of"]),
    ("training.sequence_length=12", ["training.sequence_length", "remove the key"]),
    ("data.partition={scheme: dirichlet}", ["data.partition.alpha", "absent"]),
    ("data.partition={scheme: by-key, key: writer}", ["data.partition.key", "'writer'", "'label'"]),
    ("clients.1.group=pi4", ["clients", "pi4", "twice"]),
    ("clients.1.group=<script>", ["clients.1.group", "letters"]),
    ("data={source: image-archive, path: nowhere.npz, image_size: 16}", ["data.path", "nowhere.npz", "no such file"]),
    ("clients.0.link.trace=nowhere.json", ["clients.0.link.trace", "no such file"]),
    ("name=2024-01-01", ["2024", "quotes"]),
    ("clients=3", ["clients", "found 3"]),
    ("description=2024-13-01", ["not readable as YAML"]),
    ("clients.nano.memory_budget_bytes=5 GB", ["clients.2.memory_budget_bytes", "jetson_nano_4gb has 3.73 GiB in all"]),
    ("nonsense", ["key.path=value"]),
    ("training.rounds={", ["not readable as YAML"]),
    ("data.partition.alpha=1", ["'alpha', which belongs to scheme: dirichlet", "data.partition.scheme is 'iid'"]),
    ("data.num_samples=9", ["belongs to source: synthetic-tokens", "data.source is 'digits'"]),
    ("training.optimizer.momentum=[]", ["training.optimizer.momentum: found []; needs a number"]),
    ("training.optimizer={name: adamw, learning_rate: 1, momentum: 1}", ["belongs to name: sgd", "is 'adamw'"]),
    ("clients.0.link.path_gain_db=1", ["belongs to radio.link_model: shannon", "radio.link_model is 'fixed'"]),
    ("training.trainable={}", ["training.trainable: method: this key is needed and absent; needs one of all, lora"]),
    ("training.modes=3", ["needs a list"]),
    ("objective=3", ["needs a mapping of keys"]),
    ("seed.deep.er=1", ["seed", "single value"]),
]


@pytest.mark.parametrize(("override", "needles"), WRONG, ids=[w[0] for w in WRONG])
def test_wrong_scenario_gets_one_clear_message(override: str, needles: list[str]) -> None:
    with pytest.raises(ScenarioError) as caught:
        load_scenario("quickstart", [override])
    message = str(caught.value)
    for needle in needles:
        assert needle in message, message
    assert caught.value.exit_code is ExitCode.WRONG_USAGE
    assert "pydantic" not in message
    assert len(message.splitlines()) <= 3, message


@pytest.mark.parametrize(
    ("text", "needle"),
    [
        ("", "found NoneType"),
        ("- a\n- b\n", "found list"),
        ("a: 1\na: 2\n", "'a' twice"),
        ("a: [1, 2\n", "line"),
        ("? [1]\n: 2\n", "list or a mapping"),
        ("a: !!python/object/apply:os.system ['true']\n", "could not determine a constructor"),
        ("\x00", "not"),
        ("name: x\n", "model: this key is needed and absent"),
    ],
)
def test_broken_files(tmp_path: Path, text: str, needle: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ScenarioError) as caught:
        load_scenario(str(path))
    assert "broken.yaml" in str(caught.value)
    assert needle in str(caught.value)


def test_a_wrong_key_in_the_only_group_is_the_only_fault() -> None:
    group = (
        "{group: a, device: rpi5_8gb, memory_budget_bytes: 1 MiB, link: {uplink_bps_per_hz: 1, downlink_bps_per_hz: 1}"
    )
    with pytest.raises(ScenarioError) as caught:
        load_scenario("quickstart", [f"clients=[{group}, cuont: 3}}]"])
    assert str(caught.value) == "built-in quickstart: clients.0.cuont: unknown key 'cuont'; did you mean 'count'?"
    with pytest.raises(ScenarioError, match="clients: found \\[\\]; needs at least 1 item"):
        load_scenario("quickstart", ["clients=[]"])


def test_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"name: caf\xe9\n")
    with pytest.raises(ScenarioError, match="UTF-8"):
        load_scenario(str(path))


def test_unknown_scenario_names_the_nearest() -> None:
    with pytest.raises(ScenarioError, match="did you mean 'quickstart'"):
        load_scenario("quikstart")


def test_relative_files_start_from_the_scenario(tmp_path: Path) -> None:
    (tmp_path / "trace.json").write_text('[{"duration_ms": 1000, "bandwidth_kbps": 1000, "latency_ms": 20}]')
    document = yaml.safe_load(builtin_text("quickstart"))
    document["clients"][0]["link"]["trace"] = "trace.json"
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(document))
    scenario = load_scenario(str(tmp_path / "mine.yaml"))
    assert scenario.clients[0].link.trace == str((tmp_path / "trace.json").resolve())


@pytest.mark.parametrize(
    "override",
    [
        "seed=2020-13-45", "seed=!!int abc", "seed=!!bool maybe", "seed=0x_", f"seed={'9' * 5000}",
        f"radio.uplink_hz={'9' * 401}", "clients.\u00b2.count=2", "clients.pi4.memory_budget_bytes=1e30",
        "training.local_steps=1000000000000000000",
        "training.optimizer.learning_rate=1e39", "clients.pi4.count=1000000",
        "clients=.inf", "clients=true",
    ],
)  # fmt: skip
def test_hostile_values_are_refused_like_any_other(override: str) -> None:
    with pytest.raises(ScenarioError):
        load_scenario("quickstart", [override])


@pytest.mark.parametrize(
    ("trace", "is_valid"),
    [
        ("log.csv", True),
        ({"path": "log.csv", "use": "absolute", "direction": "up", "past_the_end": "hold"}, True),
        ({"path": "log.csv", "index_table": "mcs-2", "band_hz": "20 MHz"}, True),
        ({"fading": "rician", "rician_k_db": 6, "mean_snr_db": 12, "distances_m": [80, 240]}, True),
        ({"path": "log.csv", "fading": "rayleigh", "mean_snr_db": 12}, False),
        ({"path": "log.csv", "past_the_end": "stop"}, False),
        ({"mean_snr_db": 12}, False),
        (["log.csv"], False),
    ],
)
def test_the_schema_knows_what_a_trace_may_be(trace: object, is_valid: bool) -> None:
    document = yaml.safe_load(builtin_text("quickstart"))
    document["clients"][0]["link"]["trace"] = trace
    assert (not list(Draft202012Validator(json_schema()).iter_errors(document))) is is_valid


def test_a_key_with_a_choice_of_forms_has_one_fault_that_names_them_all() -> None:
    with pytest.raises(ScenarioError) as caught:
        load_scenario("city", ["training.trainable.target_modules=3"])
    assert str(caught.value) == (
        "built-in city: training.trainable.target_modules: found 3; needs a list, or one of all-linear"
    )


def faults_of(*changes: str) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        load_scenario("quickstart", list(changes))
    return str(caught.value).splitlines()


def test_all_that_a_wrong_combination_lacks_is_said_at_once() -> None:
    """Also where single keys are wrong: sections are compared all the same."""
    said = faults_of("data.source=text-table", "radio.link_model=shannon", "clients.pi4.count=0", "model.dtype=float7")
    keys = [line.removeprefix("built-in quickstart: ").partition(":")[0] for line in said]
    assert {"data.path", "data.tokenizer", "data.image_size", "data.source", "clients.0.count", "model.dtype"} <= set(
        keys
    )
    link = next(line for line in said if "radio.link_model is 'shannon'" in line)
    assert "add path_gain_db" in link
    assert "remove uplink_bps_per_hz" in link
    assert "the same in clients 1, 2, 3, 4" in link


def test_a_disagreement_is_said_once_and_not_beside_its_own_key() -> None:
    said = faults_of("data.source=synthetic-tokens", "model.task=unknown")
    assert len(said) == len(set(said))
    assert not any("does not fit" in line for line in said), "the task is unknown"
    assert [line for line in faults_of("model.task=causal-lm") if "sequence_length" in line] == [
        "built-in quickstart: training.sequence_length: is needed for text; add it, for example 'sequence_length: 128'"
    ]


@pytest.mark.parametrize("document", [{}, {"clients": 3}, {"clients": [None]}, {"model": [], "training": "x"}])
def test_a_document_of_another_shape_disagrees_about_nothing(document: dict[str, Any]) -> None:
    assert disagreements(document) == []


def test_all_settings_of_training_that_do_not_agree_are_named_with_their_section() -> None:
    said = faults_of("training.server_gradient=zeroth-order", "training.server_model=shared-mean")
    assert len(said) == 2
    assert all(line.startswith("built-in quickstart: training: server_gradient: found") for line in said)


def test_a_plan_in_place_of_a_scenario_is_one_sentence(tmp_path: Path) -> None:
    resolved = load_scenario("quickstart").resolved()
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({"scenario": resolved, "strategy": "optimal", "clients": [], "digest": "0"}))
    with pytest.raises(ScenarioError, match="found a plan, which holds its scenario") as caught:
        load_scenario(str(path))
    assert "\n" not in str(caught.value)
