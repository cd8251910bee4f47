"""A round of a replay in the terminal: a line of letters a client, and what decides how long rounds take."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from hybridsplit.orchestrator.timeline.intervals import Interval
from hybridsplit.scenarios.contracts.phases import HEAD_PHASES, Phase
from hybridsplit.scenarios.units import format_seconds

if TYPE_CHECKING:
    import pandas as pd

_WIDTH = 72
_MOST_ROWS = 24
_LETTERS = MappingProxyType(
    {
        Phase.MODEL_DOWNLOAD: "m",
        Phase.CLIENT_COMPUTE: "c",
        Phase.UPLINK: "u",
        Phase.SERVER_COMPUTE: "s",
        Phase.HEAD_DOWNLINK: "f",
        Phase.HEAD_COMPUTE: "h",
        Phase.HEAD_UPLINK: "g",
        Phase.SERVER_BACKWARD: "b",
        Phase.DOWNLINK: "d",
        Phase.MODEL_UPLOAD: "w",
    }
)
_WAITING, _OTHER, _NOTHING = ".", "o", " "


def gantt_lines(intervals: Sequence[Interval], latency_s: float) -> list[str]:
    """Return a line a client, those that the others wait for first, and a legend.

    Parameters
    ----------
    intervals
        Of the round.
    latency_s
        Its latency.
    """
    own: dict[str, list[Interval]] = {}
    for one in intervals:
        own.setdefault(one.client, []).append(one)
    waits_s = {name: sum(one.seconds for one in parts if one.phase is Phase.BARRIER) for name, parts in own.items()}
    order = sorted(own, key=lambda name: waits_s[name])
    width = max((len(name) for name in order[:_MOST_ROWS]), default=0)
    lines = [f"{name:<{width}} |{_bar(own[name], latency_s)}|" for name in order[:_MOST_ROWS]]
    if len(order) > _MOST_ROWS:
        lines.append(f"and {len(order) - _MOST_ROWS:,} clients more, who wait longer for the last one")
    met = {one.phase for one in intervals}
    named = {phase: letter for phase, letter in _LETTERS.items() if phase not in HEAD_PHASES or phase in met}
    words = [f"{letter} {str(phase).replace('_', ' ')}" for phase, letter in named.items()]
    lines.append(f"0 to {format_seconds(latency_s)}: {', '.join(words)}, {_WAITING} waiting")
    return lines


def _bar(parts: Sequence[Interval], latency_s: float) -> str:
    """Return one letter for each part of the round: what the client does for most of it."""
    seconds = [dict[str, float]() for _ in range(_WIDTH)]
    each_s = latency_s / _WIDTH if latency_s > 0 else 1.0
    for one in parts:
        letter = _WAITING if one.is_waiting else _LETTERS.get(one.phase, _OTHER)
        first, last = int(one.start_s / each_s), min(int(one.end_s / each_s), _WIDTH - 1)
        for cell in range(min(first, _WIDTH - 1), last + 1):
            overlap_s = min(one.end_s, (cell + 1) * each_s) - max(one.start_s, cell * each_s)
            seconds[cell][letter] = seconds[cell].get(letter, 0.0) + max(0.0, overlap_s)
    return "".join(max(found, key=lambda letter: found[letter], default=_NOTHING) for found in seconds)


def critical_line(rounds: pd.DataFrame, number: int) -> str:
    """Return in words what decides how long a round takes.

    Parameters
    ----------
    rounds
        As :func:`~hybridsplit.orchestrator.timeline.rounds.replayed_rounds` gives them.
    number
        The round, from 0.
    """
    row = {name: rounds.loc[rounds["round"] == number, name].iloc[0] for name in rounds.columns}
    phase = str(row["critical_phase"]).replace("_", " ")
    what = f"waiting for {phase}" if row["critical_is_waiting"] else phase
    use = ", ".join(f"{name} {row[f'{name}_utilisation']:.0%}" for name in ("uplink", "downlink", "server"))
    latency, longest, waited = (
        format_seconds(float(row[name])) for name in ("latency_s", "critical_phase_s", "critical_waiting_s")
    )
    return (
        f"round {number} takes {latency} and waits for {row['critical_client']}, whose longest part is {what} "
        f"({longest}; it waits {waited} in all before its end); used on average: {use}"
    )
