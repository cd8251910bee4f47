from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hybridsplit.orchestrator.report import ReportData
from hybridsplit.scenarios.contracts.ledger import Ledger, LedgerEntry, Source
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.contracts.options import OPTION_COLUMNS, OptionTable
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.plan import ClientPlan, Plan, PlanStatus
from hybridsplit.scenarios.contracts.prices import Prices
from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.scenarios.schema import Client, Scenario

MIB = 2**20
GROUPS = [
    # group, device, budget, measured-like peak share, seconds of compute, cut, mode
    ("pi4", "rpi4b_8gb", 256 * MIB, 0.91, 31.0, 3, Mode.ZO_PROJECTION, "calibrated"),
    ("pi5", "rpi5_8gb", 512 * MIB, 0.62, 24.0, 4, Mode.FO_RECOMPUTE, "calibrated"),
    ("nano", "jetson_nano_4gb", 1024 * MIB, 0.97, 17.0, 6, Mode.FO_RECOMPUTE, "derived"),
    ("xavier", "jetson_xavier_nx_8gb", 2048 * MIB, 0.71, 9.0, 8, Mode.FO, "derived"),
]
REASONS = {
    Mode.ZO_PROJECTION: "exact gradients need 310 MiB at any cut, 54 MiB over the budget",
    Mode.FO_RECOMPUTE: "keeping all activations (fo) does not fit; recomputing costs 6.1 s and saves 402 MiB",
    Mode.FO: "fits as it is, and nothing is faster at the same progress",
}


def make_scenario(num_clients: int, description: str = "Four kinds of boards share one 20 MHz cell.") -> Scenario:
    counts = [len(range(index, num_clients, 4)) for index in range(4)]
    return validate_scenario(
        {
            "name": "smart-home",
            "description": description,
            "model": {"task": "image-classification", "config": {"model_type": "vit"}},
            "data": {"source": "digits"},
            "training": {
                "optimizer": {"name": "sgd", "learning_rate": 0.05},
                "batch_size": 32,
                "local_steps": 4,
                "rounds": 30,
                "modes": ["fo", "fo-recompute", "zo-projection", "zo-loss"],
            },
            "server": {"device": "edge_rtx_a2000_6gb"},
            "radio": {"link_model": "fixed", "uplink_hz": "20 MHz", "downlink_hz": "20 MHz"},
            "clients": [
                {
                    "group": name,
                    "device": device,
                    "count": count,
                    "memory_budget_bytes": budget,
                    "link": {"uplink_bps_per_hz": 2.4, "downlink_bps_per_hz": 3.9},
                }
                for (name, device, budget, *_), count in zip(GROUPS, counts, strict=True)
                if count
            ],
        },
        "test",
    )


def make_client(client: Client, num_clients: int, index: int) -> ClientPlan:
    _, device, budget, peak_share, compute_s, cut, mode, confidence = next(g for g in GROUPS if g[0] == client.group)
    compute_s *= 1 + 0.06 * math.sin(index)
    share = 1 / num_clients
    phases_s = {
        Phase.MODEL_DOWNLOAD: 1.4 + 0.1 * cut,
        Phase.CLIENT_COMPUTE: compute_s,
        Phase.UPLINK: 0.55 * (46 - compute_s) / 1.2,
        Phase.SERVER_COMPUTE: 6.0 - 0.5 * cut,
        Phase.DOWNLINK: 0.3 * (46 - compute_s) / 1.2,
        Phase.MODEL_UPLOAD: 0.02 if mode == Mode.ZO_PROJECTION else 1.9 + 0.1 * cut,
    }
    return ClientPlan(
        id=client.id,
        device=device,
        cut=cut,
        mode=mode,
        batch_size=16,
        uplink_share=share * (1 + 0.3 * math.sin(index)) / 1.3,
        downlink_share=share * 0.97,
        server_share=share,
        latency_s=sum(phases_s.values()),
        phases_s=phases_s,
        client_compute_s=compute_s,
        server_compute_s=phases_s[Phase.SERVER_COMPUTE] * share,
        uplink_bytes=12_600_000 + index,
        downlink_bytes=14_200_000,
        model_upload_bytes=2_100_000,
        model_download_bytes=2_600_000,
        client_peak_bytes=int(budget * peak_share) - index,
        memory_budget_bytes=budget,
        server_state_bytes=50 * MIB,
        progress=0.6 if mode == Mode.ZO_PROJECTION else 1.0,
        data_weight=share,
        confidence=confidence,
        reason=REASONS[mode],
    )


