"""Every key of a scenario has an effect that shows, or is refused; and it is documented, with its unit and default."""

from __future__ import annotations

import copy
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from pydantic import BaseModel

from hybridsplit.orchestrator.planned import plan_as_asked
from hybridsplit.orchestrator.training import train_by_plan
from hybridsplit.profiler.options import profile_scenario
from hybridsplit.runtime.data.partition import partition
from hybridsplit.runtime.data.sources import load_dataset
from hybridsplit.runtime.executors.inline import InlineExecutor
from hybridsplit.runtime.replay import replay
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.errors import HybridSplitError
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.variants import models_of
from tests.scenarios.every_key.changes import CHANGES, CHOOSE_A_VARIANT, FOR_PEOPLE, IN_OTHER_TESTS, Values
from tests.scenarios.every_key.files import write_files
from tests.structure import ROOT

BASE: Values = {
    "name": "base",
    "model": {
        "task": "image-classification",
        "config": {
            "model_type": "resnet", "layer_type": "basic", "num_channels": 1, "embedding_size": 8,
            "hidden_sizes": [8, 16], "depths": [2, 2], "num_labels": 10,
        },
    },
    "data": {"source": "digits", "image_size": 8, "test_fraction": 0.2},
    "training": {
        "optimizer": {"name": "sgd", "learning_rate": 0.1}, "batch_size": 8, "local_steps": 2, "rounds": 2,
        "modes": ["fo"],
    },
    "server": {"device": "edge_rtx_a2000_6gb"},
    "radio": {"link_model": "fixed", "uplink_hz": "5 MHz", "downlink_hz": "5 MHz"},
    "clients": [
        {"group": name, "device": device, "memory_budget_bytes": "16 MiB",
         "link": {"uplink_bps_per_hz": 2.0, "downlink_bps_per_hz": 4.0}}
        for name, device in (("pi", "rpi4b_8gb"), ("orin", "jetson_orin_nano_8gb"))
    ],
}  # fmt: skip
SAME_WHATEVER = {"scenario", "scenario_hash", "compile_s", "solve_s"}


def sections() -> dict[str, type[BaseModel]]:
    """All sections that a scenario of training may hold, by name."""
    found: dict[str, type[BaseModel]] = {}
    waiting: list[type[BaseModel]] = [Scenario]
    while waiting:
        section = waiting.pop()
        if section.__name__ not in found:
            found[section.__name__] = section
            waiting += [inner for field in section.model_fields.values() for inner in models_of(field)]
    return found


def keys() -> set[str]:
    """All keys that hold a value of their own, as ``Section.key``."""
    return {
        f"{name}.{key}"
        for name, section in sections().items()
        for key, field in section.model_fields.items()
        if not (key in CHOOSE_A_VARIANT and name not in ("Scenario", "Device"))
        and not (name == "Scenario" and models_of(field) and f"{name}.{key}" not in CHANGES)
    }


def test_every_key_is_accounted_for() -> None:
    """A new key needs a line that says what it changes."""
    known = {*CHANGES, *IN_OTHER_TESTS, *FOR_PEOPLE}
    assert keys() - known == set(), "keys of which no test says what they change"
    assert known - keys() == set(), "there are no such keys"
    assert all((ROOT / path).is_file() for path in IN_OTHER_TESTS.values())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("every-key")
    write_files(place)
    return place


@pytest.fixture(scope="module")
def without_it() -> dict[tuple[str, str], str]:
    """What was observed of scenarios without the change, by what is observed and what is given."""
    return {}


def put(document: Any, path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for part in parents:
        if isinstance(document, list):
            document = document[int(part)]
            continue
        if not isinstance(document.get(part), (dict, list)):
            document[part] = {} if document.get(part) is None else {"path": document[part]}
        document = document[part]
    if value is None:
        document.pop(last, None)
    else:
        document[last] = copy.deepcopy(value)


def scenario_with(folder: Path, *changes: Values) -> Scenario:
    document = copy.deepcopy(BASE)
    for change in changes:
        for path, value in change.items():
            put(document, path, value)
    file = folder / "scenario.yaml"
    file.write_text(yaml.safe_dump(document))
    return load_scenario(str(file))


def digest(value: Any) -> str:
    def plain(one: Any) -> Any:
        if isinstance(one, torch.Tensor):
            return [list(one.shape), hashlib.sha256(one.numpy().tobytes()).hexdigest()]
        return str(one)

    return hashlib.sha256(json.dumps(value, default=plain, sort_keys=True).encode()).hexdigest()


def planned(scenario: Scenario) -> tuple[Plan, str]:
    table = profile_scenario(scenario)
    plan = plan_as_asked(scenario, table, "optimal")
    return plan, digest([table.table.to_csv(), plan.model_dump(mode="json", exclude=SAME_WHATEVER)])


def dealt(scenario: Scenario) -> str:
    found = load_dataset(scenario)
    return digest([vars(found.train), vars(found.test), dict(partition(found.train, scenario))])


def trained(scenario: Scenario) -> str:
    table = profile_scenario(scenario)
    plan = plan_as_asked(scenario, table, "optimal")
    with InlineExecutor(scenario) as executor:
        done = train_by_plan(
            plan, scenario, table, executor, scenario.training.rounds, lambda *_: None,
            with_control=scenario.training.frozen_control,
        )  # fmt: skip
    return digest([vars(record) for record in done.result.records] + [done.control is not None])


def played(scenario: Scenario) -> str:
    plan, _ = planned(scenario)
    return digest(list(replay(plan, scenario, num_rounds=6, samples_windows=True).round_latency_s))


OBSERVED = {"planned": lambda scenario: planned(scenario)[1], "dealt": dealt, "trained": trained, "played": played}


@pytest.mark.slow
@pytest.mark.parametrize("key", sorted(CHANGES))
def test_another_value_shows(key: str, folder: Path, without_it: dict[tuple[str, str], str]) -> None:
    change = CHANGES[key]
    before = scenario_with(folder, change.given)
    if change.observed == "refused":
        played(before)
        with pytest.raises(HybridSplitError):
            played(scenario_with(folder, change.given, change.to))
        return
    observe = OBSERVED[change.observed]
    place = change.observed, json.dumps(change.given)
    if place not in without_it:
        without_it[place] = observe(before)
        assert without_it[place] == observe(scenario_with(folder, change.given)), "the same scenario twice differs"
    assert observe(scenario_with(folder, change.given, change.to)) != without_it[place]
