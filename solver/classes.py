"""The problem without repetition: identical clients become one class with a count, dominated options are dropped.

A thousand clients made of ten groups are ten classes; the dual then costs the same as for ten clients. An option that
is no better than another of its client in any respect is never needed: replacing it keeps every constraint and does not
worsen either objective.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from solver.arrays import BoolArray, FloatArray, IntArray
from solver.costs import Work
from solver.problem import PlanningProblem


@dataclass(frozen=True)
class Classes:
    """``C`` classes of identical clients with ``R`` options in all.

    Parameters
    ----------
    problem
        The problem that the classes stand for.
    rows
        [R] row of the problem: the option as the first member of its class has it.
    row_class
        [R] class of every option, rising.
    starts
        [C] first option of every class.
    count
        [C] number of clients.
    members
        Clients of every class, as indices into the problem's clients.
    work
        [R] seconds and transfers of one client.
    gain
        [R] progress that one client adds to the plan.
    memory
        [R] share of the server's memory that one client takes; all zero when memory couples nobody.
    full_share_s
        [R] latency with every resource to itself: no deadline below it can be met.
    """

    problem: PlanningProblem
    rows: IntArray
    row_class: IntArray
    starts: IntArray
    count: IntArray
    members: tuple[IntArray, ...]
    work: Work
    gain: FloatArray
    memory: FloatArray
    full_share_s: FloatArray

    @property
    def num_clients(self) -> int:
        """Number of clients over all classes."""
        return self.problem.num_clients

    @property
    def memory_couples(self) -> bool:
        """True if the server's memory can bind."""
        return bool(self.memory.any())

    @property
    def largest_gain(self) -> float:
        """Progress when every client takes its best option."""
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
            first = int(starts[clients[0]])
            for client in clients:
                row = first + int(problem_rows[client] - starts[client])
                counts[position[row] if row in position else self._dominating(row, c)] += 1
        return counts

    def rows_of(self, counts: IntArray) -> IntArray:
        """[N] problem rows of a plan given as counts [R]; members of a class take options in order."""
        starts = self.problem.starts
        chosen = np.zeros(self.num_clients, dtype=np.int64)
        for c, clients in enumerate(self.members):
            options = np.arange(self.starts[c], self.starts[c] + self.options_per_class[c])
            taken = np.repeat(self.rows[options], counts[options]) - starts[clients[0]]
            chosen[clients] = starts[clients] + taken
        return chosen

    @property
    def options_per_class(self) -> IntArray:
        """[C] number of options of every class."""
        return np.diff(np.append(self.starts, len(self.rows)))

    def _dominating(self, row: int, c: int) -> int:
        matrix = _criteria(self.problem)
        options = np.arange(self.starts[c], self.starts[c] + self.options_per_class[c])
        better = np.all(matrix[self.rows[options]] <= matrix[row], axis=1)
        return int(options[np.argmax(better)])


def classify(problem: PlanningProblem) -> Classes:
    """Group identical clients and drop dominated options."""
    starts, matrix = problem.starts, _criteria(problem)
    ends = np.append(starts[1:], problem.num_rows)
    groups: dict[tuple[object, ...], list[int]] = {}
    for i, client in enumerate(problem.clients):
        own = slice(starts[i], ends[i])
        key = (client.link, float(problem.data_weight[i]), matrix[own].tobytes(), problem.uplink_bits[own].tobytes())
        groups.setdefault(key, []).append(i)
    members = tuple(np.array(group, dtype=np.int64) for group in groups.values())
    kept = [starts[m[0]] + np.flatnonzero(_undominated(matrix[starts[m[0]] : ends[m[0]]])) for m in members]
    rows: IntArray = np.concatenate(kept).astype(np.int64)
    sizes = np.array([len(part) for part in kept])
    first = (np.cumsum(sizes) - sizes).astype(np.int64)
    count = np.array([len(m) for m in members], dtype=np.int64)
    memory = np.zeros(len(rows))
    if problem.server_memory_bytes:
        state = problem.server_state_bytes[rows]
        if int(count @ np.maximum.reduceat(state, first)) > problem.server_memory_bytes:
            memory = state / problem.server_memory_bytes
    work = problem.work.take(rows)
    return Classes(
        problem=problem,
        rows=rows,
        row_class=np.repeat(np.arange(len(members)), sizes),
        starts=first,
        count=count,
        members=members,
        work=work,
        gain=problem.gain[rows],
        memory=memory,
        full_share_s=work.latency_s(1.0),
    )


def _criteria(problem: PlanningProblem) -> FloatArray:
    """[K, 6] everything a plan wants small."""
    work = problem.work
    columns = (
        work.compute_s,
        problem.uplink_bits,
        work.downlink_s,
        work.server_s,
        -problem.gain,
        problem.server_state_bytes,
    )
    return np.stack([np.asarray(column, dtype=float) for column in columns], axis=1)


def _undominated(matrix: FloatArray) -> BoolArray:
    """[k] False for options that another is at least as good as in all respects; of equal ones the first stays."""
    no_worse = np.all(matrix[:, None, :] <= matrix[None, :, :], axis=2)
    earlier = np.tri(len(matrix), k=-1, dtype=bool).T
    beats = no_worse & (~no_worse.T | earlier)
    return np.asarray(~beats.any(axis=0))
