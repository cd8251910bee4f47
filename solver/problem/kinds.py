"""The problem without repetition: identical clients become one kind with a count, dominated options are dropped.

A thousand clients made of ten groups are ten kinds; the dual then costs the same as for ten clients. An option that
is no better than another of its client in any respect is never needed: replacing it keeps every constraint and does not
worsen either objective.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from hybridsplit.solver.problem.alike_rows import first_alike
from hybridsplit.solver.problem.arrays import BoolArray, FloatArray, IntArray
from hybridsplit.solver.problem.costs import Work
from hybridsplit.solver.problem.limits import Limit
from hybridsplit.solver.problem.planning_problem import ENERGY, PlanningProblem

_PRUNE_MAX_KINDS = 400


@dataclass(frozen=True)
class ClientKinds:
    """``C`` kinds of identical clients with ``R`` options in all.

    Parameters
    ----------
    problem
        The problem that the kinds stand for.
    rows
        [R] row of the problem: the option as the first member of its kind has it.
    row_kind
        [R] kind of every option, rising.
    starts
        [C] first option of every kind.
    count
        [C] number of clients.
    members
        Clients of every kind, as indices into the problem's clients.
    work
        [R] seconds and transfers of one client.
    progress
        [R] progress that one client adds to the plan.
    penalty_s
        [R] seconds that one client adds to the objective: the price of leaving it out.
    gain
        [R] what the latency is weighed against, see :attr:`is_ratio`.
    loads
        [M, R] share of every limit that one client takes; limits that no plan can break are left out.
    limits
        M names of the limits.
    full_share_s
        [R] latency with every resource to itself: no deadline below it can be met.
    """

    problem: PlanningProblem
    rows: IntArray
    row_kind: IntArray
    starts: IntArray
    count: IntArray
    members: tuple[IntArray, ...]
    work: Work
    progress: FloatArray
    penalty_s: FloatArray
    gain: FloatArray
    loads: FloatArray
    limits: tuple[Limit, ...]
    full_share_s: FloatArray

    @property
    def num_clients(self) -> int:
        """Number of clients over all kinds."""
        return self.problem.num_clients

    @property
    def is_ratio(self) -> bool:
        """True where plans are compared by latency over gain.

        That is time-to-progress, and every objective with prices of dropped clients: a plan's latency ``T``, prices
        ``P`` and progress ``G`` beat a reference objective ``θ`` exactly if ``(T + P)/G < θ``, that is ``T < θ·(G −
        P/θ)``; so with the gain ``G − P/θ`` it is the same search (``G = 1`` for round latency). Our reconstruction.
        """
        return self.problem.divides_by_progress or self.problem.has_penalties

    def relative_to(self, reference_s: float) -> ClientKinds:
        """Return the kinds with gains for comparing with a plan of a known objective, seconds.

        A lower bound on latency over gain is then a lower bound on the objective as long as the reference is no better
        than the optimum.
        """
        base = self.progress if self.problem.divides_by_progress else np.full(len(self.rows), 1.0 / self.num_clients)
        gain = base - self.penalty_s / reference_s if self.problem.has_penalties else base
        return replace(self, gain=gain)

    @property
    def trivial_bound_s(self) -> float:
        """Lower bound on the objective that needs no search: every client alone, and each at its best gain."""
        if not self.is_ratio:
            return self.least_deadline_s * (1 - 1e-9)
        return self.least_deadline_s / max(self.largest_gain, np.finfo(float).tiny) * (1 - 1e-9)

    def objective_s(self, latency_s: float, counts: IntArray) -> float:
        """Objective of a plan given as counts [R], with its round latency, seconds."""
        return self.problem.objective_s(latency_s, float(counts @ self.progress), float(counts @ self.penalty_s))

    def keeps(self, counts: IntArray) -> bool:
        """Say whether a plan given as counts [R] keeps every limit; server memory to the byte."""
        return all(limit.keeps((counts @ limit.loads[self.rows]).item()) for limit in self.problem.limits)

    @property
    def largest_gain(self) -> float:
        """Gain when every client takes its best option."""
        return float(np.sum(self.count * np.maximum.reduceat(self.gain, self.starts)))

    @property
    def least_deadline_s(self) -> float:
        """Latency of the client that is slowest with every resource to itself."""
        return float(np.minimum.reduceat(self.full_share_s, self.starts).max())

    def counts_of(self, problem_rows: IntArray) -> IntArray:
        """[R] how many clients take each option of a plan given as problem rows [N].

        A dropped, dominated option counts as one that dominates it.
        """
        starts, position = self.problem.starts, {int(row): i for i, row in enumerate(self.rows)}
        counts = np.zeros(len(self.rows), dtype=np.int64)
        for c, clients in enumerate(self.members):
            offsets, times = np.unique(problem_rows[clients] - starts[clients], return_counts=True)
            for row, number in zip((starts[clients[0]] + offsets).tolist(), times.tolist(), strict=True):
                counts[position[row] if row in position else self._dominating(row, c)] += number
        return counts

    def rows_of(self, counts: IntArray) -> IntArray:
        """[N] problem rows of a plan given as counts [R]; members of a kind take options in order."""
        starts = self.problem.starts
        chosen = np.zeros(self.num_clients, dtype=np.int64)
        for c, clients in enumerate(self.members):
            options = np.arange(self.starts[c], self.starts[c] + self.options_per_kind[c])
            taken = np.repeat(self.rows[options], counts[options]) - starts[clients[0]]
            chosen[clients] = starts[clients] + taken
        return chosen

    @cached_property
    def options_per_kind(self) -> IntArray:
        """[C] number of options of every kind."""
        return np.diff(np.append(self.starts, len(self.rows)))

    def _dominating(self, row: int, c: int) -> int:
        matrix = _criteria(self.problem)
        options = np.arange(self.starts[c], self.starts[c] + self.options_per_kind[c])
        better = np.all(matrix[self.rows[options]] <= matrix[row], axis=1)
        return int(options[np.argmax(better)])


def group_alike(problem: PlanningProblem) -> ClientKinds:
    """Group identical clients and drop dominated options."""
    starts, matrix = problem.starts, _criteria(problem)
    ends = np.append(starts[1:], problem.num_rows)
    columns = (*matrix.T, problem.uplink_bits)
    first_of = first_alike(problem.clients, starts, problem.num_rows, columns, [problem.data_weight])
    number: dict[tuple[object, ...], int] = {}
    kind = np.zeros(problem.num_clients, dtype=np.int64)
    for i in np.unique(first_of).tolist():
        own = slice(starts[i], ends[i])
        link, weight = problem.clients[i].link, float(problem.data_weight[i])
        key = (link, weight, matrix[own].tobytes(), problem.uplink_bits[own].tobytes())
        kind[i] = number.setdefault(key, len(number))
    kind = kind[first_of]
    in_order = np.argsort(kind, kind="stable")
    members = tuple(np.split(in_order, np.cumsum(np.bincount(kind))[:-1]))
    # Where clients are many and all different, finding what is dominated takes longer than pricing it.
    prune = _undominated if len(members) <= _PRUNE_MAX_KINDS else _everything
    kept = [starts[m[0]] + np.flatnonzero(prune(matrix[starts[m[0]] : ends[m[0]]])) for m in members]
    rows: IntArray = np.concatenate(kept).astype(np.int64)
    sizes = np.array([len(part) for part in kept])
    first = (np.cumsum(sizes) - sizes).astype(np.int64)
    count = np.array([len(m) for m in members], dtype=np.int64)
    limits = tuple(limit for limit in problem.limits if _can_bind(limit, rows, first, count))
    loads = [limit.loads[rows] / max(limit.capacity, np.finfo(float).tiny) for limit in limits]
    work = problem.work.take(rows)
    return ClientKinds(
        problem=problem,
        rows=rows,
        row_kind=np.repeat(np.arange(len(members)), sizes),
        starts=first,
        count=count,
        members=members,
        work=work,
        progress=problem.gain[rows],
        penalty_s=problem.penalty_s[rows],
        gain=problem.gain[rows],
        loads=np.array(loads, dtype=float).reshape(len(loads), len(rows)),
        limits=limits,
        full_share_s=work.latency_s(1.0),
    )


def _can_bind(limit: Limit, rows: IntArray, starts: IntArray, count: IntArray) -> bool:
    return not limit.keeps(float(count @ np.maximum.reduceat(limit.loads[rows], starts)))


def _criteria(problem: PlanningProblem) -> FloatArray:
    """[K, 6 + limits (+ 1)] everything a plan wants small."""
    work = problem.work
    columns = (
        work.compute_s,
        problem.uplink_bits,
        work.downlink_s,
        work.server_s,
        -problem.gain,
        problem.penalty_s,
        *(limit.loads for limit in problem.limits),
        *([problem.energy_j] if problem.objective == ENERGY else []),
    )
    return np.stack([np.asarray(column, dtype=float) for column in columns], axis=1)


def _everything(matrix: FloatArray) -> BoolArray:
    return np.ones(len(matrix), dtype=bool)


def _undominated(matrix: FloatArray) -> BoolArray:
    """[k] False for options that another is at least as good as in all respects; of equal ones the first stays."""
    no_worse = np.all(matrix[:, None, :] <= matrix[None, :, :], axis=2)
    earlier = np.tri(len(matrix), k=-1, dtype=bool).T
    beats = no_worse & (~no_worse.T | earlier)
    return np.asarray(~beats.any(axis=0))
