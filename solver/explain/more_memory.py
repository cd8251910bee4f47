"""Which option each client would take if more of its memory could be used, and what that would save.

Alike clients are looked into once. What the plan's prices prove to save nothing is not solved: at any prices the
priced shares of a plan that meets a deadline sum to at most one, and their sum is convex in the deadline, so its
tangent is a lower bound.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np

from hybridsplit.scenarios.contracts.options import OPTION_KEY
from hybridsplit.solver.problem.arrays import FloatArray, IntArray
from hybridsplit.solver.problem.build import everything_of
from hybridsplit.solver.problem.costs import NUM_RESOURCES, StaticShares
from hybridsplit.solver.problem.planning_problem import PlanningProblem
from hybridsplit.solver.problem.usable_rows import DROPPED, permitted
from hybridsplit.solver.shares.solution import replace_batch
from hybridsplit.solver.shares.waterfill import fill

_MOST_ROWS = 400_000
"""Rows in all plans that are solved for their shares: a second or two of work."""
_MOST_ROWS_AT_ONCE = 8_000
_ROUNDING = 1e-9
_TINY = 1e-300
_COSTS = (
    "client_compute_s", "uplink_bytes", "downlink_bytes", "server_compute_s", "client_peak_bytes",
    "memory_budget_bytes", "server_state_bytes", "client_energy_j", "progress", "data_weight",
)  # fmt: skip


@dataclass(frozen=True)
class Step:
    """An option that any one of some alike clients would take with more memory.

    Parameters
    ----------
    clients
        Indices of the clients.
    rows
        For each of them, the option's row in ``problem.all_options``.
    saves_s
        Fall of the objective if one of them takes it, seconds.
    """

    clients: IntArray
    rows: IntArray
    saves_s: float


@dataclass(frozen=True)
class MemorySteps:
    """What was found.

    Parameters
    ----------
    found
        Steps that save something, the largest saving first.
    looked_into
        All clients that were looked into, alike ones together.
    """

    found: tuple[Step, ...]
    looked_into: tuple[IntArray, ...]


def memory_steps(problem: PlanningProblem, rows: IntArray, objective_s: float, worth: float) -> MemorySteps:
    """Look for options that do not fit and would make the plan better.

    Parameters
    ----------
    problem
        The planning problem.
    rows
        [N] the plan's row of every client; its shares are the best for them.
    objective_s
        The plan's objective, seconds.
    worth
        Savings up to this fraction of the objective count as none.

    Returns
    -------
    MemorySteps
        For alike clients, of the options that fit with at most twice the budget the one that saves most, else the one
        that needs least beyond. Where kinds of clients are too many to solve all their options (hundreds), the option
        that promises most is solved for each, and where even that is too much, for those that promise most.
    """
    everything = everything_of(problem)
    chosen = problem.place[rows]
    kinds = alike_in(everything, chosen)
    first = np.array([members[0] for members in kinds])
    count = np.array([len(members) for members in kinds], dtype=float)
    trials = _trials(everything, chosen, first, count, objective_s * (1.0 - worth))
    most = max(1, _MOST_ROWS // (len(kinds) + 1))
    saved_s = _saved_s(everything, chosen[first], count, trials.take(slice(0, most)), objective_s)
    return best_steps(
        everything,
        kinds,
        Tried(trials.row[:most], trials.kind[:most], saved_s),
        worth * objective_s,
        unknown=set(trials.kind[most:].tolist()),
    )


@dataclass(frozen=True)
class Tried:
    """Options with what they save: rows, kinds of clients, and seconds, each [M]."""

    row: IntArray
    kind: IntArray
    saves_s: FloatArray


def best_steps(
    everything: PlanningProblem, kinds: list[IntArray], tried: Tried, least_s: float, unknown: set[int]
) -> MemorySteps:
    """Keep the best option of every kind.

    Parameters
    ----------
    everything
        The problem of all rows.
    kinds
        Clients of every kind.
    tried
        What was tried.
    least_s
        Savings up to this count as none, seconds.
    unknown
        Kinds of which not everything was tried.
    """
    first = [members[0] for members in kinds]
    found: dict[int, tuple[float, int]] = {}
    frame = everything.all_options
    budget = frame["memory_budget_bytes"].to_numpy(dtype=float)
    lacks = frame["client_peak_bytes"].to_numpy(dtype=float) - budget
    for kind, row, saving_s in zip(tried.kind.tolist(), tried.row.tolist(), tried.saves_s.tolist(), strict=True):
        if saving_s <= least_s:
            continue
        best = found.get(kind)
        if best is None or is_better(lacks, budget, row, saving_s, best):
            found[kind] = (float(saving_s), row)
    starts = everything.starts
    steps = [
        Step(kinds[kind], starts[kinds[kind]] + (row - starts[first[kind]]), saving_s)
        for kind, (saving_s, row) in found.items()
    ]
    known = tuple(members for kind, members in enumerate(kinds) if kind not in unknown or kind in found)
    return MemorySteps(tuple(sorted(steps, key=lambda step: (-step.saves_s, int(step.clients[0])))), known)


def is_better(lacks: FloatArray, budget: FloatArray, row: int, saves_s: float, best: tuple[float, int]) -> bool:
    """Compare two options that save something."""
    best_s, best_row = best
    near, best_near = lacks[row] <= budget[row], lacks[best_row] <= budget[best_row]
    if near != best_near:
        return bool(near)
    if near and abs(saves_s - best_s) > _ROUNDING * best_s:
        return saves_s > best_s
    return bool(lacks[row] < lacks[best_row])


@dataclass(frozen=True)
class _Trials:
    """Options to be tried, the most promising of every kind first.

    Parameters
    ----------
    row, kind
        [M] the option's row, and the kind of clients that it is for.
    prices
        [3] prices at the plan.
    """

    row: IntArray
    kind: IntArray
    prices: FloatArray

    def take(self, index: slice) -> _Trials:
        return _Trials(self.row[index], self.kind[index], self.prices)


def alike_in(everything: PlanningProblem, chosen: IntArray) -> list[IntArray]:
    """Put clients with the same link, the same rows and the same choice together: the indices [M] of every kind."""
    frame = everything.all_options
    costs = np.stack([frame[name].to_numpy(dtype=float) for name in _COSTS], axis=1)
    names = [column for column in OPTION_KEY if column != "client"]
    keys = np.stack([frame.coded(column)[0] for column in names], axis=1)
    bounds = [*everything.starts.tolist(), len(frame)]
    members: dict[Hashable, list[int]] = {}
    for i, client in enumerate(everything.clients):
        own = slice(bounds[i], bounds[i + 1])
        alike = (client.link, client.min_cut, client.energy_cap_j, client.drop_price_s, int(chosen[i]) - bounds[i])
        members.setdefault((alike, keys[own].tobytes(), costs[own].tobytes()), []).append(i)
    return [np.array(clients, dtype=np.int64) for clients in members.values()]


@dataclass(frozen=True)
class Candidates:
    """Options that do not fit, keep every limit, and may bring the objective below what is aimed at.

    Parameters
    ----------
    row, kind
        [M] the option's row, and the kind of clients that it is for.
    target_s
        [M] round latency at which the objective would be what is aimed at.
    """

    row: IntArray
    kind: IntArray
    target_s: FloatArray


def candidates(everything: PlanningProblem, chosen: IntArray, first: IntArray, aim_s: float) -> Candidates:
    """Collect what is worth trying.

    Parameters
    ----------
    everything
        The problem of all rows.
    chosen
        [N] the plan's rows in it.
    first
        [C] a client of every kind.
    aim_s
        The objective that is aimed at, seconds.
    """
    frame = everything.all_options
    kind_of = np.full(everything.num_clients, -1, dtype=np.int64)
    kind_of[first] = np.arange(len(first))
    may = permitted(frame, everything.client_index, everything.clients, everything.scenario)
    lacks_memory = (frame["client_peak_bytes"] > frame["memory_budget_bytes"]).to_numpy()
    may &= lacks_memory & (frame["mode"] != DROPPED).to_numpy() & (kind_of[everything.client_index] >= 0)
    for limit in everything.limits:
        change = limit.loads - limit.loads[chosen][everything.client_index]
        may &= limit.loads[chosen].sum() + change <= limit.capacity + limit.slack
    row = np.flatnonzero(may)
    # The deadline at which the objective would be what is aimed at.
    old = chosen[everything.client_index[row]]
    gain = everything.total_gain(chosen) + everything.gain[row] - everything.gain[old]
    penalty_s = everything.penalty_s[chosen].sum() - everything.penalty_s[old]
    target_s = (aim_s * gain if everything.divides_by_progress else np.full(len(row), aim_s)) - penalty_s
    with np.errstate(invalid="ignore", over="ignore"):
        timely = everything.work.take(row).latency_s(1.0) < target_s
    row, target_s = row[timely], target_s[timely]
    return Candidates(row, kind_of[everything.client_index[row]], target_s)


def _trials(everything: PlanningProblem, chosen: IntArray, first: IntArray, count: FloatArray, aim_s: float) -> _Trials:
    """Return what is worth trying, by what the plan's prices promise of it."""
    found = candidates(everything, chosen, first, aim_s)
    row, kind, target_s = found.row, found.kind, found.target_s
    if not len(row):
        return _Trials(row, row, np.ones(NUM_RESOURCES))
    frame = everything.all_options
    work = everything.work.take(chosen[first])
    plan = fill(replace_batch(work), count[None])
    prices, latency_s = plan.prices[0], float(plan.lower_s[0])
    now = StaticShares().price(work, prices, latency_s)
    others, slope = float(count @ now.value) - now.value[kind], float(count @ now.slope) - now.slope[kind]
    then = StaticShares().price(everything.work.take(row), prices, target_s)
    least = others + slope * (target_s - latency_s) + then.value
    # Room left at the deadline that is aimed at, in seconds, relative to it: what the option promises.
    promise = (1.0 - least) / np.maximum(-slope, _TINY) / target_s
    peak_bytes = frame["client_peak_bytes"].to_numpy(dtype=float)[row]
    beyond_bytes = np.maximum(peak_bytes - 2.0 * frame["memory_budget_bytes"].to_numpy()[row], 0.0)
    order = np.lexsort((peak_bytes, -promise, beyond_bytes, kind))
    order = order[least[order] <= 1.0 + _ROUNDING]
    begins = np.flatnonzero(np.r_[True, kind[order][1:] != kind[order][:-1]]) if len(order) else order
    place = np.arange(len(order)) - np.repeat(begins, np.diff(np.r_[begins, len(order)]))
    order = order[np.lexsort((-promise[order], place))]
    return _Trials(row[order], kind[order], prices)


