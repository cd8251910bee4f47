"""The training loop: rounds of clients, aggregation, evaluation and a checkpoint each."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from runtime.checkpoint import Checkpoint, ClientRecord, RoundRecord, load_checkpoint, save_checkpoint
from runtime.client import Assignment, ClientReport
from runtime.executors.base import Executor, RoundOutcome, RoundTask
from runtime.faults import ClientFault, error_of
from runtime.groups import Group, groups_of
from runtime.participation import participants
from runtime.scalar_log import ScalarLog
from runtime.split import State
from scenarios.contracts.ledger import Ledger, LedgerEntry, Source
from scenarios.contracts.options import OptionTable
from scenarios.contracts.phases import Phase
from scenarios.contracts.plan import Plan
from scenarios.contracts.schedule import Chain, Schedule, Simultaneous
from scenarios.errors import ContractError, RunError, UsageError
from scenarios.schema import Scenario, Training


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
        Clients that failed, and when.
    events
        What happened to workers, in words.
    state
        Final global state.
    """

    records: tuple[RoundRecord, ...]
    clients: tuple[ClientRecord, ...]
    measured: Ledger
    peak_bytes: dict[str, int]
    faults: tuple[ClientFault, ...]
    events: tuple[str, ...]
    state: State


def assignments_of(plan: Plan, scenario: Scenario) -> tuple[Assignment, ...]:
    """Return what the plan says each client is to do.

    Parameters
    ----------
    plan
        The plan.
    scenario
        Its scenario, in which clients may be bound to real devices.
    """
    resources = {client.id: client.ray_resource for client in scenario.expanded_clients()}
    return tuple(
        Assignment(
            client.id,
            client.cut,
            client.mode,
            client.data_weight,
            client.memory_budget_bytes,
            client.recompute,
            client.batch_size,
            resources[client.id],
        )
        for client in plan.clients
    )


def groups_by(schedule: Schedule, assignments: Sequence[Assignment], training: Training) -> tuple[Group, ...]:
    """Return the groups of a round under a schedule.

    A chain of clients with server copies of their own is sequential split learning: each starts from the weights that
    the one before it ended with. A shared server model serves the clients in the order of the schedule; their own
    parts are averaged as always.

    Parameters
    ----------
    schedule
        The plan's.
    assignments
        Those who take part, in the order of the scenario.
    training
        Names the server model.
    """
    order = () if isinstance(schedule, Simultaneous) else schedule.order
    if training.server_model == "per-client":
        return groups_of(assignments, order if isinstance(schedule, Chain) else ())
    rank = {client: position for position, client in enumerate(order)}
    return groups_of(sorted(assignments, key=lambda a: rank.get(a.client, len(rank))))


def plan_fingerprint(scenario: Scenario, assignments: Sequence[Assignment], schedule: Schedule = Simultaneous()) -> str:
    """Identify scenario, options and order: what decides the trained bits."""
    text = "\n".join(
        [
            scenario.content_hash(),
            *(f"{a.client} {a.cut} {a.mode} {a.recompute!r} {a.batch_size} {a.data_weight!r}" for a in assignments),
            schedule.model_dump_json(),
        ]
    )
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass
class _Progress:
    """What the loop has gathered so far."""

    records: list[RoundRecord] = field(default_factory=list)
    clients: list[ClientRecord] = field(default_factory=list)
    measured: Ledger = field(default_factory=lambda: Ledger.from_entries([]))
    peak_bytes: dict[str, int] = field(default_factory=dict)
    faults: list[ClientFault] = field(default_factory=list)
    left: set[str] = field(default_factory=set)
    log: ScalarLog = field(default_factory=lambda: ScalarLog(()))
    events: list[str] = field(default_factory=list)

    @classmethod
    def after(cls, checkpoint: Checkpoint, assignments: Sequence[Assignment]) -> _Progress:
        """Go on from a checkpoint."""
        expected = {a.client for a in assignments} - set(checkpoint.left)
        if set(checkpoint.last_round) != expected:
            raise ContractError(
                f"the checkpoint is damaged: last_round names {len(checkpoint.last_round)} clients, needs the "
                f"{len(expected)} of the plan that have not left; remove the folder of checkpoints to start again"
            )
        return cls(
            list(checkpoint.records),
            list(checkpoint.clients),
            checkpoint.measured,
            dict(checkpoint.peak_bytes),
            list(checkpoint.faults),
            set(checkpoint.left),
            ScalarLog((), checkpoint.averaged, checkpoint.last_round),
        )

    def checkpoint(self, fingerprint: str) -> Checkpoint:
        """Return what is to be kept of it."""
        return Checkpoint(
            fingerprint,
            tuple(self.records),
            tuple(self.clients),
            self.measured,
            self.peak_bytes,
            tuple(self.faults),
            tuple(sorted(self.left)),
            self.log.rounds,
            self.log.last_round,
        )

    def task(self, scenario: Scenario, assignments: Sequence[Assignment], schedule: Schedule) -> RoundTask:
        """Return what is to be done in the next round.

        A client's peak is measured in the first round it takes part in, since its option does not change within a run,
        and again where it was over its budget.
        """
        round_index = len(self.records)
        present = [a for a in assignments if a.client not in self.left]
        fraction = scenario.training.participation
        chosen = set(participants([a.client for a in present], fraction, scenario.seed, round_index))
        taking_part = [a for a in present if a.client in chosen]
        over = {fault.client for fault in self.faults if fault.peak_bytes is not None}
        measure = frozenset(a.client for a in taking_part if a.client not in self.peak_bytes or a.client in over)
        return RoundTask(round_index, groups_by(schedule, taking_part, scenario.training), measure)

    def add(self, outcome: RoundOutcome[Any], scenario: Scenario, end_s: float, accuracy: float) -> RoundRecord:
        """Take in a round.

        Raises
        ------
        RunError
            If nobody's training counts.
        """
        reports, round_index = outcome.reports, len(self.records)
        weight = math.fsum(report.assignment.data_weight for report in reports)
        loss = math.fsum(r.assignment.data_weight * r.train_loss for r in reports) / weight
        self.peak_bytes |= {r.assignment.client: r.peak_bytes for r in reports if r.peak_bytes is not None}
        self.peak_bytes |= {f.client: f.peak_bytes for f in outcome.faults if f.peak_bytes is not None}
        caught_up = {
            r.assignment.client: sum(m.num_bytes for m in self.log.missed(r.assignment.client)) for r in reports
        }
        self.measured = Ledger.concat([self.measured, _measured(reports, round_index, caught_up)])
        self.log.add(outcome.averaged, round_index, caught_up)
        self.clients += [ClientRecord(round_index, r.assignment.client, r.train_loss) for r in reports]
        self.clients += [ClientRecord(round_index, f.client, None, str(f.kind)) for f in outcome.faults]
        self.faults += outcome.faults
        self.events += outcome.events
        if scenario.faults.policy == "drop-client":
            gone = {fault.client for fault in outcome.faults}
            self.left |= gone
            self.log.forget(gone)
        record = RoundRecord(round_index, end_s, loss, accuracy)
        self.records.append(record)
        return record


