"""The training loop: rounds of clients, aggregation, evaluation and a checkpoint each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from hybridsplit.runtime.aggregation.scalar_log import ScalarLog
from hybridsplit.runtime.executors.base import Executor, RoundOutcome
from hybridsplit.runtime.run.assignments import groups_by, plan_fingerprint
from hybridsplit.runtime.run.checkpoint import load_checkpoint, save_checkpoint
from hybridsplit.runtime.run.history import History
from hybridsplit.runtime.run.memory_seen import add_memory_seen
from hybridsplit.runtime.run.records import ClientRecord, RoundDone, RoundRecord
from hybridsplit.runtime.split.parts import State
from hybridsplit.runtime.worker.faults import ClientFault, error_of
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.contracts.attendance import Absence, Attendance
from hybridsplit.scenarios.contracts.ladder import StepMemory
from hybridsplit.scenarios.contracts.ledger import Ledger
from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.contracts.schedule import Schedule, Simultaneous
from hybridsplit.scenarios.errors import ContractError, RunError, UsageError
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.units import counted

_CLOCK_TOLERANCE = 1e-6


class RoundOrder(NamedTuple):
    """What a round's plan says: who does what, and who before whom.

    Parameters
    ----------
    assignments
        Of all clients.
    schedule
        Who trains before whom.
    """

    assignments: tuple[Assignment, ...]
    schedule: Schedule


class Reading(NamedTuple):
    """What the clock shows.

    Parameters
    ----------
    ends_s
        The time at the end of every round, seconds from the start.
    late
        Clients that rounds went on without.
    steps
        By client and round, the recompute order of every step and what it may take, of clients whose memory moves.
    orders
        What the plan of every round says, where the plan may change in between; empty where all go by one.
    """

    ends_s: Sequence[float]
    late: tuple[Absence, ...] = ()
    steps: Mapping[tuple[str, int], tuple[StepMemory, ...]] = MappingProxyType({})
    orders: Sequence[RoundOrder] = ()


Clock = Callable[[Attendance], Reading]
"""Gives the times of rounds, and who is late in them, by who takes part in each."""


def one_second_a_round(attendance: Attendance) -> Reading:
    """Return a clock for runs whose time does not matter."""
    return Reading([float(round_index + 1) for round_index in range(attendance.num_rounds)])


@dataclass(frozen=True)
class TrainingResult:
    """Outcome of a run.

    Parameters
    ----------
    records
        Metrics by round.
    clients
        Metrics by round and client.
    measured
        Measured ledger: bytes of every client and phase; seconds of the emulating machine, marked so.
    peak_bytes
        Measured peak of live tensor bytes of every client part.
    faults
        Clients that failed, when, and whether they have left for that.
    attendance
        Who took part in each round; those who failed in it are among them.
    events
        What happened to workers, in words.
    state
        Final global state.
    node_peak_bytes
        By client, the measured peak of its blocks on every other machine, where a model is cut several times.
    """

    records: tuple[RoundRecord, ...]
    clients: tuple[ClientRecord, ...]
    measured: Ledger
    peak_bytes: dict[str, int]
    faults: tuple[ClientFault, ...]
    attendance: Attendance
    events: tuple[str, ...]
    state: State
    node_peak_bytes: dict[str, dict[str, int]]


def train(
    scenario: Scenario,
    assignments: Sequence[Assignment],
    executor: Executor[Any],
    num_rounds: int,
    *,
    clock: Clock = one_second_a_round,
    schedule: Schedule = Simultaneous(),
    checkpoint_folder: Path | None = None,
    resume: bool = False,
    excluded: Sequence[Absence] = (),
    options: OptionTable | None = None,
    memory_folder: Path | None = None,
    on_round: Callable[[RoundDone], None] = lambda record: None,
) -> TrainingResult:
    """Train by rounds.

    Parameters
    ----------
    scenario, assignments
        What to train, and who does what.
    executor
        An entered executor.
    num_rounds
        Rounds, those of a checkpoint among them.
    clock
        The replay's clock: training time is simulated time. Asked anew when a client's failure changes who takes part
        in later rounds.
    schedule
        Who trains before whom, see :func:`hybridsplit.runtime.run.assignments.groups_by`.
    checkpoint_folder
        Where to write a checkpoint after every round; none when None.
    resume
        Continue from the newest checkpoint, if there is one.
    excluded
        Clients and rounds that do not count here, since they did not count in the run that this one is compared with;
        those who left that run leave this one.
    options
        Option table, to name an option that would fit when a budget is exceeded.
    memory_folder
        Where to write what memory real devices saw, a recording a client; nowhere when None.
    on_round
        Called after every round, and first for those of a checkpoint.

    Raises
    ------
    BudgetExceededError
        If a client's measured peak exceeds its budget, and the scenario's fault policy is to fail.
    RunError
        If training diverges or a client hangs under the same policy, if all clients have failed, or if workers cannot
        be kept alive.
    ScenarioError
        If clients of a chain are bound to different devices.
    """
    # Check now that the groups can be formed; drawn participants may not meet until a later round.
    groups_by(schedule, assignments, scenario.training)
    fingerprint = plan_fingerprint(scenario, assignments, schedule)
    history, handle = _begun(assignments, executor, fingerprint, checkpoint_folder if resume else None, excluded)
    if len(history.records) > num_rounds:
        raise UsageError(
            f"{checkpoint_folder}: has {counted(len(history.records), 'round')} already, more than the "
            f"{num_rounds} asked for; raise --rounds, or start another run"
        )
    attendance, reading = _clocked(history, scenario, assignments, num_rounds, clock)
    _check_clock(history, reading, scenario, checkpoint_folder)
    for record in history.records:
        on_round(history.done(record))
    for round_index in range(len(history.records), num_rounds):
        order = reading.orders[round_index] if reading.orders else RoundOrder(tuple(assignments), schedule)
        task = history.task(scenario, order.assignments, order.schedule, attendance)
        outcome = executor.train_round(handle, task) if task.groups else RoundOutcome(handle, ())
        _apply_policy(outcome, history.present(order.assignments), scenario, options)
        handle = outcome.handle
        if memory_folder is not None:
            add_memory_seen(memory_folder, outcome.reports)
        record = history.add(outcome, scenario, reading.ends_s[round_index], executor.evaluate(handle))
        if reading.orders:
            history.plans.append(plan_fingerprint(scenario, *order))
        on_round(history.done(record))
        if history.attendance(scenario, assignments, num_rounds) != attendance:
            attendance, reading = _clocked(history, scenario, assignments, num_rounds, clock)
        history.events += executor.take_events()
        if checkpoint_folder is not None:
            save_checkpoint(
                checkpoint_folder, history.checkpoint(fingerprint, executor.computes_on), partial(executor.save, handle)
            )
    history.events += executor.take_events()
    if history.records and all(record.train_loss is None for record in history.records):
        raise RunError(f"no client was trained in {len(history.records)} rounds: {_named(history.faults)}")
    return _result(history, attendance, executor.fetch(handle))


def _begun(
    assignments: Sequence[Assignment],
    executor: Executor[Any],
    fingerprint: str,
    folder: Path | None,
    excluded: Sequence[Absence],
) -> tuple[History, Any]:
    """Return what is known of the rounds that a checkpoint holds, and its state; those of a new run without one."""
    found = None if folder is None else load_checkpoint(folder, fingerprint, executor.load)
    if found is not None:
        if found[0].computed_on != executor.computes_on:
            raise UsageError(
                f"{folder}: these rounds were computed with --torch-device {found[0].computed_on}, and other devices "
                f"give other bits; found --torch-device {executor.computes_on}: resume with the same, or start another "
                "run"
            )
        return History.after(found[0], assignments, excluded), found[1]
    log = ScalarLog(assignment.client for assignment in assignments)
    return History(log=log, excluded=tuple(excluded)), executor.initial_state()


def _result(history: History, attendance: Attendance, state: State) -> TrainingResult:
    return TrainingResult(
        records=tuple(history.records),
        clients=tuple(history.clients),
        measured=history.measured,
        peak_bytes=history.peak_bytes,
        faults=tuple(history.faults),
        attendance=attendance,
        events=tuple(history.events),
        state=state,
        node_peak_bytes=history.node_peak_bytes,
    )


def _clocked(
    history: History, scenario: Scenario, assignments: Sequence[Assignment], num_rounds: int, clock: Clock
) -> tuple[Attendance, Reading]:
    """Return who takes part in every round, and the times and plans that follow; who is late is noted in the history.

    Who is late may have to catch up later, which takes time then, and may make others late: as rounds depend on those
    before them alone, each reading is right for one more round at least.
    """
    attendance = history.attendance(scenario, assignments, num_rounds)
    while True:
        reading = clock(attendance)
        history.late, history.steps = reading.late, reading.steps
        again = history.attendance(scenario, assignments, num_rounds)
        if again == attendance:
            return attendance, reading
        attendance = again


def _check_clock(history: History, reading: Reading, scenario: Scenario, folder: Path | None) -> None:
    """Refuse records whose times, or plans, are not those of the plan's replay.

    Raises
    ------
    ContractError
        If one is not.
    """
    for record, end_s in zip(history.records, reading.ends_s, strict=False):
        if not abs(record.simulated_s - end_s) <= _CLOCK_TOLERANCE * end_s:
            raise ContractError(
                f"{folder}: the checkpoint is damaged: records.{record.round}.simulated_s is {record.simulated_s:.9g}, "
                f"the replay of the plan gives {end_s:.9g}; remove this folder to start again"
            )
    if len(history.plans) != (len(history.records) if reading.orders else 0):
        raise ContractError(
            f"{folder}: the checkpoint is damaged: it has the plans of {len(history.plans)} rounds; needs one for each "
            "round that is done where plans change, and none elsewhere; remove this folder to start again"
        )
    for number, (trained_by, order) in enumerate(zip(history.plans, reading.orders, strict=False)):
        if trained_by != plan_fingerprint(scenario, *order):
            raise ContractError(
                f"{folder}: round {number} was trained by another plan than planning again gives now, so that going on "
                "would not give the bits of a run that was not interrupted: another version of this software or of a "
                "solver made it; go on with that one, or remove this folder to start again"
            )


def _apply_policy(
    outcome: RoundOutcome[Any], present: Sequence[Assignment], scenario: Scenario, options: OptionTable | None
) -> None:
    """Stop the run where the scenario says so, or where all clients have failed; the participants of one round may."""
    if outcome.faults and scenario.faults.policy == "fail":
        fault = outcome.faults[0]
        who = next(a for a in present if a.client == fault.client)
        min_cut = next(c.min_cut for c in scenario.expanded_clients() if c.id == fault.client)
        raise error_of(fault, who, scenario, options, min_cut)
    if not outcome.reports and {a.client for a in present} == {fault.client for fault in outcome.faults}:
        raise RunError(
            f"round {outcome.faults[0].round + 1}: no client is left to train with: {_named(outcome.faults)}"
        )


def _named(faults: Sequence[ClientFault]) -> str:
    return ", ".join(f"{fault.client} ({fault.kind}: {fault.observed})" for fault in faults[:5])