def _saved_s(
    everything: PlanningProblem, chosen: IntArray, count: FloatArray, trials: _Trials, objective_s: float
) -> FloatArray:
    """[M] fall of the objective when one client of a kind takes a trial's row, all shares solved again."""
    progress = float(count @ everything.gain[chosen])
    penalty_s = float(count @ everything.penalty_s[chosen])
    saved = np.zeros(len(trials.row))
    at_once = max(1, _MOST_ROWS_AT_ONCE // (len(chosen) + 1))
    for start in range(0, len(saved), at_once):
        part = slice(start, start + at_once)
        row, kind = trials.row[part], trials.kind[part]
        index = np.concatenate([np.tile(chosen, (len(row), 1)), row[:, None]], axis=1)
        weight = np.concatenate([np.tile(count, (len(row), 1)), np.ones((len(row), 1))], axis=1)
        weight[np.arange(len(row)), kind] -= 1.0
        latency_s = fill(everything.work.take(index), weight, start=trials.prices).latency_s
        own = chosen[kind]
        gain = progress + everything.gain[row] - everything.gain[own]
        price_s = penalty_s + everything.penalty_s[row] - everything.penalty_s[own]
        value_s = [everything.objective_s(*each) for each in zip(latency_s.tolist(), gain, price_s, strict=True)]
        saved[part] = np.maximum(0.0, objective_s - np.array(value_s))
    return saved
