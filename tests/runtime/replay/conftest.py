from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from hybridsplit.runtime.replay.links import downlink_rate_bps, uplink_rate_bps
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.plan import ClientPlan, Plan, PlanStatus
from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.scenarios.schema import Scenario

FIXED_LINK = {"uplink_bps_per_hz": 2.0, "downlink_bps_per_hz": 4.0}
SHANNON_LINK = {"path_gain_db": -100.0, "transmit_power_dbm": 20.0, "downlink_bps_per_hz": 4.0}


def make_scenario(
    num_clients: int = 2, *, link_model: str = "fixed", local_steps: int = 1, link: Mapping[str, Any] | None = None
) -> Scenario:
    default = FIXED_LINK if link_model == "fixed" else SHANNON_LINK
    document = {
        "name": "tiny",
        "model": {"task": "image-classification", "config": {"model_type": "resnet"}},
        "data": {"source": "digits"},
        "training": {
            "optimizer": {"name": "sgd", "learning_rate": 0.1},
            "batch_size": 8,
            "local_steps": local_steps,
        },
        "server": {"device": "edge_rtx_a2000_6gb"},
        "radio": {"link_model": link_model, "uplink_hz": 1e6, "downlink_hz": 1e6},
        "clients": [
            {
                "group": "pi",
                "device": "rpi4b_8gb",
                "count": num_clients,
                "memory_budget_bytes": "1 GiB",
                "link": dict(link or default),
            }
        ],
    }
    return validate_scenario(document, "test")


def make_client(client_id: str, num_clients: int, **changes: Any) -> ClientPlan:
    """A client whose phases, on a fixed link and its default share, are whole numbers of seconds over num_clients."""
    values: dict[str, Any] = {
        "id": client_id,
        "device": "rpi4b_8gb",
        "cut": 2,
        "mode": Mode.FO,
        "uplink_share": 1 / num_clients,
        "downlink_share": 1 / num_clients,
        "server_share": 1 / num_clients,
        "latency_s": 0.0,
        "phases_s": {},
        "client_compute_s": 3.0,
        "server_compute_s": 0.5,
        "uplink_bytes": 750_000,
        "downlink_bytes": 1_000_000,
        "model_upload_bytes": 250_000,
        "model_download_bytes": 500_000,
        "client_peak_bytes": 1000,
        "memory_budget_bytes": 2**30,
        "server_state_bytes": 0,
        "progress": 1.0,
        "data_weight": 1 / num_clients,
        "batch_size": 1,
        "confidence": "derived",
    }
    return ClientPlan(**{**values, **changes})


def make_plan(scenario: Scenario, changes: Mapping[str, Mapping[str, Any]] | None = None) -> Plan:
    """A plan whose latencies follow from its options and shares by the formula of the round."""
    ids = [client.id for client in scenario.expanded_clients()]
    links = {client.id: client.link for client in scenario.expanded_clients()}
    clients = []
    for client_id in ids:
        client = make_client(client_id, len(ids), **(changes or {}).get(client_id, {}))
        up_bps = uplink_rate_bps(links[client_id], scenario.radio, client.uplink_share)
        down_bps = downlink_rate_bps(links[client_id], scenario.radio, client.downlink_share)
        phases_s = {Phase.CLIENT_COMPUTE: client.client_compute_s}
        if client.server_compute_s:
            phases_s[Phase.SERVER_COMPUTE] = client.server_compute_s / client.server_share
        for phase, rate_bps in (
            (Phase.MODEL_DOWNLOAD, down_bps),
            (Phase.UPLINK, up_bps),
            (Phase.DOWNLINK, down_bps),
            (Phase.MODEL_UPLOAD, up_bps),
        ):
            phases_s[phase] = 8 * client.phase_bytes(phase) / rate_bps if client.phase_bytes(phase) else 0.0
        clients.append(client.model_copy(update={"phases_s": phases_s, "latency_s": sum(phases_s.values())}))
    latency_s = max(client.latency_s for client in clients)
    return Plan(
        scenario=scenario.resolved(),
        scenario_hash=scenario.content_hash(),
        strategy="hand-made",
        status=PlanStatus.BASELINE,
        objective="round-latency",
        objective_s=latency_s,
        round_latency_s=latency_s,
        progress=1.0,
        lower_bound_s=latency_s,
        gap=0.0,
        schedule_lower_bound_s=0.0,
        compile_s=0.0,
        solve_s=0.0,
        clients=tuple(clients),
    )


@pytest.fixture
def scenario_factory() -> Callable[..., Scenario]:
    return make_scenario


@pytest.fixture
def plan_factory() -> Callable[..., Plan]:
    return make_plan
