"""When work of a placement can be done at the earliest, and what must follow it: arrays over all placements of a route.

A step of m micro-batches passes stations in turn: machines forward, the links between them, and all of these back. With
s the seconds of a station and n // r the micro-batches that its replica has before micro-batch n, whatever the order in
which machines mix directions,

    head of n at a station >= sum of s and delays before + max over stations up to here of (n // r)·s
    tail of n at a station >= sum of s and delays behind + max over stations from here of ((m - 1 - n) // r)·s

since every machine and link has the micro-batches of a direction in ascending order. Steps follow each other, so the
heads of step t grow by t steps alone, and its tails by those behind it. In a round of T seconds a piece of work must
lie within [head, T - tail].
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridsplit.scenarios.contracts.relay_costs import FloatArray, IntArray
from hybridsplit.solver.relays.routes import Route

MOST_PIECES = 64
"""Of one placement at one resource: with more, micro-batches of a step are one piece that may be interrupted."""


@dataclass(frozen=True)
class Windows:
    """Pieces of work at one resource, [N, P] of N placements; pieces of no seconds fill the rows.

    Parameters
    ----------
    head_s, seconds, tail_s
        Earliest start, length, and what follows at least.
    is_after
        [P] whether a piece belongs to the upload that ends a round.
    is_whole
        Whether pieces are served without an interruption.
    """

    head_s: FloatArray
    seconds: FloatArray
    tail_s: FloatArray
    is_after: NDArray[np.bool_]
    is_whole: bool

    def within_s(self, start_s: float, end_s: float, round_s: float) -> FloatArray:
        """Return [N] the least that must be done between two moments of a round.

        Parameters
        ----------
        start_s, end_s, round_s
            The moments, and the seconds of the round.
        """
        least = least_within_s(self.head_s, self.seconds, round_s - self.tail_s, start_s, end_s, is_whole=self.is_whole)
        return np.asarray(least.sum(axis=1))


@dataclass(frozen=True)
class Listed:
    """Placements of a route.

    Parameters
    ----------
    route, cuts
        The route, and [N, K - 1] cuts.
    alone_s
        [N] what a round of one client cannot be below.
    upload_s
        [N] what the upload that ends the round takes of it alone.
    windows
        By shared resource.
    memory_bytes
        [N] by shared node, with the least number of micro-batches in flight.
    """

    route: Route
    cuts: IntArray
    alone_s: FloatArray
    upload_s: FloatArray
    windows: Mapping[str, Windows]
    memory_bytes: Mapping[str, FloatArray]


class _Piece(NamedTuple):
    """Arrays [N] of one piece of work."""

    head_s: FloatArray
    seconds: FloatArray
    tail_s: FloatArray
    is_after: bool


class _Stations(NamedTuple):
    """What a micro-batch passes in a step: [I] names and replicas, [N, I] seconds, and delays behind each."""

    names: list[str]
    replicas: IntArray
    seconds: FloatArray
    delay_s: FloatArray

    @property
    def before_s(self) -> FloatArray:
        """[N, I] what a micro-batch takes before each station."""
        each = self.seconds + self.delay_s
        return np.asarray(np.cumsum(each, axis=1) - each)

    @property
    def behind_s(self) -> FloatArray:
        """[N, I] what it takes behind each."""
        total = (self.seconds + self.delay_s).sum(axis=1, keepdims=True)
        return np.asarray(total - self.before_s - self.seconds)


def least_within_s(
    head_s: FloatArray, seconds: FloatArray, latest_s: FloatArray, start_s: float | FloatArray,
    end_s: float | FloatArray, *, is_whole: bool,
) -> FloatArray:  # fmt: skip
    """Return [N, P] what of each piece must be done between two moments, however it is placed in its window.

    Parameters
    ----------
    head_s, seconds, latest_s
        Earliest start, length and latest end of the pieces.
    start_s, end_s
        The moments.
    is_whole
        Whether pieces are served without an interruption.
    """
    if is_whole:
        early, late = head_s + seconds - start_s, end_s - (latest_s - seconds)
        least = np.minimum(np.minimum(early, late), np.minimum(seconds, np.subtract(end_s, start_s)))
    else:
        least = seconds - np.maximum(start_s - head_s, 0.0) - np.maximum(latest_s - end_s, 0.0)
    return np.asarray(np.maximum(least, 0.0))


def num_placements(route: Route) -> int:
    """Return how many vectors of cuts a route has, possible or not."""
    blocks, nodes = route.chain.num_blocks, route.chain.num_nodes
    return math.comb(blocks + nodes - 1, nodes - 1)


def every_cuts(route: Route) -> IntArray:
    """Return [N, K - 1] all cuts of a route that keep the number of cuts and memory."""
    blocks, nodes = route.chain.num_blocks, route.chain.num_nodes
    every = itertools.combinations_with_replacement(range(blocks + 1), nodes - 1)
    cuts = np.array(list(every), dtype=np.int64).reshape(-1, nodes - 1)
    start, end = _spans(cuts, blocks)
    fits = np.isfinite(route.chain.node_s[np.arange(nodes), start, end]).all(axis=1)
    return np.asarray(cuts[fits & ((start < end).sum(axis=1) <= route.chain.most_parts)])


def listed_placements(route: Route, cuts: IntArray) -> Listed:
    """Return placements with the windows of their work.

    Parameters
    ----------
    route, cuts
        The route, and [N, K - 1] cuts that are possible.
    """
    start, end = _spans(cuts, route.chain.num_blocks)
    nodes, runs = np.arange(route.chain.num_nodes), start < end
    update = (route.update_s + route.reduce_s)[nodes, start, end]
    both = np.where(runs, route.chain.node_s[nodes, start, end], 0.0)
    forward = np.where(runs, np.minimum(route.forward_s[nodes, start, end], both), 0.0)
    stations = _stations(route, cuts, forward, both - forward)
    # A machine begins after the way up to it, and what it does last has the way down before it.
    share = np.array([-(-route.micro_batches // count) for count in route.replicas])
    way_up = stations.before_s[:, 2 * nodes]
    way_down = stations.behind_s[:, len(stations.names) - 1 - 2 * nodes]
    worked = way_up + share * both
    others = (route.micro_batches - 1) // stations.replicas * stations.seconds
    pipeline = (stations.seconds + stations.delay_s).sum(axis=1) + others.max(axis=1)
    step_s = np.maximum(pipeline, (worked + way_down).max(axis=1)) + update[:, 0]
    step_s = np.maximum(step_s, (worked + update).max(axis=1))
    at = np.arange(cuts.shape[1])
    down, up = route.exchange_s[at, cuts, 0], route.exchange_s[at, cuts, 1]
    delay = route.exchange_delay_s[at, cuts] / 2
    before_s, upload_s = (down + delay).sum(axis=1), (up + delay).sum(axis=1)
    alone_s = before_s + route.steps * step_s + upload_s
    pieces: dict[str, list[_Piece]] = {}
    in_step = _of_step(route, stations, update, worked)
    for step in range(route.steps):
        earlier, later = before_s + step * step_s, (route.steps - 1 - step) * step_s + upload_s
        for name, piece in in_step:
            moved = piece._replace(head_s=piece.head_s + earlier, tail_s=piece.tail_s + later)
            pieces.setdefault(name, []).append(moved)
    for k in at:
        head = (down + delay)[:, k + 1 :].sum(axis=1)
        piece = _Piece(head, down[:, k], alone_s - head - down[:, k], is_after=False)
        pieces.setdefault(route.down_resources[k], []).append(piece)
        head = before_s + route.steps * step_s + (up + delay)[:, :k].sum(axis=1)
        piece = _Piece(head, up[:, k], alone_s - head - up[:, k], is_after=True)
        pieces.setdefault(route.up_resources[k], []).append(piece)
    memory = {name: route.memory_bytes[k, start[:, k], end[:, k]] for k, name in enumerate(route.nodes, 1)}
    windows = {name: _joined(found, is_whole=_is_whole(route)) for name, found in pieces.items() if name}
    return Listed(route, cuts, alone_s, upload_s, windows, memory)


def _spans(cuts: IntArray, blocks: int) -> tuple[IntArray, IntArray]:
    """[N, K] cuts before and behind the blocks of every machine."""
    none = np.zeros((len(cuts), 1), dtype=np.int64)
    return np.concatenate([none, cuts], axis=1), np.concatenate([cuts, none + blocks], axis=1)


def _stations(route: Route, cuts: IntArray, forward: FloatArray, backward: FloatArray) -> _Stations:
    """Machines and links in the order in which a micro-batch passes them, up and back."""
    names: list[str] = []
    replicas, seconds, delays = [], [], []
    last, nothing = route.chain.num_nodes - 1, np.zeros(len(cuts))
    for upwards in (True, False):
        for k in range(last + 1) if upwards else range(last, -1, -1):
            names.append(route.node_resources[k])
            replicas.append(route.replicas[k])
            seconds.append((forward if upwards else backward)[:, k])
            delays.append(nothing)
            link = k if upwards else k - 1
            if not 0 <= link < last:
                continue
            at = cuts[:, link]
            names.append((route.up_resources if upwards else route.down_resources)[link])
            replicas.append(1)
            seconds.append((route.chain.up_s if upwards else route.chain.down_s)[link, at])
            delays.append((route.up_delay_s if upwards else route.down_delay_s)[link, at])
    return _Stations(names, np.array(replicas, dtype=np.int64), np.stack(seconds, axis=1), np.stack(delays, axis=1))


def _is_whole(route: Route) -> bool:
    """Whether micro-batches of a step are pieces of their own."""
    return route.micro_batches == 1 or route.steps * (2 * route.micro_batches + 1) <= MOST_PIECES


def _of_step(route: Route, stations: _Stations, update: FloatArray, worked_s: FloatArray) -> list[tuple[str, _Piece]]:
    """What machines and links do in a step, from its start; of replicas the first, which is as busy as any."""
    number, before, behind = route.micro_batches, stations.before_s, stations.behind_s
    found = []
    for first, last in [(n, n) for n in range(number)] if _is_whole(route) else [(0, number - 1)]:
        waits = first // stations.replicas * stations.seconds
        follow = (number - 1 - last) // stations.replicas * stations.seconds
        head = before + np.maximum.accumulate(waits, axis=1)
        tail = behind + np.maximum.accumulate(follow[:, ::-1], axis=1)[:, ::-1] + update[:, :1]
        for i, name in enumerate(stations.names):
            count = int(stations.replicas[i])
            served = len(range(first, last + 1, count)) if first % count == 0 else 0
            if served and name:
                piece = _Piece(head[:, i], served * stations.seconds[:, i], tail[:, i], is_after=False)
                found.append((name, piece))
    # A machine updates after its last micro-batch is back.
    others = (number - 1) // stations.replicas * stations.seconds
    back = before + stations.seconds + np.maximum.accumulate(others, axis=1)
    for k, name in enumerate(route.node_resources):
        if name:
            head = np.maximum(back[:, len(stations.names) - 1 - 2 * k], worked_s[:, k])
            found.append((name, _Piece(head, update[:, k], np.zeros(len(head)), is_after=False)))
    return found


def _joined(found: list[_Piece], *, is_whole: bool) -> Windows:
    kept = [piece for piece in found if (piece.seconds > 0).any()] or found[:1]
    head, seconds, tail = (np.stack([piece[part] for piece in kept], axis=1) for part in range(3))
    return Windows(head, seconds, tail, np.array([piece.is_after for piece in kept]), is_whole)
