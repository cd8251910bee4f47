"""A small scenario with relays, its plan, and short runs of it to be disturbed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import yaml

from hybridsplit.orchestrator.relays.training import TrainedRelays, train_over_relays
from hybridsplit.profiler.relays import relay_costs
from hybridsplit.runtime.executors.inline import InlineExecutor
from hybridsplit.runtime.executors.ray_relay_executor import RayRelayExecutor
from hybridsplit.runtime.executors.ray_relay_worker import RemoteRelayWorker
from hybridsplit.runtime.relays.worker import RelayWorker
from hybridsplit.runtime.run.records import RoundDone
from hybridsplit.runtime.worker.worker import Worker
from hybridsplit.scenarios.contracts.relay_plan import RelayPlan
from hybridsplit.scenarios.loader import builtin_text
from hybridsplit.scenarios.relays.loading import single_cut, validate_relays
from hybridsplit.scenarios.relays.schema import RelayScenario
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.solver.relays.assemble import make_relay_plan

ROUNDS = 3
SMALL_MODEL = {
    "num_hidden_layers": 3, "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "image_size": 16,
    "patch_size": 4,
}  # fmt: skip


def small_document(**training: Any) -> dict[str, Any]:
    """``factory`` with a model that trains in a moment, and three clients."""
    document: dict[str, Any] = yaml.safe_load(builtin_text("factory"))
    document["name"] = "small"
    document["model"]["config"] |= SMALL_MODEL
    document["data"]["image_size"] = 16
    document["training"] |= {"local_steps": 2, "micro_batches": [4], "rounds": ROUNDS} | training
    document["clients"][0]["count"] = 2
    document["search"] = {"time_limit_s": 2.0}
    return document


def small_scenario(**training: Any) -> RelayScenario:
    return validate_relays(small_document(**training), "small")


def replicated_document(replicas: int = 2, **training: Any) -> dict[str, Any]:
    """The same with an edge server and a cloud of so many machines each."""
    document = small_document(**({"partial_sums": 2} | training))
    for node in document["network"]["nodes"]:
        if replicas > 1 and node["node"] in ("edge", "cloud"):
            node |= {"replicas": replicas, "replica_bps": 10e9}
    return document


@cache
def _planned(text: str, strategy: str) -> RelayPlan:
    scenario = validate_relays(yaml.safe_load(text), "small")
    return make_relay_plan(scenario, relay_costs(scenario), strategy)


def small_plan(scenario: RelayScenario, strategy: str = "even-split") -> RelayPlan:
    """Its blocks on four machines in a row."""
    return _planned(yaml.safe_dump(scenario.resolved()), strategy)


def run_inline(scenario: RelayScenario, plan: RelayPlan, rounds: int = ROUNDS, **how: Any) -> TrainedRelays:
    with InlineExecutor(single_cut(scenario), make_worker=RelayWorker) as executor:
        return train_over_relays(plan, scenario, executor, rounds, **how)


def run_ray(
    scenario: RelayScenario,
    plan: RelayPlan,
    address: str | None,
    num_workers: int = 2,
    rounds: int = ROUNDS,
    make_worker: Callable[[Scenario, int], Worker] = RemoteRelayWorker,
    on_round: Callable[[RayRelayExecutor, RoundDone], None] = lambda executor, done: None,
    **how: Any,
) -> TrainedRelays:
    executor = RayRelayExecutor(
        single_cut(scenario), scenario.network.machines(), num_workers, address=address, make_worker=make_worker
    )
    with executor:
        return train_over_relays(
            plan, scenario, executor, rounds, on_round=lambda done: on_round(executor, done), **how
        )
