"""The cheapest plan of an app at given prices: a shortest path over places between layers and devices.

A plan is a path that begins at the source, takes one range of layers after another, changes the device between them
and ends at the target; its price is the sum over its ranges and hops. With K parts at most, L layers and D devices the
path is found in O(K (L D^2 + L^2 D)), and never lists plans, of which there are about (L D)^(K-1) D.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hybridsplit.scenarios.contracts.virtual_space import BoolArray, FloatArray, VirtualSpace
from hybridsplit.solver.virtual_space.columns import BIAS, CNN, CPU, KERNEL, LAYERS, RX, TX, Part
from hybridsplit.solver.virtual_space.tables import AppTables, hop_seconds, tables_of


@dataclass(frozen=True)
class Prices:
    """What a plan pays.

    Parameters
    ----------
    busy
        [D, 4] for a second of a unit.
    held
        [D, 3] for a byte of kernels, a byte of biases and a layer.
    loading
        [A, D] for a byte of kernels that an app loads.
    energy
        For a joule.
    """

    busy: FloatArray
    held: FloatArray
    loading: FloatArray
    energy: float = 0.0


class Pricer:
    """Finds the cheapest plans of one app.

    Parameters
    ----------
    space
        The space.
    app_index
        Position of the app.
    """

    def __init__(self, space: VirtualSpace, app_index: int) -> None:
        self._space, self._index = space, app_index
        self._app = space.apps[app_index]
        self._tables: AppTables = tables_of(space, self._app)
        self._hops = hop_seconds(space, self._app)
        self._active_w = np.array([one.active_power_w or 0.0 for one in space.devices])
        self._radio_w = np.array([one.radio_power_w or 0.0 for one in space.devices])

    def cheapest(
        self, prices: Prices, frames: float, longest_s: float = np.inf, most: int = 8
    ) -> list[tuple[float, tuple[Part, ...]]]:
        """Return the cheapest plans, one for each last device and number of parts, the cheapest first.

        Parameters
        ----------
        prices
            What is paid.
        frames
            Frames in a period.
        longest_s
            Seconds that no unit may be busy for one part or hop in a period.
        most
            How many plans to return at most.

        Returns
        -------
        list of tuple
            Price and parts; none where no plan exists. The first is the cheapest of all.
        """
        part, reloads = self._part_prices(prices, frames, longest_s)
        hop = self._hop_prices(prices, frames, longest_s)
        num_layers, num_devices = self._app.num_layers, len(self._space.devices)
        # Price of standing before a place on a device, with what crosses it there.
        at = np.full((num_layers + 1, num_devices), np.inf)
        at[0] = hop[0, self._app.source]
        steps: list[tuple[FloatArray, FloatArray]] = []
        found: list[tuple[float, int, int]] = []
        for number in range(self._space.most_cuts + 1):
            through = at.T[:, :, None] + part
            begun = through.argmin(axis=1)
            done = np.take_along_axis(through, begun[:, None, :], axis=1)[:, 0, :].T
            ends = done[num_layers] + hop[num_layers, :, self._app.target]
            found += [(float(ends[device]), number, device) for device in range(num_devices)]
            moved = done[:, :, None] + hop
            moved[:, np.arange(num_devices), np.arange(num_devices)] = np.inf
            came = moved.argmin(axis=1)
            at = np.take_along_axis(moved, came[:, None, :], axis=1)[:, 0, :]
            steps.append((begun, came))
        found = sorted(one for one in found if np.isfinite(one[0]))[:most]
        return [(price, self._traced(steps, reloads, number, device)) for price, number, device in found]

    def _traced(
        self, steps: list[tuple[FloatArray, FloatArray]], reloads: BoolArray, number: int, device: int
    ) -> tuple[Part, ...]:
        """Follow a path back from its last device."""
        parts: list[Part] = []
        end = self._app.num_layers
        while True:
            start = int(steps[number][0][device, end])
            parts.append(Part(device, start, end, bool(reloads[device, start, end])))
            if number == 0:
                return tuple(reversed(parts))
            number -= 1
            device, end = int(steps[number][1][start, device]), start

    def _part_prices(self, prices: Prices, frames: float, longest_s: float) -> tuple[FloatArray, BoolArray]:
        """Return [D, L + 1, L + 1] the price of every range, and whether it is cheaper to load its weights."""
        stays, loads = self._part_prices_apart(prices, frames, longest_s)
        return np.minimum(stays, loads), loads < stays

    def _part_prices_apart(self, prices: Prices, frames: float, longest_s: float) -> tuple[FloatArray, FloatArray]:
        """Return [D, L + 1, L + 1] the price of every range that stays, and that is loaded for every frame."""
        tables, of = self._tables, self._tables.class_of
        busy, held = prices.busy, prices.held
        cnn = frames * (busy[:, CNN] + prices.energy * self._active_w)
        both = frames * (busy[:, CNN] + busy[:, CPU] + prices.energy * self._active_w)
        compute, moving, loading = tables.compute_s, tables.moving_s, tables.reload_s
        runs = np.isfinite(compute) & (frames * np.maximum(compute, moving) <= longest_s)
        shared = cnn[:, None, None] * np.where(runs, compute, 0.0)[of]
        shared = np.where(runs[of], shared + (frames * busy[:, CPU])[:, None, None] * moving[of], np.inf)
        stays = np.where(tables.stays[of] > 0, 0.0, np.inf)
        for memory in (KERNEL, BIAS, LAYERS):
            stays = stays + held[:, memory, None, None] * tables.held[of, memory]
        loadable = runs & np.isfinite(loading)
        finite = np.where(loadable, loading, 0.0)
        loadable &= frames * (np.maximum(np.where(runs, compute, 0.0), moving) + finite) <= longest_s
        loads = np.where(loadable[of], both[:, None, None] * finite[of], np.inf)
        loads = loads + prices.loading[self._index][:, None, None] * tables.widest_bytes[of]
        return shared + stays, shared + loads

    def _hop_prices(self, prices: Prices, frames: float, longest_s: float) -> FloatArray:
        """Return [L + 1, D, D] the price of sending what crosses a place."""
        send = prices.busy[:, TX] + prices.energy * self._radio_w
        receive = prices.busy[:, RX] + prices.energy * self._radio_w
        seconds = frames * self._hops
        return np.where(seconds > longest_s, np.inf, seconds * (send[:, None] + receive[None, :]))

    def all_within(
        self, prices: Prices, frames: float, limit: float, longest_s: float = np.inf, most: int = 20_000
    ) -> list[tuple[Part, ...]] | None:
        """Return every plan whose price is within a limit; None where there are more than can be listed.

        A range whose weights could stay or be loaded counts as two plans where both are within the limit.

        Parameters
        ----------
        prices
            What is paid.
        frames
            Frames in a period.
        limit
            Highest price.
        longest_s
            Seconds that no unit may be busy for one part or hop in a period.
        most
            Most plans to list.
        """
        stays, loads = self._part_prices_apart(prices, frames, longest_s)
        part = np.minimum(stays, loads)
        hop = self._hop_prices(prices, frames, longest_s)
        num_layers = self._app.num_layers
        # Cheapest way on from standing before a place on a device, with so many parts more at most.
        to_end = hop[num_layers, :, self._app.target]
        onward = [np.full((num_layers + 1, len(self._space.devices)), np.inf)]
        between = hop.copy()
        between[:, np.arange(len(self._space.devices)), np.arange(len(self._space.devices))] = np.inf
        for _ in range(self._space.most_cuts + 1):
            moved = (between + onward[-1][:, None, :]).min(axis=2)
            moved[num_layers] = to_end
            onward.append((part + moved.T[:, None, :]).min(axis=2).T)
        found: list[tuple[Part, ...]] = []
        slack = limit + 1e-9 * max(1.0, abs(limit))
        todo: list[tuple[float, int, int, tuple[Part, ...]]] = [
            (float(hop[0, self._app.source, device]), 0, device, ()) for device in range(len(self._space.devices))
        ]
        while todo:
            paid, place, device, before = todo.pop()
            left = self._space.most_cuts - len(before)
            if paid + onward[left + 1][place, device] > slack:
                continue
            for reloads, table in ((False, stays), (True, loads)):
                reached = paid + table[device, place]
                for end in np.flatnonzero(reached <= slack):
                    parts = (*before, Part(device, place, int(end), reloads))
                    if end == num_layers:
                        if reached[end] + to_end[device] <= slack:
                            found.append(parts)
                    elif left:
                        onto = np.flatnonzero(reached[end] + between[end, device] + onward[left][end] <= slack)
                        todo += [
                            (float(reached[end] + between[end, device, to]), int(end), int(to), parts) for to in onto
                        ]
            if len(found) > most or len(todo) > 20 * most:
                return None
        return found
