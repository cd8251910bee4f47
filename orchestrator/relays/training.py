"""Train by a plan over relays, on the clock of its replay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hybridsplit.runtime.executors.base import Executor
from hybridsplit.runtime.replay_relays import PlayedRelays, play_relays
from hybridsplit.runtime.run.records import RoundDone
from hybridsplit.runtime.run.rounds import Reading, TrainingResult, train
from hybridsplit.scenarios.contracts.assignment import relay_assignments_of
from hybridsplit.scenarios.contracts.attendance import Attendance
from hybridsplit.scenarios.contracts.relay_plan import RelayPlan
from hybridsplit.scenarios.contracts.stages import machine_name
from hybridsplit.scenarios.errors import BudgetExceededError
from hybridsplit.scenarios.relays.loading import single_cut
from hybridsplit.scenarios.relays.schema import RelayScenario
from hybridsplit.scenarios.units import format_bytes


@dataclass(frozen=True)
class TrainedRelays:
    """What training by a plan came to.

    Parameters
    ----------
    result
        The run.
    played
        The replay of every round, by those who took part in it.
    """

    result: TrainingResult
    played: tuple[PlayedRelays, ...]


def train_over_relays(
    plan: RelayPlan,
    scenario: RelayScenario,
    executor: Executor[Any],
    num_rounds: int,
    *,
    checkpoints: Path | None = None,
    resume: bool = False,
    on_round: Callable[[RoundDone], None] = lambda done: None,
) -> TrainedRelays:
    """Train by a plan.

    Parameters
    ----------
    plan, scenario
        The plan, and its scenario.
    executor
        An entered executor whose workers train over relays.
    num_rounds
        Rounds.
    checkpoints
        Where checkpoints are kept; nowhere when None.
    resume
        Continue from the newest checkpoint.
    on_round
        Called after every round.

    Raises
    ------
    BudgetExceededError
        If a client exceeds its budget, or a machine its memory.
    RunError
        If training fails.
    """

    @cache
    def play(clients: frozenset[str]) -> PlayedRelays:
        return play_relays(plan, 1, clients)

    def played(attendance: Attendance) -> tuple[PlayedRelays, ...]:
        return tuple(play(frozenset(present)) for present in attendance.rounds)

    def clock(attendance: Attendance) -> Reading:
        ends_s: list[float] = []
        for one in played(attendance):
            ends_s.append(one.value_s + (ends_s[-1] if ends_s else 0.0))
        return Reading(ends_s)

    def shown(done: RoundDone) -> None:
        check_nodes(done, scenario)
        on_round(done)

    single = single_cut(scenario)
    result = train(
        single,
        relay_assignments_of(plan, single),
        executor,
        num_rounds,
        clock=clock,
        checkpoint_folder=checkpoints,
        resume=resume,
        on_round=shown,
    )
    return TrainedRelays(result, played(result.attendance))


def check_nodes(done: RoundDone, scenario: RelayScenario) -> None:
    """Hold what the blocks of all clients took on every machine against its memory.

    Parameters
    ----------
    done
        A round, with the peaks measured so far.
    scenario
        States the memory of every node.

    Raises
    ------
    BudgetExceededError
        If they took more.
    """
    limits = {
        machine_name(node.node, replica): node.memory_bytes
        for node in scenario.network.nodes
        for replica in range(node.replicas)
        if node.memory_bytes is not None
    }
    for name, memory_bytes in limits.items():
        peak_bytes = done.node_peak_bytes.get(name, 0)
        if peak_bytes > memory_bytes:
            raise BudgetExceededError(
                f"node {name}: the blocks of all clients used {format_bytes(peak_bytes)} of its "
                f"{format_bytes(memory_bytes)} in round {done.round + 1}; the run stops, since a real machine "
                "would have died here: raise its memory_bytes, offer more micro_batches, or move blocks to other nodes"
            )
