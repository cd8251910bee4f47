"""The training loop: rounds of clients, aggregation, evaluation and a checkpoint each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hybridsplit.runtime.aggregation.scalar_log import ScalarLog
from hybridsplit.runtime.executors.base import Executor, RoundOutcome
from hybridsplit.runtime.run.assignments import groups_by, plan_fingerprint
from hybridsplit.runtime.run.checkpoint import ClientRecord, RoundRecord, load_checkpoint, save_checkpoint
from hybridsplit.runtime.run.history import History
from hybridsplit.runtime.split.parts import State
from hybridsplit.runtime.worker.faults import ClientFault, error_of
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.contracts.ledger import Ledger
from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.contracts.schedule import Schedule, Simultaneous
from hybridsplit.scenarios.errors import RunError, UsageError
from hybridsplit.scenarios.schema import Scenario


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
        Who trains before whom, see :func:`hybridsplit.runtime.run.assignments.groups_by`.
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
    ScenarioError
        If clients of a chain are bound to different devices.
    """
    # Check now that the groups can be formed; drawn participants may not meet until a later round.
    groups_by(schedule, assignments, scenario.training)
    fingerprint = plan_fingerprint(scenario, assignments, schedule)
    found = load_checkpoint(checkpoint_folder, fingerprint, executor.load) if resume and checkpoint_folder else None
    history = (
        History.after(found[0], assignments)
        if found is not None
        else History(log=ScalarLog(a.client for a in assignments))
    )
    handle = found[1] if found is not None else executor.initial_state()
    if len(history.records) > len(round_ends_s):
        raise UsageError(
            f"{checkpoint_folder}: {len(history.records)} rounds are done already, more than the "
            f"{len(round_ends_s)} asked for; raise --rounds, or start another run"
        )
    for record in history.records:
        on_round(record)
    for end_s in round_ends_s[len(history.records) :]:
        outcome = executor.train_round(handle, history.task(scenario, assignments, schedule))
        _apply_policy(outcome, history.present(assignments), scenario, options)
        handle = outcome.handle
        on_round(history.add(outcome, scenario, end_s, executor.evaluate(handle)))
        history.events += executor.take_events()
        if checkpoint_folder is not None:
            save_checkpoint(checkpoint_folder, history.checkpoint(fingerprint), partial(executor.save, handle))
    history.events += executor.take_events()
    if history.records and all(record.train_loss is None for record in history.records):
        raise RunError(f"no client was trained in {len(history.records)} rounds: {_named(history.faults)}")
    return TrainingResult(
        tuple(history.records),
        tuple(history.clients),
        history.measured,
        history.peak_bytes,
        tuple(history.faults),
        tuple(history.events),
        executor.fetch(handle),
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