def train(
    scenario: Scenario,
    assignments: Sequence[Assignment],
    executor: Executor[Any],
    round_ends_s: Sequence[float],
    *,
    schedule: Schedule = Simultaneous(),
    checkpoint_folder: Path | None = None,
    resume: bool = False,
    options: OptionTable | None = None,
    on_round: Callable[[RoundRecord], None] = lambda record: None,
) -> TrainingResult:
    """Train for ``len(round_ends_s)`` rounds.

    Parameters
    ----------
    scenario, assignments
        What to train, and who does what.
    executor
        An entered executor.
    round_ends_s
        The replay's clock at the end of every round: training time is simulated time.
    schedule
        Who trains before whom, see :func:`groups_by`.
    checkpoint_folder
        Where to write a checkpoint after every round; none when None.
    resume
        Continue from the newest checkpoint, if there is one.
    options
        Option table, to name an option that would fit when a budget is exceeded.
    on_round
        Called after every round, for progress.

    Raises
    ------
    BudgetExceededError
        If a client's measured peak exceeds its budget, and the scenario's fault policy is to fail.
    RunError
        If training diverges or a client hangs under the same policy, if all clients have failed, or if workers cannot
        be kept alive.
    """
    fingerprint = plan_fingerprint(scenario, assignments, schedule)
    found = load_checkpoint(checkpoint_folder, fingerprint, executor.load) if resume and checkpoint_folder else None
    progress = (
        _Progress.after(found[0], assignments)
        if found is not None
        else _Progress(log=ScalarLog(a.client for a in assignments))
    )
    handle = found[1] if found is not None else executor.initial_state()
    if len(progress.records) > len(round_ends_s):
        raise UsageError(
            f"{checkpoint_folder}: {len(progress.records)} rounds are done already, more than the "
            f"{len(round_ends_s)} asked for; "
            "raise --rounds, or start another run"
        )
    for record in progress.records:
        on_round(record)
    for end_s in round_ends_s[len(progress.records) :]:
        outcome = executor.train_round(handle, progress.task(scenario, assignments, schedule))
        _apply_policy(outcome, assignments, scenario, options)
        handle = outcome.handle
        on_round(progress.add(outcome, scenario, end_s, executor.evaluate(handle)))
        if checkpoint_folder is not None:
            save_checkpoint(checkpoint_folder, progress.checkpoint(fingerprint), partial(executor.save, handle))
    return TrainingResult(
        tuple(progress.records),
        tuple(progress.clients),
        progress.measured,
        progress.peak_bytes,
        tuple(progress.faults),
        tuple(progress.events),
        executor.fetch(handle),
    )


def _apply_policy(
    outcome: RoundOutcome[Any], assignments: Sequence[Assignment], scenario: Scenario, options: OptionTable | None
) -> None:
    """Stop the run where the scenario says so, or where nobody is left."""
    if outcome.faults and scenario.faults.policy == "fail":
        fault = outcome.faults[0]
        who = next(a for a in assignments if a.client == fault.client)
        min_cut = next(c.min_cut for c in scenario.expanded_clients() if c.id == fault.client)
        raise error_of(fault, who, scenario, options, min_cut)
    if not outcome.reports:
        named = ", ".join(f"{fault.client} ({fault.kind}: {fault.found})" for fault in outcome.faults[:5])
        raise RunError(f"round {outcome.faults[0].round + 1}: no client is left to train with: {named}")


def _measured(reports: Sequence[ClientReport], round_index: int, caught_up_bytes: Mapping[str, int]) -> Ledger:
    """Return the ledger of a round; what a client caught up with came down before its round began."""
    entries = [
        LedgerEntry(
            Source.MEASURED,
            report.assignment.client,
            round_index,
            phase,
            # The air is replayed, not emulated: its seconds are not measured, which is not zero.
            report.seconds_by_phase.get(phase, float("nan")),
            0.0,
            report.bytes_by_phase.get(phase, 0)
            + (caught_up_bytes[report.assignment.client] if phase is Phase.MODEL_DOWNLOAD else 0),
            # On a real device the seconds are the device's.
            emulated=report.assignment.resource is None,
        )
        for report in reports
        for phase in Phase
        if phase is not Phase.BARRIER
    ]
    return Ledger.from_entries(entries)


__all__ = ["TrainingResult", "assignments_of", "groups_by", "plan_fingerprint", "train"]
