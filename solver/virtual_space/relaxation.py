"""The relaxation within a given period, over the plans generated so far: which shares of them serve the apps.

    minimise  cost of plans + unserved apps   such that   plans of every app + its unserved share = 1,
    shares of every limit <= 1,   kernels that stay + the room for loading <= 1,   what an app loads <= that room

HiGHS keeps its basis between solves, since one differs from the last by a few plans, or by which of them are allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import highspy
import numpy as np

from hybridsplit.scenarios.contracts.virtual_space import BoolArray, FloatArray
from hybridsplit.scenarios.errors import SolverFailure
from hybridsplit.solver.virtual_space.loads import KERNEL_ROW, NUM_ROWS


@dataclass(frozen=True)
class LimitPrices:
    """What plans pay for limits, none of it negative.

    Parameters
    ----------
    limits
        [D, R] for the whole of every limit of every device.
    loading
        [A, D] for the whole of the kernel memory that an app loads weights into.
    """

    limits: FloatArray
    loading: FloatArray

    @classmethod
    def none(cls, num_apps: int, num_devices: int) -> Self:
        """Return prices at which nothing is paid.

        Parameters
        ----------
        num_apps, num_devices
            How many there are.
        """
        return cls(np.zeros((num_devices, NUM_ROWS)), np.zeros((num_apps, num_devices)))

    @property
    def paid(self) -> float:
        """What all limits together are worth, and the room for loading at most."""
        room = self.limits[:, KERNEL_ROW] - self.loading.sum(axis=0)
        return float(self.limits.sum() - np.minimum(room, 0.0).sum())


@dataclass(frozen=True)
class Relaxed:
    """An optimum over the plans there are.

    Parameters
    ----------
    value
        Cost of plans and of unserved apps.
    unserved
        How many apps' worth of plans are missing.
    prices
        What plans pay at it.
    worth
        [A] what a plan of an app may cost to be no worse than those there are.
    weights
        [N] how much of each plan is chosen.
    """

    value: float
    unserved: float
    prices: LimitPrices
    worth: FloatArray
    weights: FloatArray


class Relaxation:
    """A growing linear programme over plans.

    Parameters
    ----------
    num_apps, num_devices
        How many there are.
    unserved_cost
        What an app without a plan costs.
    """

    def __init__(self, num_apps: int, num_devices: int, unserved_cost: float) -> None:
        self._num_apps, self._num_devices = num_apps, num_devices
        self._highs = highspy.Highs()
        self._highs.silent()
        self._highs.setOptionValue("threads", 1)
        # A solve repeats a fraction of the last one: presolve would begin anew each time.
        self._highs.setOptionValue("presolve", "off")
        self._highs.setOptionValue("solver", "simplex")
        self._highs.setOptionValue("primal_feasibility_tolerance", 1e-9)
        self._highs.setOptionValue("dual_feasibility_tolerance", 1e-9)
        self._infinity = self._highs.getInfinity()
        self._loading_rows: dict[tuple[int, int], int] = {}
        self._is_allowed: BoolArray = np.zeros(0, dtype=bool)
        self._num_plans = 0
        self._costs: list[float] = []
        self._has_costs = True
        none = np.empty(0)
        for _ in range(num_apps):
            self._highs.addRow(1.0, 1.0, 0, np.empty(0, dtype=np.int32), none)
        for _ in range(num_devices * NUM_ROWS):
            self._highs.addRow(-self._infinity, 1.0, 0, np.empty(0, dtype=np.int32), none)
        for app in range(num_apps):
            self._highs.addCol(unserved_cost, 0.0, 1.0, 1, np.array([app], dtype=np.int32), np.ones(1))
        for device in range(num_devices):
            row = np.array([self._row(device, KERNEL_ROW)], dtype=np.int32)
            self._highs.addCol(0.0, 0.0, 1.0, 1, row, np.ones(1))
        self._first = num_apps + num_devices

    def _row(self, device: int, row: int) -> int:
        return self._num_apps + device * NUM_ROWS + row

    def add(self, app: int, cost: float, taken: FloatArray, loaded: Mapping[int, float]) -> None:
        """Add a plan, which may not be chosen yet.

        Parameters
        ----------
        app
            Whose plan it is.
        cost
            What it costs.
        taken
            [D, R] its shares of all limits.
        loaded
            Its shares of kernel memory that it loads weights into, by device.
        """
        for device in loaded:
            if (app, device) not in self._loading_rows:
                self._loading_rows[app, device] = self._highs.getNumRow()
                room = np.array([self._num_apps + device], dtype=np.int32)
                self._highs.addRow(-self._infinity, 0.0, 1, room, -np.ones(1))
        flat = taken.ravel()
        limits = np.flatnonzero(flat)
        loading = [self._loading_rows[app, device] for device in loaded]
        rows = np.concatenate([[app], self._num_apps + limits, loading]).astype(np.int32)
        values = np.concatenate([[1.0], flat[limits], list(loaded.values())])
        self._highs.addCol(cost if self._has_costs else 0.0, 0.0, 0.0, len(rows), rows, values)
        self._costs.append(cost)
        self._num_plans += 1

    def count_costs(self, has_costs: bool) -> None:
        """Say whether plans cost anything, or only apps without one do.

        Parameters
        ----------
        has_costs
            Whether they do.
        """
        if has_costs != self._has_costs:
            costs = np.array(self._costs) if has_costs else np.zeros(self._num_plans)
            columns = np.arange(self._first, self._first + self._num_plans, dtype=np.int32)
            self._highs.changeColsCost(self._num_plans, columns, costs)
            self._has_costs = has_costs

    def allow(self, is_allowed: BoolArray) -> None:
        """Say which plans may be chosen.

        Parameters
        ----------
        is_allowed
            [N] of every plan.
        """
        before = np.zeros(self._num_plans, dtype=bool)
        before[: len(self._is_allowed)] = self._is_allowed
        changed = np.flatnonzero(before != is_allowed)
        if len(changed):
            upper = np.where(is_allowed[changed], self._infinity, 0.0)
            columns = (self._first + changed).astype(np.int32)
            self._highs.changeColsBounds(len(changed), columns, np.zeros(len(changed)), upper)
        self._is_allowed = is_allowed.copy()

    def solve(self) -> Relaxed:
        """Solve it.

        Raises
        ------
        SolverFailure
            If HiGHS stops without an optimum.
        """
        self._highs.run()
        if self._highs.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            # A basis that led nowhere is dropped once.
            self._highs.clearSolver()
            self._highs.run()
        status = self._highs.getModelStatus()
        if status != highspy.HighsModelStatus.kOptimal:
            words = self._highs.modelStatusToString(status)
            raise SolverFailure(f"HiGHS stopped on the relaxation with {self._num_plans} plans: {words}")
        solution = self._highs.getSolution()
        values, duals = np.array(solution.col_value), np.array(solution.row_dual)
        apps, devices = self._num_apps, self._num_devices
        limits = np.maximum(-duals[apps : apps + devices * NUM_ROWS], 0.0).reshape(devices, NUM_ROWS)
        loading = np.zeros((apps, devices))
        for (app, device), row in self._loading_rows.items():
            loading[app, device] = max(0.0, -duals[row])
        return Relaxed(
            float(self._highs.getInfo().objective_function_value),
            float(values[:apps].sum()),
            LimitPrices(limits, loading),
            duals[:apps],
            values[self._first :],
        )
