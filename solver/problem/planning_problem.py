"""The planning problem: every usable option of every client, as arrays.

The problem is the same for every strategy; a baseline is a restriction of it, so "optimal is no worse than the
baseline" is an inequality that holds on any instance (docs/methods/planning.md, Baselines as restrictions).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from hybridsplit.scenarios.contracts.option_rows import OptionRows
from hybridsplit.scenarios.contracts.options import OPTION_KEY
from hybridsplit.scenarios.modes import Gradient, modes_with
from hybridsplit.scenarios.schema import Client, Scenario
from hybridsplit.solver.problem.arrays import BoolArray, FloatArray, IntArray, all_occur
from hybridsplit.solver.problem.costs import Work
from hybridsplit.solver.problem.limits import Limit
from hybridsplit.solver.problem.overlap import Overlap
from hybridsplit.solver.problem.target_rows import TargetRows
from hybridsplit.solver.problem.usable_rows import DROPPED

TIME_TO_PROGRESS = "time-to-progress"
TIME_TO_TARGET = "time-to-target"
ROUND_LATENCY = "round-latency"
ENERGY = "energy"
_BY_ROW = ("uplink_bits", "downlink_bits", "progress", "server_state_bytes", "energy_j", "penalty_s")


@dataclass(frozen=True)
class PlanningProblem:
    """Usable options as arrays over ``K`` rows, grouped by client; ``N`` clients.

    Make one with :func:`hybridsplit.solver.problem.build.build_problem`. A row is usable when it fits its client's
    memory, keeps the scenario's ``min_cut`` and modes, and every link it uses can carry it.

    Parameters
    ----------
    scenario
        The scenario that the problem belongs to.
    clients
        [N] clients in the scenario's order.
    options
        The K usable rows of the option table, in the order of the arrays.
    all_options
        Every row of the option table grouped by client, also what no plan may use: explanations need it.
    place
        [K] place of every row among ``all_options``.
    client_index
        [K] index into ``clients``, rising.
    work
        [K] seconds and transfers of every row.
    uplink_bits, downlink_bits
        [K] bits of a round, the exchange of the client part included.
    progress
        [K] expected progress of a round.
    data_weight
        [N] share of the data, summing to 1.
    server_state_bytes
        [K] server memory that a row takes.
    server_memory_bytes
        Memory for all server parts together; None when unlimited.
    energy_j
        [K] energy of the device in a round; NaN where unknown, which no plan uses where energy matters.
    penalty_s
        [K] seconds that a row adds to the objective: the price of a dropped client.
    objective
        ``time-to-progress``, ``time-to-target``, ``round-latency`` or ``energy``.
    minimum_progress
        Least data-weighted progress of a plan.
    coverage
        Least share of the data on which every trainable block is trained exactly.
    energy_cap_j
        Energy for all clients together; None when unlimited.
    limits
        The limits that couple options whatever the shares.
    target
        What every row is worth to the target; None where that is not the objective.
    overlap
        What rows whose steps overlap do; ``work`` is then a bound for those. None where no row overlaps.
    untrained_depth
        Blocks from the lowest on that a plan may leave without exact training, by anybody: see
        :mod:`hybridsplit.solver.problem.depths`.
    level
        Two values of ``D/G`` between which ``gain`` is drawn as a straight line, so that it is a sum over clients: see
        :mod:`hybridsplit.solver.problem.levels`.
    """

    scenario: Scenario
    clients: tuple[Client, ...]
    options: OptionRows
    all_options: OptionRows
    place: IntArray
    client_index: IntArray
    work: Work
    uplink_bits: FloatArray
    downlink_bits: FloatArray
    progress: FloatArray
    data_weight: FloatArray
    server_state_bytes: IntArray
    server_memory_bytes: int | None
    energy_j: FloatArray
    penalty_s: FloatArray
    objective: str
    minimum_progress: float
    coverage: float
    energy_cap_j: float | None
    limits: tuple[Limit, ...] = ()
    target: TargetRows | None = None
    untrained_depth: int = 0
    level: tuple[float, float] = (0.0, 0.0)
    overlap: Overlap | None = None

    def restricted(self, mask: BoolArray) -> PlanningProblem:
        """Return the same problem with fewer options.

        Parameters
        ----------
        mask
            [K] True for the rows to keep.

        Raises
        ------
        ValueError
            If a client would be left without an option.
        """
        if not all_occur(self.client_index[mask], self.num_clients):
            left = set(np.unique(self.client_index[mask]).tolist())
            lost = next(client.id for i, client in enumerate(self.clients) if i not in left)
            raise ValueError(
                f"a restriction leaves client {lost} without an option; keep at least one row of every client"
            )
        return dataclasses.replace(
            self,
            options=self.options.take(mask),
            place=self.place[mask],
            client_index=self.client_index[mask],
            **self.figures_of(mask),
        )

    def figures_of(self, index: BoolArray | IntArray) -> dict[str, Any]:
        """Return by field what some rows cost and give.

        Parameters
        ----------
        index
            [K] True for those rows, or their places.
        """
        return {
            **{name: getattr(self, name)[index] for name in _BY_ROW},
            "work": self.work.take(index),
            "limits": tuple(limit.take(index) for limit in self.limits),
            "target": None if self.target is None else self.target.take(index),
            "overlap": None if self.overlap is None else self.overlap.take(index),
        }

    @property
    def keys(self) -> list[tuple[Hashable, ...]]:
        """[K] the key of every row."""
        return list(zip(*(self.options[column].tolist() for column in OPTION_KEY), strict=True))

    @cached_property
    def table(self) -> pd.DataFrame:
        """The K usable rows as a DataFrame, which takes the memory of all of them."""
        return self.options.frame()

    def without_limits(self) -> PlanningProblem:
        """Return the same options without the limits that couple them."""
        return dataclasses.replace(self, limits=())

    @property
    def num_clients(self) -> int:
        """Number of clients ``N``."""
        return len(self.clients)

    @property
    def num_rows(self) -> int:
        """Number of usable options ``K`` over all clients."""
        return len(self.client_index)

    @property
    def equal_shares(self) -> FloatArray:
        """[3] the part of uplink, downlink and server that each client has if all that share it have the same."""
        number = max(1, sum(not client.link.is_dedicated for client in self.clients))
        return np.array([1.0 / number, 1.0 / number, 1.0 / self.num_clients])

    @property
    def done(self) -> Work:
        """[K] the work that is really done; where steps overlap ``work`` is a bound."""
        return self.work if self.overlap is None else self.overlap.done

    @property
    def overlaps(self) -> BoolArray:
        """[K] whether several batches of a row, or parts of one, are under way at a time."""
        return np.zeros(self.num_rows, dtype=bool) if self.overlap is None else self.overlap.overlaps

    @property
    def starts(self) -> IntArray:
        """[N] first row of every client."""
        return np.searchsorted(self.client_index, np.arange(self.num_clients)).astype(np.int64)

    @property
    def weighted_progress(self) -> FloatArray:
        """[K] what a row adds to the plan's progress: data weight times progress."""
        return self.data_weight[self.client_index] * self.progress

    @property
    def gain(self) -> FloatArray:
        """[K] what a row adds to what the round latency is divided by: progress, or share of the way to the target."""
        if self.target is None or self.objective != TIME_TO_TARGET:
            return self.weighted_progress
        return self.target.gain_between(*self.level, self.target_delay)

    @property
    def target_delay(self) -> FloatArray:
        """[K] what a row puts in the way of the target, with blocks down to ``untrained_depth`` trained by nobody."""
        pilot = self.scenario.objective.pilot
        if self.target is None or pilot is None:
            return np.zeros(self.num_rows)
        weight = self.data_weight[self.client_index] * ~self.is_dropped
        return self.target.delay_at(self.untrained_depth, pilot, weight)

    @property
    def worth(self) -> FloatArray:
        """[K] gain of a row by the data of its client: its progress, unless a target is the objective."""
        if self.objective != TIME_TO_TARGET:
            return self.progress
        return self.gain / self.data_weight[self.client_index]

    @property
    def depth(self) -> IntArray:
        """[K] blocks from the lowest on that a row does not train exactly: none, those of its part, or all."""
        depth = np.where(self.trains_exactly, 0, self.cuts)
        return np.asarray(np.where(self.is_dropped, int(self.all_options["cut"].max()), depth), dtype=np.int64)

    @property
    def cuts(self) -> IntArray:
        """[K] cut of every row."""
        return self.options["cut"].to_numpy(dtype=np.int64)

    def total_progress(self, rows: IntArray) -> float:
        """Progress of a plan that takes the given row of every client ([N])."""
        return float(np.sum(self.weighted_progress[rows]))

    def total_gain(self, rows: IntArray) -> float:
        """Gain of a plan that takes the given row of every client ([N])."""
        return float(np.sum(self.gain[rows]))

    @property
    def divides_by_progress(self) -> bool:
        """True if the objective is the round latency divided by progress, or by the share of the way to the target."""
        return self.objective in (TIME_TO_PROGRESS, TIME_TO_TARGET)

    @cached_property
    def is_dropped(self) -> BoolArray:
        """[K] True for the rows that leave their client out."""
        return (self.options["mode"] == DROPPED).to_numpy()

    @cached_property
    def trains_exactly(self) -> BoolArray:
        """[K] True where the client part is trained by exact gradients, or has nothing to train.

        The server part always is, and a block lies in the server part of fewer clients the lower it is, so the share of
        the data on which the lowest trainable block is trained exactly is the least over all blocks.
        """
        mode = self.options["mode"]
        nothing_to_train = mode.isin(modes_with(Gradient.NONE)).to_numpy() & (self.progress >= 1.0)
        return np.asarray(mode.isin(modes_with(Gradient.EXACT)).to_numpy() | nothing_to_train)

    @property
    def has_penalties(self) -> bool:
        """True if some client may be dropped at a price."""
        return bool(self.penalty_s.any())

    def limit(self, name: str) -> Limit | None:
        """Return the limit of a name, or None if the problem has none."""
        return next((limit for limit in self.limits if limit.name == name), None)

    def keeps_limits(self, rows: IntArray) -> bool:
        """Say whether the plan that takes the given row of every client ([N]) keeps every limit."""
        return all(limit.keeps(limit.loads[rows].sum()) for limit in self.limits)

    def objective_s(self, round_latency_s: float, gain: float, penalty_s: float = 0.0) -> float:
        """Objective of a plan, seconds; infinite where it gains nothing and the objective divides by that.

        Parameters
        ----------
        round_latency_s, gain, penalty_s
            The plan's round latency, gain, and price of dropped clients.
        """
        if not self.divides_by_progress:
            return round_latency_s + penalty_s
        return (round_latency_s + penalty_s) / gain if gain > 0 else np.inf

    def value_of(self, rows: IntArray, round_latency_s: float) -> float:
        """What is minimised, of the plan that takes the given rows ([N]): seconds, or joules for energy."""
        if self.objective == ENERGY:
            return float(self.energy_j[rows].sum())
        return self.objective_of(rows, round_latency_s)

    def objective_of(self, rows: IntArray, round_latency_s: float) -> float:
        """Objective of the plan that takes the given rows ([N]) with a round latency, seconds."""
        return self.objective_s(round_latency_s, self.total_gain(rows), float(self.penalty_s[rows].sum()))
