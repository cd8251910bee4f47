"""Lower bound for any schedule where all clients meet between steps, as with one server model for all.

A round is then a sum of segments, each as long as the slowest client takes. A linear programme mixes the options of
every client and gives each segment its own length, which is at least

* what a client takes in it alone;
* the work of a set of options on a resource, the least seconds before any of them first needs it, and the least after
  any has last used it (the bound of one machine with heads and tails, which holds with preemption and with divided
  resources alike: Carlier, "The one-machine sequencing problem", 1982).

Rates of a link that are not linear in the band carry more where many share it for long. There, the work of an option is
what a constant share would take of the band in the longest segment that a better plan can have, which is a linear
programme too.

Of the sets, those that options of late heads or long tails make are added as long as the solution breaks one. What is
returned is the Lagrangian bound at the programme's duals, by sums of our own, and so does not rest on the tolerances of
a solver. Mixing sets over options and the ratio of objectives are our construction (docs/methods/planning.md, Two
bounds).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from hybridsplit.scenarios.contracts.jobs import SHARED
from hybridsplit.solver.bound.segments import Segments
from hybridsplit.solver.dispatch.sequences import UPLINK, Sequences
from hybridsplit.solver.dispatch.walk import ends_s
from hybridsplit.solver.problem.arrays import FloatArray, IntArray
from hybridsplit.solver.problem.kinds import group_alike
from hybridsplit.solver.problem.links import FixedUplink
from hybridsplit.solver.problem.planning_problem import ENERGY, PlanningProblem

_MOST_ROWS = 20_000
"""Rows of all kinds of clients up to which the programme is made."""
_MOST_PASSES = 40
_MOST_SETS = 6
"""Sets that are added a segment and resource in one pass."""
_SUPPORT = 1e-7
_BROKEN = 1e-6
"""Relative violation of a set's inequality from which on it is added."""
_SETTLED = 1e-7
_MOST_WINDOWS = 4
"""How often the longest segments of better plans are looked for, each time with what the last bound leaves of them."""
_WORTH_ANOTHER = 1e-3
_ROOM, _ROOM_S = 1e-4, 1e-6
"""Added to the longest segments: more than the tolerance of the solver that found them, relative and in seconds."""
_SAFETY = 1e-9


def bound_between_meetings(problem: PlanningProblem, chosen: IntArray, is_over: Callable[[], bool]) -> float:
    """Return a lower bound on the objective under any schedule; 0 where there is nothing to say.

    Parameters
    ----------
    problem
        A problem whose steps synchronise, with an objective in seconds, in which no steps overlap.
    chosen
        [N] rows of a plan: served one at a time, the one with most left first, it bounds what is of interest.
    is_over
        Stops the search for sets when it returns True; the bound holds all the same.
    """
    if problem.objective == ENERGY or problem.overlap is not None:
        return 0.0
    sequences = Sequences(problem)
    kept = chosen[~problem.is_dropped[chosen]]
    ended_s = max(ends_s([sequences.of(row) for row in kept.tolist()], [0.0] * len(kept)), default=0.0)
    incumbent_s = problem.objective_of(chosen, ended_s)
    if not 0 < incumbent_s < np.inf:
        return 0.0
    kinds = group_alike(problem)
    sizes = np.diff(np.append(problem.starts, problem.num_rows))
    first = np.array([members[0] for members in kinds.members])
    if sizes[first].sum() > _MOST_ROWS:
        return 0.0
    rows = np.concatenate([np.arange(problem.starts[i], problem.starts[i] + sizes[i]) for i in first])
    programme = _Programme(problem, sequences, rows, np.repeat(np.arange(len(first)), sizes[first]), kinds.count)
    return programme.bound(incumbent_s, is_over)


class _Inequality(NamedTuple):
    """``coefficients · x ≤`` length of the segment, over the rows that it names."""

    segment: int
    rows: IntArray
    coefficients: FloatArray


