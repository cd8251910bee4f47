"""What parts and hops of an app take of every limit within a given period, as shares of it.

With the period given, every limit is "a sum of shares is at most 1", and every share belongs to one part or one hop, so
that a plan's cheapest path can be found at any prices of the limits. Beside the shares themselves, each limit of a unit
and of kernel memory is stated once for every dual feasible function.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hybridsplit.scenarios.contracts.virtual_space import BoolArray, FloatArray, IntArray, SpaceApp, VirtualSpace
from hybridsplit.scenarios.units import bits
from hybridsplit.solver.virtual_space.columns import (
    CNN,
    CPU,
    KERNEL,
    NUM_MEMORIES,
    NUM_UNITS,
    RX,
    TX,
    Part,
    memory_capacities,
)
from hybridsplit.solver.virtual_space.dual_feasible import NUM_FUNCTIONS, counted_sizes
from hybridsplit.solver.virtual_space.tables import AppTables, tables_of

NUM_ROWS = NUM_UNITS * NUM_FUNCTIONS + NUM_MEMORIES + NUM_FUNCTIONS - 1
"""Limits of a device: its units by every function, its memories, and kernels by the functions beside the size."""
_WHOLE = 1 + 1e-9
"""Shares above are more than there is."""


def unit_rows(unit: int) -> slice:
    """Return the rows of a unit among those of its device.

    Parameters
    ----------
    unit
        Position of the unit.
    """
    return slice(unit * NUM_FUNCTIONS, (unit + 1) * NUM_FUNCTIONS)


MEMORY_ROWS = slice(NUM_UNITS * NUM_FUNCTIONS, NUM_UNITS * NUM_FUNCTIONS + NUM_MEMORIES)
KERNEL_ROW = MEMORY_ROWS.start + KERNEL
IS_LIMIT = np.isin(
    np.arange(NUM_ROWS), [*(unit_rows(unit).start for unit in range(NUM_UNITS)), *range(NUM_ROWS)[MEMORY_ROWS]]
)
"""[R] whether a row is a limit itself, not one restated by a function."""
NUM_LIMITS = int(IS_LIMIT.sum())
_FURTHER_ROWS = slice(MEMORY_ROWS.stop, NUM_ROWS)


@dataclass(frozen=True)
class AppLoads:
    """What an app takes; devices of one class share a table, as links of one rate do.

    Parameters
    ----------
    class_of
        [D] class of every device.
    parts
        [2, K, R, L + 1, L + 1] shares of the limits of its device: of a range that stays, and of one that is loaded.
    is_possible
        [2, K, L + 1, L + 1] whether a range can be part of a plan at all.
    loading
        [K, L + 1, L + 1] share of kernel memory that loading it needs.
    active_s
        [2, K, L + 1, L + 1] seconds of the accelerator in a period.
    link_of
        [D] class of every link.
    hops
        [F, L + 1, U, U] shares of a sender and a receiver, 0 within a device.
    hop_s
        [L + 1, U, U] seconds of the radio in a period.
    """

    class_of: IntArray
    parts: FloatArray
    is_possible: BoolArray
    loading: FloatArray
    active_s: FloatArray
    link_of: IntArray
    hops: FloatArray
    hop_s: FloatArray

    def layer_share(self, layer: int) -> float:
        """Return the largest share of a device that a layer takes by itself.

        Parameters
        ----------
        layer
            Position of the layer.
        """
        return float(self.parts[0, :, :, layer, layer + 1].max())

    def hop_share(self, place: int) -> float:
        """Return the largest share of a radio that sending what crosses a place takes.

        Parameters
        ----------
        place
            The place between layers.
        """
        return float(self.hops[0, place].max())

    def part_prices(self, prices: FloatArray, active_w: FloatArray | None) -> tuple[FloatArray, FloatArray]:
        """Return [D, L + 1, L + 1] what ranges that stay pay, and ranges that are loaded, their room not counted.

        Parameters
        ----------
        prices
            [D, R] of the limits of devices.
        active_w
            [D] power of accelerators, where joules are paid too.
        """
        size = self.parts.shape[-1]
        paid = np.zeros((2, len(prices), size, size))
        for one in range(self.parts.shape[1]):
            of_class = self.class_of == one
            for way in (0, 1):
                flat = prices[of_class] @ self.parts[way, one].reshape(NUM_ROWS, -1)
                if active_w is not None:
                    flat += active_w[of_class, None] * self.active_s[way, one].reshape(1, -1)
                paid[way, of_class] = flat.reshape(-1, size, size)
        return paid[0], paid[1]

    def hop_prices(self, send: FloatArray, receive: FloatArray, radio_w: FloatArray) -> FloatArray:
        """Return [L + 1, D, D] what sending pays, 0 within a device, and infinite where it takes more than a period.

        Parameters
        ----------
        send, receive
            [D, F] prices of senders and receivers.
        radio_w
            [D] power of radios, 0 where joules are not paid.
        """
        of = np.ix_(self.link_of, self.link_of)
        paid = np.zeros((self.hops.shape[1], len(send), len(send)))
        for one in range(NUM_FUNCTIONS):
            paid += self.hops[one][:, of[0], of[1]] * (send[:, None, one] + receive[None, :, one])
        seconds = self.hop_s[:, of[0], of[1]]
        if radio_w.any():
            paid += np.where(np.isfinite(seconds), seconds, 0.0) * (radio_w[:, None] + radio_w[None, :])
        paid[~np.isfinite(seconds)] = np.inf
        here = np.arange(len(send))
        paid[:, here, here] = 0.0
        return paid

    def taken(self, source: int, target: int, parts: tuple[Part, ...]) -> FloatArray:
        """Return [D, R] what a plan takes of all limits.

        Parameters
        ----------
        source, target
            Devices where frames are taken and results needed.
        parts
            Its parts.
        """
        found = np.zeros((len(self.class_of), NUM_ROWS))
        here, num_places = source, self.hops.shape[1]
        for place, there in [(one.start, one.device) for one in parts] + [(num_places - 1, target)]:
            if there != here:
                shares = self.hops[:, place, self.link_of[here], self.link_of[there]]
                found[here, unit_rows(TX)] += shares
                found[there, unit_rows(RX)] += shares
            here = there
        for one in parts:
            found[one.device] += self.parts[int(one.reloads), self.class_of[one.device], :, one.start, one.end]
        return found

    def loaded(self, parts: tuple[Part, ...]) -> dict[int, float]:
        """Return the share of kernel memory that a plan loads weights into, by device.

        Parameters
        ----------
        parts
            Its parts.
        """
        found: dict[int, float] = {}
        for one in parts:
            if one.reloads:
                share = float(self.loading[self.class_of[one.device], one.start, one.end])
                found[one.device] = found.get(one.device, 0.0) + share
        return found


def app_loads(space: VirtualSpace, app: SpaceApp, frames: float, period_s: float) -> AppLoads:
    """Return what an app takes within a period.

    Parameters
    ----------
    space, app
        The app and its space.
    frames
        Its frames in the period.
    period_s
        The period.
    """
    tables = tables_of(space, app)
    loads = np.isfinite(tables.reload_s)
    reload = np.where(loads, tables.reload_s, 0.0)
    runs = np.isfinite(tables.compute_s)
    compute = np.where(runs, tables.compute_s, 0.0)
    accelerator = np.stack([compute, compute + reload]) * (frames / period_s)
    processor = np.stack([tables.moving_s, tables.moving_s + reload]) * (frames / period_s)
    is_possible = np.stack([runs & (tables.stays > 0), runs & loads])
    is_possible &= (accelerator <= _WHOLE) & (processor <= _WHOLE)
    links, link_of = np.unique([one.link_bps for one in space.devices], return_inverse=True)
    # What is sent within a device takes no time, whichever its class.
    rates = np.minimum(links[:, None], links[None, :])
    crossing = np.array([bits(float(size)) for size in app.crossing_bytes])
    hop_s = crossing[:, None, None] / rates * frames
    return AppLoads(
        tables.class_of,
        _part_shares(space, tables, accelerator, processor),
        is_possible,
        tables.widest_bytes / np.maximum(_capacities(space, tables)[:, KERNEL, None, None], 1.0),
        accelerator * period_s,
        link_of,
        counted_sizes(hop_s / period_s),
        np.where(hop_s / period_s > _WHOLE, np.inf, hop_s),
    )


def _part_shares(space: VirtualSpace, tables: AppTables, accelerator: FloatArray, processor: FloatArray) -> FloatArray:
    """Return [2, K, R, L + 1, L + 1] what ranges take of the limits of their device."""
    ways, classes, size = accelerator.shape[:3]
    shares = np.zeros((ways, classes, NUM_ROWS, size, size))
    shares[:, :, unit_rows(CNN)] = np.moveaxis(counted_sizes(accelerator), 0, 2)
    shares[:, :, unit_rows(CPU)] = np.moveaxis(counted_sizes(processor), 0, 2)
    # A memory that a device does not have counts as one byte: what needs it never stays there.
    held = tables.held / np.maximum(_capacities(space, tables), 1.0)[:, :, None, None]
    shares[0, :, MEMORY_ROWS] = held
    shares[0, :, _FURTHER_ROWS] = np.moveaxis(counted_sizes(held[:, KERNEL])[1:], 0, 1)
    return shares


def _capacities(space: VirtualSpace, tables: AppTables) -> FloatArray:
    """Return [K, 3] the memories of every class."""
    firsts = [int(np.flatnonzero(tables.class_of == one)[0]) for one in range(len(tables.compute_s))]
    return np.asarray(memory_capacities(space)[firsts], dtype=np.float64)
