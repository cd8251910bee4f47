"""The training loop: rounds of clients, aggregation, evaluation and a checkpoint each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.aggregate import aggregate
from runtime.checkpoint import Checkpoint, RoundRecord, load_checkpoint, save_checkpoint
from runtime.client import Assignment, ClientRound
from runtime.data import head_size
from runtime.executors.base import Executor
from runtime.models.build import build_blocks
from runtime.split import SplitModel, State
from scenarios.contracts.ledger import Ledger, LedgerEntry, Source
from scenarios.contracts.options import OptionTable
from scenarios.contracts.phases import Phase
from scenarios.contracts.plan import Plan
from scenarios.errors import BudgetExceededError, RunError, UsageError
from scenarios.schema import Scenario
from scenarios.units import format_bytes


@dataclass(frozen=True)
class TrainingResult:
    """Outcome of a run.

    Parameters
    ----------
    records
        Metrics by round.
    measured
        Measured ledger: bytes of every client and phase; seconds of the emulating machine, marked so.
    peak_bytes
        Measured peak of live tensor bytes of every client part.
    state
        Final global state.
    """

    records: tuple[RoundRecord, ...]
    measured: Ledger
    peak_bytes: dict[str, int]
    state: State


def assignments_of(plan: Plan) -> tuple[Assignment, ...]:
    """Return what the plan says each client is to do."""
    return tuple(
        Assignment(client.id, client.cut, client.mode, client.data_weight, client.memory_budget_bytes, client.recompute)
        for client in plan.clients
    )


def plan_fingerprint(scenario: Scenario, assignments: Sequence[Assignment]) -> str:
    """Identify scenario and options: what decides the trained bits."""
    text = "\n".join(
        [
            scenario.content_hash(),
            *(f"{a.client} {a.cut} {a.mode} {a.recompute!r} {a.data_weight!r}" for a in assignments),
        ]
    )
    return hashlib.sha256(text.encode()).hexdigest()


def train(
    scenario: Scenario,
    assignments: Sequence[Assignment],
    executor: Executor,
    round_ends_s: Sequence[float],
    *,
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
        If a client's measured peak exceeds its budget.
    RunError
        If training diverges or a worker fails.
    """
    fingerprint = plan_fingerprint(scenario, assignments)
    start = load_checkpoint(checkpoint_folder, fingerprint) if resume and checkpoint_folder is not None else None
    state = start.state if start is not None else executor.initial_state()
    records = list(start.records) if start is not None else []
    ledgers = [start.measured] if start is not None else []
    peak_bytes = dict(start.peak_bytes) if start is not None else {}
    if len(records) > len(round_ends_s):
        raise UsageError(
            f"{checkpoint_folder}: {len(records)} rounds are done already, more than the "
            f"{len(round_ends_s)} asked for; "
            "raise --rounds, or start another run"
        )
    below, statistics = _shape_facts(scenario, assignments, state)
    min_cuts = {client.id: client.min_cut for client in scenario.expanded_clients()}
    for record in records:
        on_round(record)
    for round_index in range(len(records), len(round_ends_s)):
        # Options do not change within a run, so the first round of a session shows every client's peak.
        measure = round_index == (len(start.records) if start is not None else 0)
        outcomes = executor.train_round(state, assignments, round_index, measure_memory=measure)
        if measure:
            for outcome in outcomes:
                assert outcome.peak_bytes is not None
                peak_bytes[outcome.assignment.client] = outcome.peak_bytes
                _enforce_budget(outcome, options, min_cuts[outcome.assignment.client])
        state = aggregate(state, outcomes, scenario.training.zeroth_order, below, statistics)
        ledgers.append(_measured(outcomes, round_index))
        loss = sum(o.assignment.data_weight * o.train_loss for o in outcomes)
        record = RoundRecord(round_index, round_ends_s[round_index], loss, executor.evaluate(state))
        records.append(record)
        on_round(record)
        if checkpoint_folder is not None:
            ledgers = [Ledger.concat(ledgers)]
            save_checkpoint(checkpoint_folder, Checkpoint(fingerprint, state, tuple(records), ledgers[0], peak_bytes))
    return TrainingResult(tuple(records), Ledger.concat(ledgers), peak_bytes, state)


def _shape_facts(
    scenario: Scenario, assignments: Sequence[Assignment], state: State
) -> tuple[dict[int, int], frozenset[str]]:
    """Trainable parameters below each cut in use, and the names of BatchNorm statistics, from shapes alone."""
    model = SplitModel(build_blocks(scenario, num_labels=head_size(scenario), meta=True))
    below = {a.cut: model.client_part(a.cut).num_trainable for a in assignments}
    trainable = {name for name, _ in model.whole.trainable()}
    return below, frozenset(set(state) - trainable)


def _enforce_budget(outcome: ClientRound, options: OptionTable | None, min_cut: int) -> None:
    who = outcome.assignment
    if outcome.peak_bytes is None or outcome.peak_bytes <= who.memory_budget_bytes:
        return
    fix = "raise its memory_budget_bytes"
    if options is not None:
        table = options.fitting()
        allowed = (table["client"] == who.client) & (table["cut"] >= min_cut)
        rows = table[allowed & (table["client_peak_bytes"] < outcome.peak_bytes)]
        if len(rows):
            row = rows.sort_values("client_peak_bytes").iloc[0]
            fix += f", or choose {row['mode']} at cut {row['cut']} ({format_bytes(row['client_peak_bytes'])})"
    raise BudgetExceededError(
        f"client {who.client}: {who.mode} at cut {who.cut} used {format_bytes(outcome.peak_bytes)} of its budget of "
        f"{format_bytes(who.memory_budget_bytes)}; the run stops, since a real device would have died here: {fix}"
    )


def _measured(outcomes: Sequence[ClientRound], round_index: int) -> Ledger:
    entries: list[LedgerEntry] = []
    for outcome in outcomes:
        for phase in Phase:
            size = outcome.bytes_by_phase.get(phase, 0)
            # The air is replayed, not emulated: its seconds are not measured, which is not zero.
            seconds = outcome.seconds_by_phase.get(phase, float("nan"))
            if phase is not Phase.BARRIER:
                entries.append(
                    LedgerEntry(
                        Source.MEASURED,
                        outcome.assignment.client,
                        round_index,
                        phase,
                        seconds,
                        0.0,
                        size,
                        emulated=True,
                    )
                )
    return Ledger.from_entries(entries)


__all__ = ["RunError", "TrainingResult", "assignments_of", "plan_fingerprint", "train"]
