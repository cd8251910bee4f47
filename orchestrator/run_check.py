"""Whether the files of a run folder tell one story: what follows from other files is derived from them again.

Digests tell that a file is not as it was written, as long as nobody takes them again; figures that contradict each
other show even then.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hybridsplit.orchestrator.ledger_sums import LedgerSums
from hybridsplit.orchestrator.summary import summarise
from hybridsplit.orchestrator.timeline.rounds import replayed_rounds
from hybridsplit.runtime.replay.disciplined import plan_under
from hybridsplit.scenarios.contracts.ledger import Ledger, LedgerEntry, Source
from hybridsplit.scenarios.contracts.phases import elapsed_s
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.contracts.summary import Summary
from hybridsplit.scenarios.errors import ContractError
from hybridsplit.scenarios.scores import Score, score_in
from hybridsplit.solver.verify.plan import shortened

if TYPE_CHECKING:
    import pandas as pd

    from hybridsplit.runtime.replay.changing import PlanSequence

_STATED = {"peak_bytes", "notes", "disciplines", "executor", "events", "schema_version"}
"""Figures and words of a summary that no other file holds."""
_TOLERANCE = 1e-9


def check_run(
    folder: Path,
    plan: Plan,
    summary: Summary,
    ledger: Ledger,
    rounds: pd.DataFrame | None,
    control: pd.DataFrame | None,
    clients: pd.DataFrame | None,
    replayed: pd.DataFrame | None = None,
    followed: PlanSequence | None = None,
) -> None:
    """Derive again what follows from other files of a run.

    Parameters
    ----------
    folder
        For messages.
    plan, summary, ledger, rounds, control, clients, replayed, followed
        What its files hold; None where there is no such file.

    Raises
    ------
    ContractError
        If files contradict each other; the message names file and figure.
    """
    try:
        entries, score = list(ledger.entries()), score_in(plan.scenario)
        wrong = [
            *_of_planned(plan, entries, followed),
            *_of_rounds(entries, rounds, "rounds.parquet", score),
            *_of_rounds(entries, control, "control.parquet", score),
            *_of_replay(plan_under(plan, summary.disciplines), ledger, replayed, followed),
            *_of_summary(plan, summary, entries, rounds, control, clients),
        ]
    except (KeyError, ValueError, TypeError, IndexError, OverflowError) as error:
        raise ContractError(f"{folder}: its tables are not those of a run ({error}); run again") from error
    if wrong:
        raise ContractError(
            f"{folder}: its files contradict each other: {shortened(wrong)}; at least one was changed after the run "
            "wrote it: run again into another folder (--out)"
        )


def _of_planned(plan: Plan, entries: list[LedgerEntry], followed: PlanSequence | None) -> Iterator[str]:
    """Compare the planned entries with the plan: seconds of every client and phase, and whose they are."""
    plans = (plan,) if followed is None else followed.plans
    planned = [
        {(client.id, phase): seconds for client in one.clients for phase, seconds in client.phases_s.items()}
        for one in plans
    ]
    ids = {client.id for client in plan.clients}
    for entry in entries:
        where = f"ledger.parquet: {entry.source}, {entry.client}, round {entry.round}, {entry.phase}"
        if entry.client not in ids:
            yield f"{where}: the plan has no such client"
        elif entry.bytes < 0 or entry.waiting_s < 0 or entry.round < 0 or entry.seconds < 0:
            yield f"{where}: a figure is negative"
        elif entry.source is Source.PLANNED:
            number = 0 if followed is None else followed.of_round[entry.round]
            expected_s = planned[number].get((entry.client, entry.phase), 0.0)
            if not _close(entry.seconds, expected_s):
                yield f"{where}: {entry.seconds:.9g} s, plan.json has {expected_s:.9g} s"


def _of_rounds(entries: list[LedgerEntry], rounds: pd.DataFrame | None, name: str, score: Score) -> Iterator[str]:
    """Compare the clock of training with the replay's."""
    if rounds is None:
        return
    spent_s: dict[int, dict[str, float]] = {}
    for entry in entries:
        if entry.source is Source.REPLAYED:
            of_round = spent_s.setdefault(entry.round, {})
            took_s = elapsed_s(entry.phase, entry.seconds, entry.waiting_s)
            of_round[entry.client] = of_round.get(entry.client, 0.0) + took_s
    if rounds["round"].tolist() != sorted(spent_s):
        yield f"{name}: its rounds are not those of ledger.parquet"
        return
    clock_s = 0.0
    for number, found_s, value in zip(
        rounds["round"].tolist(), rounds["simulated_s"].tolist(), rounds[score.column].tolist(), strict=True
    ):
        clock_s += max(spent_s[number].values())
        if not abs(found_s - clock_s) <= 1e-6 * clock_s:
            yield f"{name}: round {number}: simulated_s is {found_s:.9g}, ledger.parquet gives {clock_s:.9g}"
        if not (0 if score.is_fraction else -math.inf) <= value <= 1:
            what = "no fraction" if score.is_fraction else "above 1"
            yield f"{name}: round {number}: {score.column} is {value:.9g}, which is {what}"


def _of_replay(
    plan: Plan, ledger: Ledger, replayed: pd.DataFrame | None, followed: PlanSequence | None
) -> Iterator[str]:
    """Compare the rounds of the replay with what the ledger gives."""
    if replayed is None:
        return
    wanted = replayed_rounds(plan, ledger, followed)
    if list(replayed.columns) != list(wanted.columns) or len(replayed) != len(wanted):
        yield "replay.parquet: its rounds or columns are not those that ledger.parquet gives"
        return
    for name in wanted.columns:
        for number, (found, right) in enumerate(zip(replayed[name].tolist(), wanted[name].tolist(), strict=True)):
            if not _close(found, right):
                yield f"replay.parquet: round {number}: {name} is {found}, ledger.parquet gives {right}"


def _of_summary(
    plan: Plan,
    summary: Summary,
    entries: list[LedgerEntry],
    rounds: pd.DataFrame | None,
    control: pd.DataFrame | None,
    clients: pd.DataFrame | None,
) -> Iterator[str]:
    left_out: set[tuple[str, int]] = set()
    if clients is not None:
        failed = clients[clients["fault"] != ""]
        left_out = set(zip(failed["client"].tolist(), failed["round"].tolist(), strict=True))
    if strangers := set(summary.peak_bytes) - {client.id for client in plan.clients}:
        yield f"summary.json: peak_bytes.{min(strangers)}: the plan has no such client"
    spread = summary.round_latencies
    distinct_windows = None if spread is None else spread.distinct_windows
    again = summarise(
        plan, LedgerSums.of_entries(entries, left_out), rounds, control, summary.peak_bytes, distinct_windows
    )
    for name in Summary.model_fields:
        found, wanted = getattr(summary, name), getattr(again, name)
        if name not in _STATED and not _close(found, wanted):
            yield f"summary.json: {name} is {found}, the other files give {wanted}"


def _close(found: object, wanted: object) -> bool:
    if isinstance(found, float) and isinstance(wanted, float):
        return abs(found - wanted) <= _TOLERANCE * max(abs(found), abs(wanted))
    return found == wanted
