"""The joint programme: choose one plan of every app so that the busiest unit is done soonest.

    minimise P   such that   one plan of every app,   busy seconds of every unit <= P,
    kernels, biases and layers that stay, and the largest that is loaded, within each device's memory

over columns that are plans. The linear relaxation gives a bound and the prices at which further plans are sought; the
programme itself goes to HiGHS through cvxpy. With the objective energy, joules are minimised and P is given.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from hybridsplit.scenarios.contracts.virtual_space import FloatArray, VirtualSpace
from hybridsplit.solver.virtual_space.columns import KERNEL, NUM_MEMORIES, NUM_UNITS, Column, memory_capacities


@dataclass(frozen=True)
class Solved:
    """What HiGHS came to.

    Parameters
    ----------
    columns
        One plan of every app; None where none was found.
    objective
        Of the choice.
    is_proved
        Whether the choice is within the gap of the best over these columns, or where there is none, none exists.
    """

    columns: list[Column] | None
    objective: float
    is_proved: bool


@dataclass(frozen=True)
class Programme:
    """Columns and what limits them.

    Parameters
    ----------
    space
        The space.
    columns
        The plans to choose from.
    frames
        [A] frames of every app in a period.
    period_s
        The period where it is given; None where it is minimised.
    is_energy
        Whether joules are minimised within the given period. Seconds of all units are, otherwise: they matter little
        where any choice will do, and lead to one soon.
    """

    space: VirtualSpace
    columns: Sequence[Column]
    frames: FloatArray
    period_s: float | None = None
    is_energy: bool = True

    @property
    def _num_devices(self) -> int:
        return len(self.space.devices)

    def _cost(self, column: Column) -> float:
        return (column.energy_j if self.is_energy else column.total_s) * float(self.frames[column.app])

    def _loading_pairs(self) -> list[tuple[int, int]]:
        pairs = {(one.app, int(d)) for one in self.columns for d in np.flatnonzero(one.loading_bytes)}
        return sorted(pairs)

    def matrices(self) -> tuple[sp.csr_matrix, FloatArray, sp.csr_matrix, FloatArray, list[tuple[int, int]]]:
        """Return the limits ``A x <= b`` and the choices ``E x + missing = 1``.

        Variables are the columns, then the room for loading on every device in bytes, then the period. Rows of ``A``
        are units, memories, and the room each app needs on a device.

        Returns
        -------
        tuple
            ``A`` [4 D + 3 D + pairs, N + D + 1], ``b``, ``E`` [A, N + D + 1], the joules of every column [N], and pairs
            of app and device in the order of the last rows.
        """
        num, devices = len(self.columns), self._num_devices
        busy = (
            np.array([one.busy_s.ravel() * self.frames[one.app] for one in self.columns])
            .reshape(num, devices * NUM_UNITS)
            .T
        )
        held = (
            np.array([one.held.ravel() for one in self.columns], dtype=np.float64)
            .reshape(num, devices * NUM_MEMORIES)
            .T
        )
        capacities = memory_capacities(self.space).astype(np.float64)
        room = np.zeros((devices * NUM_MEMORIES, devices))
        room[np.arange(devices) * NUM_MEMORIES + KERNEL, np.arange(devices)] = 1.0
        pairs = self._loading_pairs()
        needs = np.zeros((len(pairs), num))
        row_of = {pair: row for row, pair in enumerate(pairs)}
        for index, column in enumerate(self.columns):
            for device in np.flatnonzero(column.loading_bytes):
                needs[row_of[column.app, int(device)], index] = column.loading_bytes[device]
        given = np.zeros((len(pairs), devices))
        given[np.arange(len(pairs)), [device for _, device in pairs]] = -1.0
        # Memories as shares of what there is: rows of like size, whatever the chip.
        scale = np.maximum(capacities.ravel(), 1.0)
        kernels = np.maximum(capacities[[device for _, device in pairs], KERNEL], 1.0)
        limits = sp.bmat(
            [
                [sp.csr_matrix(busy), None, np.full((devices * NUM_UNITS, 1), -1.0)],
                [sp.csr_matrix(held / scale[:, None]), sp.csr_matrix(room / scale[:, None]), None],
                *(
                    [[sp.csr_matrix(needs / kernels[:, None]), sp.csr_matrix(given / kernels[:, None]), None]]
                    if pairs else []
                ),
            ],
            format="csr",
        )  # fmt: skip
        upper = np.concatenate([np.zeros(devices * NUM_UNITS), capacities.ravel() / scale, np.zeros(len(pairs))])
        apps = np.array([one.app for one in self.columns], dtype=np.int64)
        choices = sp.csr_matrix((np.ones(num), (apps, np.arange(num))), (len(self.space.apps), num + devices + 1))
        costs = np.array([self._cost(one) for one in self.columns])
        return limits, upper, choices, costs, pairs

    def solve(self, time_limit_s: float, gap: float, below: float = np.inf) -> Solved:
        """Solve the programme by HiGHS, through cvxpy.

        Parameters
        ----------
        time_limit_s
            Seconds after which the best choice found by then is taken.
        gap
            Relative gap to the best bound over these columns at which it stops.
        below
            Longest period that is of interest; it cuts off most of the search where a good choice is known.
        """
        import cvxpy as cp

        limits, upper, choices, costs, _ = self.matrices()
        num, devices = len(self.columns), self._num_devices
        chosen = cp.Variable(num, boolean=True)
        rest = cp.Variable(devices + 1, nonneg=True)
        # Seconds in units of the longest plan, so that tolerances of the solver are relative ones.
        unit = max((float(one.busy_s.max()) * self.frames[one.app] for one in self.columns), default=1.0) or 1.0
        rows = np.ones(limits.shape[0])
        rows[: devices * NUM_UNITS] = 1 / unit
        scaled = sp.diags(rows) @ limits
        # The period is counted in that unit too.
        last = scaled[:, num:] @ sp.diags(np.concatenate([np.ones(devices), [unit]]))
        constraints = [
            scaled[:, :num] @ chosen + last @ rest <= upper,
            choices[:, :num] @ chosen == 1,
        ]
        if self.period_s is not None:
            constraints.append(rest[devices] == self.period_s / unit)
        elif np.isfinite(below):
            constraints.append(rest[devices] <= below / unit)
        goal = rest[devices] if self.period_s is None else costs @ chosen / max(float(costs.max()), 1e-30)
        programme = cp.Problem(cp.Minimize(goal), constraints)
        try:
            with warnings.catch_warnings():
                # What a stopped search is worth is checked here, not guessed from a warning.
                warnings.filterwarnings("ignore", message="Solution may be inaccurate")
                programme.solve(solver=cp.HIGHS, time_limit=max(0.1, time_limit_s), mip_rel_gap=gap, verbose=False)
        except cp.SolverError:
            return Solved(None, np.inf, False)
        if chosen.value is None or programme.status in (cp.INFEASIBLE, cp.INFEASIBLE_INACCURATE):
            return Solved(None, np.inf, programme.status == cp.INFEASIBLE)
        best: list[Column | None] = [None] * len(self.space.apps)
        weight = np.full(len(self.space.apps), -1.0)
        for column, value in zip(self.columns, chosen.value, strict=True):
            if value > weight[column.app]:
                best[column.app], weight[column.app] = column, value
        columns = [one for one in best if one is not None]
        if not self.fits(columns):
            return Solved(None, np.inf, False)
        return Solved(columns, self.objective(columns), programme.status == cp.OPTIMAL)

    def objective(self, columns: Sequence[Column]) -> float:
        """Return the objective of a choice: seconds of the busiest unit, or joules of a period.

        Parameters
        ----------
        columns
            One plan of every app.
        """
        if self.period_s is not None:
            return float(sum(self._cost(one) for one in columns))
        return float(sum(one.busy_s * self.frames[one.app] for one in columns).max())

    def fits(self, columns: Sequence[Column]) -> bool:
        """Return whether a choice keeps the memories, and the period where that is given.

        Parameters
        ----------
        columns
            One plan of every app.
        """
        held = np.sum([one.held for one in columns], axis=0).astype(np.float64)
        held[:, KERNEL] += np.max([one.loading_bytes for one in columns], axis=0)
        if (held > memory_capacities(self.space)).any():
            return False
        busy = sum(one.busy_s * self.frames[one.app] for one in columns).max()
        return self.period_s is None or float(busy) <= self.period_s * (1 + 1e-9)
