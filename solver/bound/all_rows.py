"""The dual over all rows, in pieces that stay in the processor's cache.

With ten thousand clients of a hundred options, an evaluation touches a million rows; the minimisation itself needs only
the few rows a client that can win. This module passes over all rows: it finds the rows that can win, and gives
bounds that hold whatever was left out before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from hybridsplit.scenarios.streams import stream_seed
from hybridsplit.solver.bound.dual import DualPoint, capacity_value
from hybridsplit.solver.problem.arrays import BoolArray, FloatArray, IntArray
from hybridsplit.solver.problem.costs import SharingRule, StaticShares, Work
from hybridsplit.solver.problem.kinds import ClientKinds
from hybridsplit.solver.problem.links import FixedUplink

_CHUNK_ROWS = 16_384
_TANGENT_ROOM = 4.0
"""A row's tangent is taken at the middle of an interval if its slack there is this many half-widths; otherwise at the
upper end, where its cost is least curved."""
_TINY = 1e-300


@dataclass(frozen=True)
class _Piece:
    """Consecutive kinds: their rows, and where each begins within the piece."""

    rows: slice
    kinds: slice
    starts: IntArray


class Scanner:
    """Evaluates the dual of all rows of some kinds under a sharing rule."""

    def __init__(self, kinds: ClientKinds, rule: SharingRule) -> None:
        self.kinds, self.rule = kinds, rule
        self._pieces = list(_pieces(kinds))
        uplink = kinds.work.uplink
        self._roots: tuple[FloatArray, FloatArray, FloatArray] | None = None
        if isinstance(rule, StaticShares) and isinstance(uplink, FixedUplink):
            work = kinds.work
            self._roots = (np.sqrt(uplink.full_share_s), np.sqrt(work.downlink_s), np.sqrt(work.server_s))

    def deficits(self, point: DualPoint, deadline_s: float) -> tuple[float, FloatArray]:
        """Return the dual's value, and how far each row stays below its client's best ([R])."""
        deficit = np.empty(len(self.kinds.rows))
        total = capacity_value(point)
        for piece in self._pieces:
            value, _ = self._values(piece, point, deadline_s)
            top = np.maximum.reduceat(value, piece.starts)
            total += float(self.kinds.count[piece.kinds] @ top)
            sizes = np.diff(np.append(piece.starts, len(value)))
            deficit[piece.rows] = np.repeat(top, sizes) - value
        return total, deficit

    def value(self, point: DualPoint, deadline_s: float) -> float:
        """Return the dual's value; −inf if some client misses the deadline in any case."""
        total = capacity_value(point)
        for piece in self._pieces:
            value, _ = self._values(piece, point, deadline_s)
            total += float(self.kinds.count[piece.kinds] @ np.maximum.reduceat(value, piece.starts))
        return total

    def chord(self, point: DualPoint, low_s: float, high_s: float) -> tuple[float, float]:
        """Return bounds on the dual's value at both ends of an interval of deadlines.

        Every plan whose latency lies in the interval has a gain of at most the line between them. Each row is bounded
        by a
        tangent of its concave value; the largest of tangents is convex, so the line bounds their sum.

        Parameters
        ----------
        point
            Multipliers.
        low_s, high_s
            The interval, seconds.
        """
        middle, worth = 0.5 * (low_s + high_s), capacity_value(point)
        at_low, at_high = worth, worth
        for piece in self._pieces:
            compute_s = self.kinds.work.compute_s[piece.rows]
            floor_s = self.kinds.full_share_s[piece.rows]
            smooth = (floor_s <= middle) & (middle - compute_s >= _TANGENT_ROOM * (high_s - middle))
            touch = np.where(smooth, middle, high_s)
            value, slope = self._values(piece, point, touch)
            count = self.kinds.count[piece.kinds]
            at_low += float(count @ np.maximum.reduceat(value - slope * (touch - low_s), piece.starts))
            at_high += float(count @ np.maximum.reduceat(value + slope * (high_s - touch), piece.starts))
        return at_low, at_high

    def _values(self, piece: _Piece, point: DualPoint, deadline_s: FloatArray | float) -> tuple[FloatArray, FloatArray]:
        """Values of the rows of a piece at a deadline (or one a row), and their derivatives; −inf where too late."""
        rows, kinds = piece.rows, self.kinds
        late = kinds.full_share_s[rows] > deadline_s
        if self._roots is not None:
            scaled = [np.sqrt(price) * root[rows] for price, root in zip(point.prices, self._roots, strict=True)]
            slack = np.where(late, np.inf, deadline_s - kinds.work.compute_s[rows])
            root = (scaled[0] + scaled[1] + scaled[2]) / np.maximum(slack, _TINY)
            slope = root * root
            value = -slope * np.where(late, 0.0, slack)
        else:
            work = kinds.work.take(rows)
            safe = replace(work, compute_s=np.where(late, 0.0, work.compute_s))
            deadline = np.where(late, np.maximum(deadline_s, 2.0 * kinds.full_share_s[rows]), deadline_s)
            priced = self.rule.price(safe, point.prices, deadline)
            value, slope = -priced.value, -priced.slope
        if point.gain_weight:
            value = value + point.gain_weight * kinds.gain[rows]
        for price, load in zip(point.limit_prices, kinds.loads, strict=True):
            if price > 0:
                value = value - price * load[rows]
        return np.where(late, -np.inf, value), np.where(late, 0.0, slope)


def _pieces(kinds: ClientKinds) -> Iterator[_Piece]:
    num, ends = len(kinds.starts), np.append(kinds.starts[1:], len(kinds.rows))
    first = 0
    while first < num:
        last = int(np.searchsorted(ends, kinds.starts[first] + _CHUNK_ROWS, side="right"))
        last = min(num, max(last, first + 1))
        begin = int(kinds.starts[first])
        yield _Piece(slice(begin, int(ends[last - 1])), slice(first, last), kinds.starts[first:last] - begin)
        first = last


def subset(kinds: ClientKinds, keep: BoolArray) -> ClientKinds:
    """Return the kinds with fewer rows ([R] mask, at least one of every kind)."""
    row_kind = kinds.row_kind[keep]
    return replace(
        kinds,
        rows=kinds.rows[keep],
        row_kind=row_kind,
        starts=np.flatnonzero(np.diff(row_kind, prepend=-1)).astype(np.int64),
        work=_take(kinds.work, keep),
        progress=kinds.progress[keep],
        penalty_s=kinds.penalty_s[keep],
        gain=kinds.gain[keep],
        loads=kinds.loads[:, keep],
        full_share_s=kinds.full_share_s[keep],
    )


def sample(kinds: ClientKinds, number: int) -> ClientKinds:
    """Return some kinds drawn at random, each standing for as many more clients: cheap, and no bound on anything."""
    seed = stream_seed(kinds.problem.scenario.seed, "sampled kinds", number)
    drawn = np.sort(np.random.default_rng(seed).choice(len(kinds.count), number, replace=False))
    keep = np.isin(kinds.row_kind, drawn)
    small = subset(kinds, keep)
    weight = kinds.count[drawn] * (kinds.num_clients / float(kinds.count[drawn].sum()))
    members = tuple(kinds.members[c] for c in drawn)
    return replace(
        small,
        count=np.asarray(weight, dtype=float),
        members=members,
        row_kind=np.searchsorted(drawn, small.row_kind),
    )


def _take(work: Work, keep: BoolArray) -> Work:
    return work.take(keep)
