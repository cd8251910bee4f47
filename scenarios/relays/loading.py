"""Check the document of a scenario with relays, and the scenario of one cut that profiles its model."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hybridsplit.scenarios.device_changes import with_catalogue_figures
from hybridsplit.scenarios.device_files import with_device_files
from hybridsplit.scenarios.devices import find_device
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.messages import explain
from hybridsplit.scenarios.plain import check_plain
from hybridsplit.scenarios.relays.schema import RelayScenario
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.validation import validate_scenario, with_model_and_data_located


def validate_relays(document: Mapping[str, Any], origin: str, folder: Path | None = None) -> RelayScenario:
    """Check the document of a scenario with relays.

    Parameters
    ----------
    document
        Plain values, as read from YAML or from ``plan.json``.
    origin
        Name of the document in messages.
    folder
        Folder that relative file names start from; left as they are when None.

    Raises
    ------
    ScenarioError
        If anything is wrong; the message names file, key path, what was found and what is needed.
    """
    check_plain(document, origin)
    located = dict(with_catalogue_figures(document, origin))
    if folder is not None:
        located = dict(with_device_files(located, folder, origin))
        located.pop("device_files", None)
        located = with_model_and_data_located(located, folder, origin)
    try:
        scenario = RelayScenario.model_validate_json(json.dumps(located))
    except ValidationError as error:
        raise ScenarioError(explain(error, located, origin, RelayScenario)) from error
    for index, node in enumerate(scenario.network.nodes):
        if node.device is not None:
            find_device(node.device, scenario.devices, f"{origin}: network.nodes.{index}.device")
    single = validate_scenario(_single_cut(scenario), origin, folder)
    return scenario.model_copy(update={"model": single.model, "data": single.data})


def single_cut(scenario: RelayScenario) -> Scenario:
    """Return the scenario of one cut with the same model, data and training: what a profile is made from.

    Parameters
    ----------
    scenario
        A scenario with relays. Rates and server of the result are not those of any link or node: no plan is made from
        it.
    """
    return validate_scenario(_single_cut(scenario), scenario.name)


def _single_cut(scenario: RelayScenario) -> dict[str, Any]:
    values = copy.deepcopy(scenario.resolved())
    training = values["training"]
    for key in ("micro_batches", "cuts", "partial_sums", "pipeline"):
        training.pop(key)
    training["optimizer"] = training["optimizer"] or {"name": "sgd", "learning_rate": 0.1}
    device = next((one.device for one in scenario.network.nodes[::-1] if one.device), scenario.clients[0].device)
    return {
        "name": scenario.name,
        "seed": scenario.seed,
        "model": values["model"],
        "data": values["data"],
        "training": training | {"modes": ["fo"]},
        "server": {"device": device},
        "radio": {"link_model": "fixed", "uplink_hz": 1.0, "downlink_hz": 1.0},
        "clients": [
            {key: one[key] for key in ("group", "device", "count", "memory_budget_bytes", "ray_resource")}
            | {"link": {"uplink_bps_per_hz": 1.0, "downlink_bps_per_hz": 1.0}}
            for one in values["clients"]
        ],
        "faults": values["faults"],
        "devices": values["devices"],
    }
