"""Choices within a given period by local search: one app at a time is planned anew around all others.

Every limit that is exceeded costs its weight times the excess. With the other apps as they are, an app's plan of least
cost is a shortest path, since what a part adds to the excess of its device does not depend on the other parts. Where no
app has a cheaper plan and limits are exceeded still, their weights grow, so that the search leaves that choice (Morris,
The breakout method for escaping from local minima, 1993).

Two things are left out of the path's prices, and counted where plans are compared: what a plan adds to a device by
several parts, and a hop that is slower than the link of one of its ends.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from hybridsplit.scenarios.contracts.virtual_space import FloatArray, IntArray, VirtualSpace
from hybridsplit.scenarios.units import bits
from hybridsplit.solver.virtual_space.columns import (
    CNN,
    CPU,
    KERNEL,
    NUM_MEMORIES,
    NUM_UNITS,
    RX,
    TX,
    Column,
    Part,
    make_column,
    memory_capacities,
)
from hybridsplit.solver.virtual_space.paths import cheapest_paths
from hybridsplit.solver.virtual_space.periods import fits_memories, frames_in, period_of
from hybridsplit.solver.virtual_space.pool import Clock
from hybridsplit.solver.virtual_space.tables import tables_of

_ROWS = NUM_UNITS + NUM_MEMORIES
_KERNEL_ROW = NUM_UNITS + KERNEL
_ROUNDING = 1e-9
_ROOM = 1e-3
"""What the whole of a limit costs where nothing is exceeded, so that plans leave room."""
_NOISE = 2e-3
"""Relative size of the random part of prices, so that equal plans are drawn among."""
_PLANS = 4
"""Plans of an app that are compared."""
_DECAY = 0.95
"""What is left of a weight above 1 whenever weights grow."""

Cached = tuple[Column, FloatArray]
"""A plan, and [D, 7] the seconds of a frame on every unit and the shares of every memory that it takes."""


@dataclass(frozen=True)
class AppParts:
    """What the possible parts of an app add to their device.

    Parameters
    ----------
    ways, starts, ends
        [N] whether weights are loaded, and places between layers.
    is_possible
        [D, N] whether a device can run it.
    adds
        [D, N, 7] seconds of a frame on every unit, and shares of every memory.
    room
        [D, N] share of kernel memory that weights are loaded into.
    sent
        [D, 7] seconds of a frame that are taken where no part is: at the source and at the target.
    """

    ways: IntArray
    starts: IntArray
    ends: IntArray
    is_possible: np.ndarray
    adds: FloatArray
    room: FloatArray
    sent: FloatArray


@dataclass
class Reassignment:
    """Searches for choices within periods.

    Parameters
    ----------
    space
        The space.
    draw
        Source of its random numbers.
    """

    space: VirtualSpace
    draw: np.random.Generator
    best: tuple[Column, ...] | None = None
    """The choice of the shortest period that was met, within the period asked for or not."""
    best_s: float = np.inf
    num_moves: int = 0
    parts: list[AppParts] = field(default_factory=list)
    _plans: dict[tuple[int, tuple[Part, ...]], Cached] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._memories = np.maximum(memory_capacities(self.space), 1).astype(np.float64)
        self._links = np.array([one.link_bps for one in self.space.devices])
        self._none = np.zeros((len(self.space.devices), _ROWS))
        self._has_rates = any(one.rate_hz is not None for one in self.space.apps)
        self.parts = [_parts_of(self.space, index, self._memories) for index in range(len(self.space.apps))]

    def search(
        self, period_s: float, clock: Clock, start: tuple[Column, ...] | None = None, most_sweeps: float = np.inf
    ) -> tuple[Column, ...] | None:
        """Search until a choice is within a period; None where the time was up before.

        Parameters
        ----------
        period_s
            The period.
        clock
            Says when to stop.
        start
            Where to begin; with no app planned when None.
        most_sweeps
            How often all apps are planned anew at most.
        """
        walk = _Walk(self, period_s)
        for column in start or ():
            walk.take(column.app, self.plan(column.app, column.parts))
        order = np.arange(len(self.parts))
        sweeps = 0
        while sweeps < most_sweeps and not clock.is_over():
            sweeps += 1
            self.draw.shuffle(order)
            is_better = False
            for index in order.tolist():
                if clock.is_over():
                    return None
                is_better |= walk.replan(index)
                if walk.meets():
                    return self.best
            if not is_better:
                walk.raise_weights()
        return None

    def plan(self, index: int, parts: tuple[Part, ...]) -> Cached:
        """Return a plan with what it takes.

        Parameters
        ----------
        index
            Position of the app.
        parts
            Its parts.
        """
        if (index, parts) not in self._plans:
            column = make_column(self.space, index, parts)
            takes = np.concatenate([column.busy_s, column.held / self._memories], axis=1)
            self._plans[index, parts] = column, takes
        return self._plans[index, parts]

    def is_possible(self, index: int, part: Part) -> bool:
        """Return whether a part of an app can be run where it is put.

        Parameters
        ----------
        index
            Position of the app.
        part
            The part.
        """
        app = self.parts[index]
        here = (app.ways == int(part.reloads)) & (app.starts == part.start) & (app.ends == part.end)
        return bool(app.is_possible[part.device, here].any())

    def note(self, chosen: list[Column]) -> float:
        """Return the period of a choice, and keep the choice if that is the shortest; infinite where it does not fit.

        Parameters
        ----------
        chosen
            One plan of every app.
        """
        if not fits_memories(self.space, chosen):
            return np.inf
        period = period_of(self.space, chosen)
        if period < self.best_s:
            self.best, self.best_s = tuple(chosen), period
        return period


class _Walk:
    """One search within a period."""

    def __init__(self, of: Reassignment, period_s: float) -> None:
        self._of, self._period_s = of, period_s
        self._scale = np.ones((len(of.parts), _ROWS))
        self._scale[:, :NUM_UNITS] = frames_in(of.space, period_s)[:, None] / period_s
        self._adds = [app.adds * scale for app, scale in zip(of.parts, self._scale, strict=True)]
        self._leaves = [_ROOM * adds.sum(axis=-1) for adds in self._adds]
        self._sent = [app.sent * scale for app, scale in zip(of.parts, self._scale, strict=True)]
        self._weights = np.ones_like(of._none)
        self._chosen: list[Column | None] = [None] * len(of.parts)
        self._takes = [of._none] * len(of.parts)
        self._rooms = np.zeros((len(of.parts), len(of._none)))

    def take(self, index: int, plan: Cached) -> None:
        """Give an app a plan."""
        column, takes = plan
        self._chosen[index] = column
        self._takes[index] = takes * self._scale[index]
        self._rooms[index] = column.loading_bytes / self._of._memories[:, KERNEL]

    def _loads(self) -> FloatArray:
        loads = np.sum(self._takes, axis=0)
        loads[:, _KERNEL_ROW] += self._rooms.max(axis=0)
        return np.asarray(loads)

    def raise_weights(self) -> None:
        """Let every limit that is exceeded weigh more."""
        self._weights = 1 + _DECAY * (self._weights - 1) + (self._loads() > 1 + _ROUNDING)

    def meets(self) -> bool:
        """Return whether the choice is within the period."""
        if any(one is None for one in self._chosen):
            return False
        loads = self._loads()
        if (loads[:, NUM_UNITS:] > 1 + _ROUNDING).any():
            return False
        is_shorter = loads[:, :NUM_UNITS].max() * self._period_s < self._of.best_s
        if not self._of._has_rates and not is_shorter and loads.max() > 1 + _ROUNDING:
            return False
        period = self._of.note([one for one in self._chosen if one is not None])
        return period <= self._period_s * (1 + _ROUNDING)

    def replan(self, index: int) -> bool:
        """Give an app its cheapest plan; return whether that is cheaper than what it had."""
        of, app = self._of, self._of.space.apps[index]
        of.num_moves += 1
        before = self._takes[index]
        others = np.sum(self._takes, axis=0) - before
        rooms = np.delete(self._rooms, index, axis=0).max(axis=0, initial=0.0)
        stays, loads = self._prices(index, others, rooms)
        hop = np.zeros((app.num_layers + 1, len(others), len(others)))
        ends = app.source, app.target
        found = cheapest_paths(stays, loads, hop, ends, of.space.most_cuts + 1, _PLANS)
        plans = [of.plan(index, parts) for _, parts in found]
        had = self._chosen[index]
        if had is not None:
            plans.append(of.plan(index, had.parts))
        if not plans:
            return False
        takes = others + np.array([one for _, one in plans]) * self._scale[index]
        room = np.array([column.loading_bytes for column, _ in plans]) / of._memories[:, KERNEL]
        takes[:, :, _KERNEL_ROW] += np.maximum(room, rooms)
        costs = (self._weights * np.maximum(takes - 1.0, 0.0)).sum(axis=(1, 2)) + _ROOM * takes.sum(axis=(1, 2))
        best = int(costs.argmin())
        if had is not None and costs[best] >= costs[-1] - _ROUNDING:
            return False
        self.take(index, plans[best])
        return True

    def _prices(self, index: int, others: FloatArray, rooms: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return [D, L + 1, L + 1] what parts that stay add to the cost of their device, and parts that are loaded."""
        app, size = self._of.parts[index], self._of.space.apps[index].num_layers + 1
        base = others + self._sent[index]
        loads = base[:, None, :] + self._adds[index]
        base[:, _KERNEL_ROW] += rooms
        loads[:, :, _KERNEL_ROW] += np.maximum(rooms[:, None], app.room)
        np.maximum(loads - 1.0, 0.0, out=loads)
        price = np.einsum("dnr,dr->dn", loads, self._weights) + self._leaves[index]
        price -= (self._weights * np.maximum(base - 1.0, 0.0)).sum(axis=1)[:, None]
        price += _NOISE * self._of.draw.random(price.shape)
        price[~app.is_possible] = np.inf
        prices = np.full((2, len(others), size, size), np.inf)
        prices[app.ways, :, app.starts, app.ends] = price.T
        return prices[0], prices[1]


