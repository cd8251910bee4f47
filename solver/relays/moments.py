"""Moments between which a solution asks more of a resource than there is time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hybridsplit.scenarios.contracts.relay_costs import FloatArray
from hybridsplit.solver.relays.windows import Windows, least_within_s

_TRIED = 40
_FOUND = 8
_SHORTEST = 2e-3
_TOO_MUCH = 1e-4


def crowded_moments(
    shares: Sequence[tuple[Windows, FloatArray]], round_s: float, limit: float
) -> list[tuple[float, float]]:
    """Return pairs of moments between which more must be done than there is, the most crowded ones.

    Parameters
    ----------
    shares
        Windows of placements at the resource, and [N] how many clients take each.
    round_s
        Seconds of a round.
    limit
        Share of the time that may be asked for.
    """
    pieces = [_pieces(window, number, round_s) for window, number in shares if (number > 0).any()]
    if not pieces:
        return []
    head, seconds, latest, number = (np.concatenate([part[i] for part in pieces]) for i in range(4))
    whole = np.concatenate([np.full(len(part[0]), part[4]) for part in pieces])
    starts = _some(np.concatenate([[0.0], head, latest - seconds]), round_s)
    ends = _some(np.concatenate([[round_s], latest, head + seconds]), round_s)
    start, end = (grid.ravel() for grid in np.meshgrid(starts, ends, indexing="ij"))
    long = end - start > _SHORTEST * round_s
    start, end = start[long], end[long]
    asked = np.zeros(len(start))
    for is_whole in (True, False):
        of = whole == is_whole
        for begin in range(0, int(of.sum()), 256):
            at = np.flatnonzero(of)[begin : begin + 256]
            least = least_within_s(head[at, None], seconds[at, None], latest[at, None], start, end, is_whole=is_whole)
            asked += number[at] @ least
    share = asked / ((end - start) * limit)
    order = np.argsort(-share, kind="stable")[:_FOUND]
    return [(float(start[j]), float(end[j])) for j in order if share[j] > 1 + _TOO_MUCH]


def _pieces(window: Windows, number: FloatArray, round_s: float) -> tuple[FloatArray, ...]:
    taken = np.flatnonzero(number > 0)
    seconds = window.seconds[taken]
    some = seconds > 0
    times = np.broadcast_to(number[taken, None], seconds.shape)
    return (
        window.head_s[taken][some], seconds[some], (round_s - window.tail_s[taken])[some], times[some],
        np.asarray(window.is_whole),
    )  # fmt: skip


def _some(moments: FloatArray, round_s: float) -> FloatArray:
    """A number of the moments, spread over all."""
    found = np.unique(np.clip(np.round(moments, 12), 0.0, round_s))
    return found if len(found) <= _TRIED else np.quantile(found, np.linspace(0, 1, _TRIED))