def make_plan(scenario: Scenario, **changes: Any) -> Plan:
    expanded = scenario.expanded_clients()
    clients = tuple(make_client(client, len(expanded), index) for index, client in enumerate(expanded))
    latency_s = max(client.latency_s for client in clients)
    values: dict[str, Any] = {
        "scenario": scenario.resolved(),
        "scenario_hash": scenario.content_hash(),
        "strategy": "optimal",
        "status": PlanStatus.FEASIBLE,
        "objective": "time-to-progress",
        "objective_s": latency_s / 0.88,
        "round_latency_s": latency_s,
        "progress": 0.88,
        "lower_bound_s": latency_s / 0.88 / 1.012,
        "gap": 0.012,
        "schedule_lower_bound_s": latency_s / 0.88 / 1.21,
        "compile_s": 0.12,
        "solve_s": 1.93,
        "prices": Prices(uplink_s=9.1, downlink_s=4.4, server_s=2.0),
        "notes": ("The uplink decides: 10 % more of it saves about 0.9 s.",),
        "clients": clients,
    }
    return Plan(**{**values, **changes})


def make_options(plan: Plan) -> OptionTable:
    rows = []
    for client in plan.clients:
        for mode, need in ((Mode.FO, 1.6), (Mode.FO_RECOMPUTE, 0.9), (Mode.ZO_PROJECTION, 0.4), (Mode.ZO_LOSS, 0.42)):
            for cut in range(1, 13):
                peak = int(need * 90 * MIB * (1 + cut))
                row = dict.fromkeys(OPTION_COLUMNS, 0.0) | {
                    "client": client.id,
                    "device": client.device,
                    "cut": cut,
                    "mode": str(mode),
                    "recompute": "",
                    "batch_size": 16,
                    "client_peak_bytes": peak,
                    "memory_budget_bytes": client.memory_budget_bytes,
                    "fits": peak <= client.memory_budget_bytes,
                    "confidence": client.confidence,
                }
                rows.append(row)
    return OptionTable(pd.DataFrame(rows))


def make_rounds(num_rounds: int, round_s: float, best: float, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    index = np.arange(num_rounds)
    learnt = 1 - np.exp(-(index + 1) / 7)
    return pd.DataFrame(
        {
            "round": index,
            "simulated_s": round_s * (index + 1) * 1.07,
            "train_loss": 2.3 - 1.9 * learnt + rng.normal(0, 0.03, num_rounds),
            "test_accuracy": 0.1 + (best - 0.1) * learnt + rng.normal(0, 0.004, num_rounds),
        }
    )


def played_ledger(plan: Plan, source: Source, num_rounds: int) -> Ledger:
    rng = np.random.default_rng(7)
    entries = []
    for index in range(num_rounds):
        for client in plan.clients:
            for phase, seconds in client.phases_s.items():
                is_air = bool(client.phase_bytes(phase))
                factor = float(rng.uniform(0.9, 1.3)) if is_air else 1.0
                entries.append(
                    LedgerEntry(
                        source,
                        client.id,
                        index,
                        phase,
                        seconds * factor if source is Source.REPLAYED else 0.4,
                        0.3 if is_air and source is Source.REPLAYED else 0.0,
                        client.phase_bytes(phase),
                        emulated=source is Source.MEASURED,
                    )
                )
            if source is Source.REPLAYED:
                entries.append(LedgerEntry(source, client.id, index, Phase.BARRIER, 0.0, 2.0))
    return Ledger.from_entries(entries)


def make_report_data(num_clients: int = 12, *, is_run: bool = True, **changes: Any) -> ReportData:
    scenario = make_scenario(num_clients)
    plan = make_plan(scenario)
    rng = np.random.default_rng(1)
    ledgers = [plan.ledger()]
    rounds, control, memory = pd.DataFrame(), None, pd.DataFrame()
    if is_run:
        num_rounds = 30 if num_clients <= 40 else 2
        ledgers += [played_ledger(plan, source, num_rounds) for source in (Source.REPLAYED, Source.MEASURED)]
        rounds = make_rounds(30, plan.round_latency_s, 0.86, 1)
        control = make_rounds(30, plan.round_latency_s * 0.9, 0.81, 2)
        memory = pd.DataFrame(
            {
                "client": [client.id for client in plan.clients],
                "predicted_peak_bytes": [client.client_peak_bytes for client in plan.clients],
                "measured_peak_bytes": [client.client_peak_bytes * rng.uniform(0.97, 1.02) for client in plan.clients],
                "budget_bytes": [client.memory_budget_bytes for client in plan.clients],
            }
        )
    values: dict[str, Any] = {
        "scenario": scenario,
        "plan": plan,
        "options": make_options(plan),
        "ledger": Ledger.concat(ledgers),
        "rounds": rounds,
        "memory": memory,
        "control": control,
        "notes": ("Seconds are emulated on a machine that is none of the devices.",) if is_run else (),
    }
    return ReportData(**{**values, **changes})


@pytest.fixture
def report_data() -> Callable[..., ReportData]:
    return make_report_data


@pytest.fixture
def plan_factory() -> Callable[..., Plan]:
    return make_plan


@pytest.fixture
def scenario_factory() -> Callable[..., Scenario]:
    return make_scenario