class _Programme:
    """The linear programme, and the sets found so far.

    Parameters
    ----------
    problem, sequences
        The planning problem, and what its rows do.
    rows, kind
        [K] rows of one client of every kind, and the kind of each.
    count
        [C] clients of every kind.
    """

    def __init__(
        self, problem: PlanningProblem, sequences: Sequences, rows: IntArray, kind: IntArray, count: IntArray
    ) -> None:
        self.problem, self.rows, self.kind, self.count = problem, rows, kind, count
        segments = [Segments.of(list(segment)) for segment in zip(*map(sequences.of, rows.tolist()), strict=True)]
        alike: dict[bytes, list[Segments]] = {}
        for segment in segments:
            alike.setdefault(segment.key, []).append(segment)
        self._segments = [of_key[0] for of_key in alike.values()]
        self._times = np.array([len(of_key) for of_key in alike.values()], dtype=float)
        self._starts = np.flatnonzero(np.diff(kind, prepend=-1))
        self._is_linear = isinstance(problem.work.uplink, FixedUplink)
        self._round_up_s = problem.work.uplink.take(rows).seconds(1.0)
        self._whole_up_s = [segment.work_s[:, UPLINK] for segment in self._segments]
        if not self._is_linear:
            none_s = np.zeros(len(rows))
            self._segments = [segment.with_work(UPLINK, none_s) for segment in self._segments]
        self.inequalities: list[_Inequality] = []
        self._begin()

    def _begin(self) -> None:
        """Start without sets: what each client takes alone, and the work of all."""
        self.inequalities = []
        for at, segment in enumerate(self._segments):
            for kind, own in enumerate(np.split(np.arange(len(self.rows)), self._starts[1:])):
                self.inequalities.append(_Inequality(at, own, segment.alone_s[own] / self.count[kind]))
            for resource in range(len(SHARED)):
                used = np.flatnonzero(segment.work_s[:, resource] > 0)
                self.inequalities.append(_Inequality(at, used, segment.work_s[used, resource]))

    def bound(self, incumbent_s: float, is_over: Callable[[], bool]) -> float:
        """Return the bound, given the objective of a plan."""
        best_s = self._bound(incumbent_s, is_over)
        for _ in range(0 if self._is_linear else _MOST_WINDOWS):
            if is_over() or not self._narrow(incumbent_s):
                break
            before_s, best_s = best_s, max(best_s, self._bound(incumbent_s, is_over))
            if best_s <= before_s * (1 + _WORTH_ANOTHER):
                break
        return best_s * (1 - _SAFETY)

    def _bound(self, incumbent_s: float, is_over: Callable[[], bool]) -> float:
        best_s, reference_s = 0.0, incumbent_s
        for _ in range(_MOST_PASSES):
            solved = self._solved(np.concatenate([self._value(reference_s), self._times]))
            if solved is None:
                break
            x, lengths_s, duals = solved
            best_s = max(best_s, self._certified(duals, incumbent_s))
            found_s = self._objective_of(x, lengths_s)
            broken = self._broken_sets(x, lengths_s)
            if is_over() or (not broken and found_s >= reference_s * (1 - _SETTLED)):
                break
            self.inequalities += broken
            reference_s = min(found_s, incumbent_s)
        return best_s

    def _narrow(self, incumbent_s: float) -> bool:
        """Take the work on a link whose rates are not linear from the longest segments of better plans."""
        num = len(self.rows)
        better = np.concatenate([self._value(incumbent_s), self._times])
        most_s = 0.0 if self.problem.divides_by_progress else incumbent_s
        longest_s: list[float] = []
        for at in range(len(self._segments)):
            wanted = np.zeros(num + len(self._segments))
            wanted[num + at] = -1.0
            solved = self._solved(wanted, (better, most_s))
            if solved is None:
                return False
            longest_s.append(float(solved[1][at]) * (1 + _ROOM) + _ROOM_S)
        uplink = self.problem.work.uplink.take(self.rows)
        for at, (window_s, whole_s) in enumerate(zip(longest_s, self._whole_up_s, strict=True)):
            used = whole_s > 0
            # A part of a round's bits takes the share that all of them take in so much more time.
            as_round_s = np.where(used, window_s * self._round_up_s / np.where(used, whole_s, 1.0), np.inf)
            share = np.minimum(uplink.share_in(np.where(used, as_round_s, 1.0))[0], 1.0)
            work_s = np.where(used, np.minimum(share * window_s, whole_s), 0.0)
            self._segments[at] = self._segments[at].with_work(UPLINK, work_s)
        self._begin()
        return True

    def _value(self, reference_s: float) -> FloatArray:
        """[K] what a row costs beside lengths, where the objective is compared with a reference."""
        penalty_s = self.problem.penalty_s[self.rows]
        if not self.problem.divides_by_progress:
            return penalty_s
        return np.asarray(penalty_s - reference_s * self.problem.gain[self.rows])

    def _objective_of(self, x: FloatArray, lengths_s: FloatArray) -> float:
        latency_s, penalty_s = float(self._times @ lengths_s), float(self.problem.penalty_s[self.rows] @ x)
        return self.problem.objective_s(latency_s, float(self.problem.gain[self.rows] @ x), penalty_s)

    def _solved(
        self, costs: FloatArray, within: tuple[FloatArray, float] | None = None
    ) -> tuple[FloatArray, FloatArray, FloatArray] | None:
        """Return mixed options [K], lengths [M], and the duals of inequalities and limits; None without a solution.

        Parameters
        ----------
        costs
            [K + M] what is minimised.
        within
            [K + M] what may be at most so much, beside all else.
        """
        from scipy.optimize import linprog  # late: a third of a second, which other plans need not pay
        from scipy.sparse import csr_array, vstack

        num, lengths = len(self.rows), len(self._segments)
        index = np.concatenate([one.rows for one in self.inequalities])
        at = np.repeat(np.arange(len(self.inequalities)), [len(one.rows) for one in self.inequalities])
        of_length = [num + one.segment for one in self.inequalities]
        limits = self.problem.limits
        loads = np.array([limit.loads[self.rows] for limit in limits], dtype=float).reshape(len(limits), num)
        limit_at, limit_row = np.nonzero(loads)
        entries = np.concatenate(
            [*(one.coefficients for one in self.inequalities), -np.ones(len(of_length)), loads[limit_at, limit_row]]
        )
        which = np.concatenate([at, np.arange(len(of_length)), len(of_length) + limit_at])
        columns = np.concatenate([index, of_length, limit_row])
        shape = (len(of_length) + len(limits), num + lengths)
        at_most = [csr_array((entries, (which, columns)), shape=shape)]
        most = [0.0] * len(of_length) + [limit.capacity + limit.slack for limit in limits]
        if within is not None:
            at_most.append(csr_array(within[0][None, :]))
            most.append(within[1])
        done = linprog(
            costs,
            A_ub=vstack(at_most),
            b_ub=np.array(most),
            A_eq=csr_array((np.ones(num), (self.kind, np.arange(num))), shape=(len(self.count), num + lengths)),
            b_eq=self.count.astype(float),
            method="highs",
        )
        if done.x is None:
            return None
        return done.x[:num], done.x[num:], np.maximum(-np.asarray(done.ineqlin.marginals), 0.0)

    def _certified(self, duals: FloatArray, objective_s: float) -> float:
        """Return the bound at duals: the largest reference at which the Lagrangian is not negative."""
        own, of_limits = duals[: len(self.inequalities)], duals[len(self.inequalities) :]
        segment = np.array([one.segment for one in self.inequalities])
        total = np.bincount(segment, weights=own, minlength=len(self._segments))
        # Lengths are free: the duals of a segment add up to how often it occurs.
        own = own * (self._times / np.where(total > 0, total, np.inf))[segment]
        cost_s = np.zeros(len(self.rows))
        for weight, one in zip(own.tolist(), self.inequalities, strict=True):
            if weight > 0:
                cost_s[one.rows] += weight * one.coefficients
        spent_s = 0.0
        for weight, limit in zip(of_limits.tolist(), self.problem.limits, strict=True):
            cost_s += weight * limit.loads[self.rows]
            spent_s += weight * (limit.capacity + limit.slack)

        def lagrangian_s(reference_s: float) -> float:
            least = np.minimum.reduceat(cost_s + self._value(reference_s), self._starts)
            return float(self.count @ least) - spent_s

        if not self.problem.divides_by_progress:
            # Work may count for better plans only, so that the plan that they are better than is a bound too.
            return float(np.clip(lagrangian_s(0.0), 0.0, objective_s))
        if lagrangian_s(0.0) < 0:
            return 0.0
        low_s, high_s = 0.0, objective_s
        if lagrangian_s(high_s) >= 0:
            return high_s
        while high_s - low_s > _SAFETY * high_s:
            middle_s = 0.5 * (low_s + high_s)
            low_s, high_s = (middle_s, high_s) if lagrangian_s(middle_s) >= 0 else (low_s, middle_s)
        return low_s

    def _broken_sets(self, x: FloatArray, lengths_s: FloatArray) -> list[_Inequality]:
        """Return inequalities of sets that a solution breaks, the most broken of every segment and resource."""
        support = np.flatnonzero(x > _SUPPORT)
        found: list[_Inequality] = []
        for at, segment in enumerate(self._segments):
            for resource in range(len(SHARED)):
                used = support[segment.work_s[support, resource] > 0]
                if len(used):
                    found += self._broken_of(at, resource, used, x, float(lengths_s[at]))
        return found

    def _broken_of(self, at: int, resource: int, used: IntArray, x: FloatArray, length_s: float) -> list[_Inequality]:
        segment = self._segments[at]
        head_s, tail_s = segment.head_s[:, resource], segment.tail_s[:, resource]
        pairs = np.unique(
            [(a, b) for a in np.unique(head_s[used]) for b in np.unique(tail_s[used])], axis=0
        )  # [P, 2] least heads and tails of sets
        inside = (head_s[used] >= pairs[:, :1]) & (tail_s[used] >= pairs[:, 1:])
        taken = inside * x[used]
        of_kind = np.zeros((len(pairs), len(self.count)))
        for kind in np.unique(self.kind[used]):
            of_kind[:, kind] = taken[:, self.kind[used] == kind].sum(axis=1) / self.count[kind]
        around_s = pairs.sum(axis=1)
        excess_s = taken @ segment.work_s[used, resource] + around_s * of_kind.max(axis=1) - length_s
        worst = np.argsort(-excess_s)[:_MOST_SETS]
        found = []
        for one in worst[excess_s[worst] > _BROKEN * max(length_s, 1e-300)].tolist():
            rows = np.flatnonzero((head_s >= pairs[one, 0]) & (tail_s >= pairs[one, 1]) & np.isfinite(head_s))
            kind = int(of_kind[one].argmax())
            coefficients = segment.work_s[rows, resource] + around_s[one] * (self.kind[rows] == kind) / self.count[kind]
            found.append(_Inequality(at, rows, coefficients))
        return found
