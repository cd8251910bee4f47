"""Every key of a scenario with relays changes the plan, or is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hybridsplit.scenarios.errors import InfeasibleError
from hybridsplit.scenarios.relays.loading import validate_relays
from hybridsplit.solver.relays.assemble import make_relay_plan
from tests.solver.relays.tasks import random_costs, relay_scenario

CHANGES: dict[str, Any] = {
    "network.nodes.0.device": None,
    "network.nodes.1.memory_bytes": 1_000,
    "network.nodes.1.load": 0.9,
    "network.links.0.uplink_bps": 1e6,
    "network.links.0.downlink_bps": 1e6,
    "network.links.0.latency_s": 0.2,
    "network.links.0.shared": True,
    "clients.0.device": "jetson_nano_4gb",
    "clients.0.count": 40,
    "clients.0.memory_budget_bytes": 10_000,
    "clients.0.min_cut": 5,
    "training.micro_batches": [1],
    "training.local_steps": 3,
    "training.cuts.most": 0,
    "training.partial_sums": 4,
    "training.pipeline": "gpipe",
}
"""Key, and a value other than that of the scenario."""


def figures(**changed: Any) -> dict[str, Any]:
    """What is planned, or why nothing is."""
    scenario = relay_scenario((1,), search={"time_limit_s": 20.0, "gap": 0.05})
    document = scenario.resolved()
    for key, value in changed.items():
        *parents, last = key.split(".")
        place: Any = document
        for part in parents:
            place = place[int(part)] if isinstance(place, list) else place[part]
        assert place[last] != value, "no change"
        place[last] = value
    costs = random_costs(np.random.default_rng(11), 5, (1, 4), trains=True)
    try:
        plan = make_relay_plan(validate_relays(document, "changed"), costs)
    except InfeasibleError as error:
        return {"refused": str(error)}
    return plan.model_dump(include={"objective", "value_s", "busy_s", "clients"})


@pytest.fixture(scope="module")
def unchanged() -> dict[str, Any]:
    return figures()


@pytest.mark.parametrize("key", sorted(CHANGES))
def test_a_key_changes_the_plan(key: str, unchanged: dict[str, Any]) -> None:
    assert figures(**{key: CHANGES[key]}) != unchanged