def _parts_of(space: VirtualSpace, index: int, memories: FloatArray) -> AppParts:
    app, tables = space.apps[index], tables_of(space, space.apps[index])
    of, last = tables.class_of, app.num_layers
    reload = np.stack([np.zeros_like(tables.reload_s), tables.reload_s])
    runs = np.isfinite(tables.compute_s) & np.isfinite(reload)
    runs[0] &= tables.stays > 0
    ways, starts, ends = np.nonzero(runs.any(axis=1))
    is_possible = runs[ways, :, starts, ends].T[of]
    adds = np.zeros((*is_possible.shape, _ROWS))
    reload_s = np.where(is_possible, reload[ways, :, starts, ends].T[of], 0.0)
    adds[..., CNN] = np.where(is_possible, tables.compute_s[:, starts, ends][of], 0.0) + reload_s
    adds[..., CPU] = tables.moving_s[:, starts, ends][of] + reload_s
    hop = np.array([bits(float(size)) for size in app.crossing_bytes])
    hop_s = hop / np.array([one.link_bps for one in space.devices])[:, None]
    adds[..., RX], adds[..., TX] = hop_s[:, starts], hop_s[:, ends]
    sent = np.zeros((len(of), _ROWS))
    sent[app.source, TX], sent[app.target, RX] = hop_s[app.source, 0], hop_s[app.target, last]
    # At the source nothing comes in, and at the target nothing goes out; nor is either sent between them.
    adds[app.source, starts == 0, RX] = 0.0
    adds[app.target, ends == last, TX] = 0.0
    adds[app.source, starts == 0, TX] -= sent[app.source, TX]
    adds[app.target, ends == last, RX] -= sent[app.target, RX]
    held = tables.held[:, :, starts, ends][of] / memories[:, :, None]
    adds[..., NUM_UNITS:] = np.where(ways == 0, held, 0.0).transpose(0, 2, 1)
    widest = tables.widest_bytes[:, starts, ends][of] / memories[:, KERNEL, None]
    return AppParts(ways, starts, ends, is_possible, adds, np.where(ways == 1, widest, 0.0), sent)
