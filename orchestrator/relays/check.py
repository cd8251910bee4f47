"""Whether the files of a folder over relays tell one story: what follows from plan and ledger is derived again."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hybridsplit.orchestrator.ledger_sums import LedgerSums
from hybridsplit.orchestrator.summary import bytes_by_source
from hybridsplit.runtime.replay_relays import PlayedRelays, play_relays
from hybridsplit.scenarios.contracts.ledger import LedgerEntry, Source
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.relay_plan import RelayPlan
from hybridsplit.scenarios.errors import ContractError
from hybridsplit.scenarios.scores import score_in

if TYPE_CHECKING:
    import pandas as pd

    from hybridsplit.orchestrator.relays.replaying import RelaySummary
    from hybridsplit.scenarios.contracts.ledger import Ledger

_TOLERANCE = 1e-9


def joined(rounds: Sequence[PlayedRelays]) -> PlayedRelays:
    """Return the replay of rounds one after another.

    Parameters
    ----------
    rounds
        Replays of one round each; at least one.
    """
    busy_s: dict[str, float] = {}
    for played in rounds:
        for resource, seconds in played.busy_s.items():
            busy_s[resource] = busy_s.get(resource, 0.0) + seconds
    mean_s = math.fsum(played.value_s for played in rounds) / len(rounds)
    return PlayedRelays(len(rounds), mean_s, rounds[-1].ends_s, busy_s, rounds[0].intervals, rounds[0].spent)


def check_relay_folder(
    folder: Path, plan: RelayPlan, summary: RelaySummary, ledger: Ledger | None, rounds: pd.DataFrame | None
) -> None:
    """Derive again what follows from other files.

    Parameters
    ----------
    folder
        For messages.
    plan, summary, ledger, rounds
        What its files hold; None where there is no such file.

    Raises
    ------
    ContractError
        If files contradict each other; the message names file and figure.
    """
    try:
        wrong = list(_contradictions(plan, summary, ledger, rounds))
    except (KeyError, ValueError, TypeError, IndexError, OverflowError) as error:
        raise ContractError(f"{folder}: its tables are not those of a run over relays ({error}); run again") from error
    if wrong:
        raise ContractError(
            f"{folder}: its files contradict each other: {'; '.join(wrong[:3])}; at least one was changed after it was "
            "written: make the folder again (--out)"
        )


def _contradictions(
    plan: RelayPlan, summary: RelaySummary, ledger: Ledger | None, rounds: pd.DataFrame | None
) -> Iterator[str]:
    trained = summary.training
    if (trained is None) != (ledger is None) or (trained is None) != (rounds is None):
        yield "summary.json: training is not that of the tables beside it"
        return
    if ledger is None or rounds is None or trained is None:
        yield from _of_replay(plan, summary, play_relays(plan, summary.rounds))
        return
    entries = list(ledger.entries())
    played = [play_relays(plan, 1, clients) for clients in _present(entries)]
    yield from _of_replay(plan, summary, joined(played))
    sums = LedgerSums.of_entries(entries)
    if bytes_by_source(sums) != trained.bytes:
        yield "summary.json: training.bytes is not that of ledger.parquet"
    if rounds["round"].tolist() != list(range(len(played))):
        yield "rounds.parquet: its rounds are not those of ledger.parquet"
        return
    clock_s = 0.0
    for index, one in enumerate(played):
        clock_s += one.value_s
        if not _close(float(rounds["simulated_s"].iloc[index]), clock_s):
            yield f"rounds.parquet: round {index} ends at another time than in the replay of the plan"
    last = rounds.iloc[-1]
    for name in ("simulated_s", "train_loss", score_in(plan.scenario).column):
        stated = getattr(trained, name)
        if not _close(math.nan if stated is None else stated, float(last[name])):
            yield f"summary.json: training.{name} is not that of rounds.parquet"


def _present(entries: Sequence[LedgerEntry]) -> list[set[str]]:
    """Return who took part in each round, as the replay entered it."""
    found: dict[int, set[str]] = {}
    for entry in entries:
        if entry.source is Source.REPLAYED and entry.phase is Phase.BARRIER:
            found.setdefault(entry.round, set()).add(entry.client)
    return [found[index] for index in range(len(found))]


def _of_replay(plan: RelayPlan, summary: RelaySummary, played: PlayedRelays) -> Iterator[str]:
    if summary.rounds != played.rounds:
        yield f"summary.json: rounds is {summary.rounds}, and {played.rounds} were replayed"
    for name, stated, expected in (
        ("value_s", summary.value_s, played.value_s),
        ("planned_s", summary.planned_s, plan.value_s),
        ("lower_bound_s", summary.lower_bound_s, plan.lower_bound_s),
    ):
        if not _close(stated, expected):
            yield f"summary.json: {name} is {stated:.9g}, the plan's replay gives {expected:.9g}"
    for name, figures, wanted in (("ends_s", summary.ends_s, played.ends_s), ("busy_s", summary.busy_s, played.busy_s)):
        if not _same(figures, wanted):
            yield f"summary.json: {name} is not that of the plan's replay"
    if [tuple(one) for one in summary.intervals] != [tuple(one) for one in played.intervals]:
        yield "summary.json: intervals are not those of the plan's replay"


def _same(stated: Mapping[str, float], expected: Mapping[str, float]) -> bool:
    return stated.keys() == expected.keys() and all(_close(stated[name], expected[name]) for name in expected)


def _close(one: float, other: float) -> bool:
    return (math.isnan(one) and math.isnan(other)) or math.isclose(one, other, rel_tol=_TOLERANCE, abs_tol=1e-12)
