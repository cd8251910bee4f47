"""Why every client got its option, by counterfactual.

At the plan's deadline and prices every option has a value (``hybridsplit.solver.bound.dual``). A limit decided an
option if, with that limit lifted for this client alone, another one would be worth more. Memory is named exactly where
more of it saves something, with the same option (``hybridsplit.solver.explain.marginal_values``).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hybridsplit.scenarios.contracts.alike import alike
from hybridsplit.scenarios.contracts.option_rows import OptionRows
from hybridsplit.scenarios.contracts.placement import described
from hybridsplit.scenarios.units import format_bytes
from hybridsplit.solver.bound.dual import DualPoint, latency_certificate, most_gain
from hybridsplit.solver.explain.marginal_values import Counterfactuals
from hybridsplit.solver.problem.alike_rows import AlikeRows
from hybridsplit.solver.problem.arrays import BoolArray, FloatArray, IntArray
from hybridsplit.solver.problem.build import everything_of
from hybridsplit.solver.problem.costs import SharingRule, StaticShares, Work
from hybridsplit.solver.problem.kinds import group_alike
from hybridsplit.solver.problem.limiting import limits_of
from hybridsplit.solver.problem.limits import SERVER_MEMORY, Limit
from hybridsplit.solver.problem.links import FixedUplink
from hybridsplit.solver.problem.planning_problem import PlanningProblem
from hybridsplit.solver.problem.usable_rows import DROPPED, fits, permitted

_TOLERANCE = 1e-6
_IMPATIENCE = 1e-4
"""Weight of speed among options of equal value: far below any difference that prices make."""


@dataclass(frozen=True)
class _Lifted:
    """A limit that can be lifted: its words, the work it then leaves (of work and device seconds), and the rows."""

    words: str
    lifted: Callable[[Work, FloatArray], Work]
    lifts_memory: bool = False
    lifts_server_memory: bool = False


_LIMITS = (
    _Lifted("memory", lambda work, _: work, lifts_memory=True),
    _Lifted("server memory: with more of it", lambda work, _: work, lifts_server_memory=True),
    _Lifted(
        "uplink: if it were free", lambda work, _: replace(work, uplink=FixedUplink(np.zeros_like(work.compute_s)))
    ),
    _Lifted("downlink: if it were free", lambda work, _: replace(work, downlink_s=np.zeros_like(work.compute_s))),
    _Lifted("server: if it were free", lambda work, _: replace(work, server_s=np.zeros_like(work.compute_s))),
    _Lifted(
        "device speed: if it computed in no time",
        lambda work, device_s: replace(work, compute_s=work.compute_s - device_s),
    ),
)
"""In the order of the questions; the first limit that changes the choice is named."""


def reasons(
    problem: PlanningProblem,
    rows: IntArray,
    round_latency_s: float,
    found: Counterfactuals,
    rule: SharingRule = StaticShares(),
) -> list[str]:
    """Name what decided each client's option.

    Parameters
    ----------
    problem
        The planning problem.
    rows
        [N] row of the problem for every client.
    round_latency_s
        Deadline at which options are valued: the plan's round latency.
    found
        What more of each resource would save. Where it knows nothing of a client's memory, memory is judged by prices,
        as all other limits are.
    rule
        How the plan's clients share resources.

    Returns
    -------
    list of str
        One sentence for every client.
    """
    point = _point(problem, rows, round_latency_s, rule) if round_latency_s > 0 else None
    if point is None:
        return ["no limit: the round takes no time"] * problem.num_clients
    kinds = _Kinds.of(problem, rows, found)
    of_kind = _of_kinds(problem, rows, kinds, _Asked(point, round_latency_s, rule))
    return [of_kind[one] for one in kinds.kind.tolist()]


@dataclass(frozen=True)
class _Asked:
    """Where the plan stands, at which deadline, and how its clients share resources."""

    point: _Point
    deadline_s: float
    rule: SharingRule


@dataclass(frozen=True)
class _Kinds:
    """Clients that have the same limits, rows and choice, so that the same reason holds for them.

    Parameters
    ----------
    kind
        [N] the kind of every client.
    few
        All rows of the option table of the first client of every kind.
    usable
        [K] which of those rows a plan may use.
    chosen
        [C] the plan's row among them.
    memory_row, memory_is_known
        [C] the row that more memory would bring, -1 where none; and whether that is known.
    """

    kind: IntArray
    few: PlanningProblem
    usable: BoolArray
    chosen: IntArray
    memory_row: IntArray
    memory_is_known: BoolArray

    @classmethod
    def of(cls, problem: PlanningProblem, rows: IntArray, found: Counterfactuals) -> _Kinds:
        frame, clients = problem.all_options, problem.clients
        usable = np.zeros(len(frame), dtype=bool)
        usable[problem.place] = True
        starts = np.searchsorted(frame.client, np.arange(len(clients))).astype(np.int64)
        chosen = problem.place[rows] - starts
        memory = np.where(found.memory_row >= 0, found.memory_row - starts, -1)
        equal_rows = AlikeRows.of(frame, clients, [usable]).first
        first, kind = alike((equal_rows, chosen, memory, found.memory_is_known))
        few = everything_of(problem, first)
        place = np.isin(frame.client, first)
        begin = few.starts
        few = replace(few, limits=_limits_of_few(problem, few, usable[place]))
        memory_row = np.where(memory[first] >= 0, begin + memory[first], -1)
        return cls(kind, few, usable[place], begin + chosen[first], memory_row, found.memory_is_known[first])


def _limits_of_few(problem: PlanningProblem, few: PlanningProblem, usable: BoolArray) -> tuple[Limit, ...]:
    """Return the limits with the loads of some clients' rows, and the capacities that all clients have."""
    of_all = {limit.name: limit for limit in problem.limits}
    return tuple(
        replace(limit, capacity=of_all[limit.name].capacity, slack=of_all[limit.name].slack)
        for limit in limits_of(few, usable)
        if limit.name in of_all
    )


def _of_kinds(problem: PlanningProblem, rows: IntArray, kinds: _Kinds, asked: _Asked) -> list[str]:
    """Return the reason of every kind ([C])."""
    few, usable, chosen = kinds.few, kinds.usable, kinds.chosen
    memory_bytes, state = problem.server_memory_bytes, few.server_state_bytes
    room = np.inf if memory_bytes is None else memory_bytes - problem.server_state_bytes[rows].sum()
    frame = few.options
    allowed = permitted(frame, few.client_index, few.clients, problem.scenario)
    allowed &= np.isfinite(few.work.latency_s(1.0))
    valued = _Valued(few, asked.point, asked.deadline_s, problem.num_clients, asked.rule)
    values = valued.of(few.work, asked.point)
    best = _argmax(few, values, usable)
    device_s = frame["client_compute_s"].to_numpy(dtype=float)
    rivals: list[tuple[_Lifted, IntArray, BoolArray]] = []
    for limit in _LIMITS:
        freed = _without_server_memory(asked.point) if limit.lifts_server_memory else asked.point
        lifted = valued.of(limit.lifted(few.work, device_s), freed)
        rival = _argmax(few, lifted, _pool(limit, usable, allowed, fits(frame)))
        changes = lifted[rival] > lifted[chosen] + valued.tolerance
        changes &= state[rival] - state[chosen] > room if limit.lifts_server_memory else rival != best
        if limit.lifts_memory:
            rival = np.where(kinds.memory_row >= 0, kinds.memory_row, rival)
            changes = np.where(kinds.memory_is_known, kinds.memory_row >= 0, changes)
        rivals.append((limit, rival, changes))
    gains = values[best] > values[chosen] + valued.tolerance
    names_batch = len(problem.scenario.training.candidate_batch_sizes) > 1
    named = _Naming.of(
        frame, [best, *(rival for _, rival, _ in rivals)], names_batch=names_batch, has_others=problem.num_clients > 1
    )
    return [_sentence(named, i, int(best[i]), bool(gains[i]), rivals) for i in range(len(chosen))]


def _pool(limit: _Lifted, usable: BoolArray, allowed: BoolArray, fitting: BoolArray) -> BoolArray:
    """[K] rows to choose from once a limit is lifted."""
    if limit.lifts_memory:
        return usable | (allowed & ~fitting)
    return usable | (allowed & fitting) if limit.lifts_server_memory else usable


@dataclass(frozen=True)
class _Point:
    """Multipliers at the plan's deadline, with the prices of limits by name."""

    dual: DualPoint
    reference_s: float
    limit_prices: dict[str, float]


def _without_server_memory(point: _Point) -> _Point:
    return replace(point, limit_prices=point.limit_prices | {SERVER_MEMORY: 0.0})


def _point(problem: PlanningProblem, rows: IntArray, deadline_s: float, rule: SharingRule) -> _Point | None:
    reference_s = max(problem.objective_of(rows, deadline_s), np.finfo(float).tiny)
    kinds = group_alike(problem).relative_to(reference_s)
    if kinds.is_ratio:
        solution = most_gain(kinds, rule, deadline_s, smoothing=1e-6)
    else:
        solution = latency_certificate(kinds, rule, deadline_s, smoothing=1e-6)
    if solution is None:
        return None
    prices = dict(zip((limit.name for limit in kinds.limits), solution.point.limit_prices.tolist(), strict=True))
    return _Point(solution.point, reference_s, prices)


class _Valued:
    """Values of rows at the prices of a plan of some number of clients, and at its deadline."""

    def __init__(
        self, everything: PlanningProblem, point: _Point, deadline_s: float, num_clients: int, rule: SharingRule
    ) -> None:
        self._rule = rule
        self._everything, self._deadline_s = everything, deadline_s
        share = float(point.dual.prices.sum() + sum(point.limit_prices.values()) + point.dual.gain_weight)
        share /= num_clients
        self.tolerance = _TOLERANCE * share
        self._impatience = _IMPATIENCE * share

    def of(self, work: Work, point: _Point) -> FloatArray:
        """[K] value of every row; −inf where even the whole resources are too slow.

        Among options equal in value, as all are at prices of zero, the faster one counts a little more.
        """
        everything = self._everything
        with np.errstate(invalid="ignore"):
            alone_s = work.latency_s(1.0)
            timely = alone_s <= self._deadline_s * (1 + _TOLERANCE)
        values = np.full(everything.num_rows, -np.inf)
        priced = self._rule.price(work.take(timely), point.dual.prices, self._deadline_s)
        gain = everything.gain if everything.divides_by_progress else np.zeros(everything.num_rows)
        gain = gain - everything.penalty_s / point.reference_s
        values[timely] = point.dual.gain_weight * gain[timely] - priced.value
        for limit in everything.limits:
            price = point.limit_prices.get(limit.name, 0.0)
            if price > 0:
                values[timely] -= price * limit.loads[timely] / limit.capacity
        values[timely] -= self._impatience * alone_s[timely] / self._deadline_s
        return values


def _argmax(everything: PlanningProblem, values: FloatArray, pool: BoolArray) -> IntArray:
    """[N] best row of every client within a pool."""
    masked = np.where(pool, values, -np.inf)
    order = np.lexsort((-masked, ~pool, everything.client_index))
    return np.asarray(order[everything.starts], dtype=np.int64)


@dataclass(frozen=True)
class _Naming:
    """Names options in words, with their batch size where several are offered."""

    options: Mapping[int, Mapping[Hashable, Any]]
    names_batch: bool
    has_others: bool
    """Whether there is more than one client."""

    @classmethod
    def of(cls, frame: OptionRows, rows: list[IntArray], *, names_batch: bool, has_others: bool) -> _Naming:
        """Take what names the options of some rows."""
        named = np.unique(np.concatenate(rows))
        columns = [
            "cut", "mode", "batch_size", "staleness", "upload_every", "head_blocks", "micro_batches",
            "client_peak_bytes",
            "memory_budget_bytes",
        ]  # fmt: skip
        options = frame.frame(named)[columns].to_dict("records")
        return cls(dict(zip(named.tolist(), options, strict=True)), names_batch, has_others)

    def what(self, row: int) -> str:
        """Name the option of a row."""
        option = self.options[row]
        if option["mode"] == DROPPED:
            return "being left out"
        return described(option, names_batch=self.names_batch)


def _sentence(
    named: _Naming, client: int, best: int, gains: bool, rivals: list[tuple[_Lifted, IntArray, BoolArray]]
) -> str:
    for limit, rival, changes in rivals:
        if not changes[client]:
            continue
        other = named.options[int(rival[client])]
        what = named.what(int(rival[client]))
        if limit.lifts_memory:
            need, budget = format_bytes(other["client_peak_bytes"]), format_bytes(other["memory_budget_bytes"])
            return f"memory: would take {what}, which needs {need} of {budget}"
        return f"{limit.words}, {what} would be taken"
    if gains and named.has_others:
        what = named.what(best)
        return f"the other clients: by itself {what} would pay, but the shared resources do not stretch to it"
    return "no limit: with more memory, a free link or server, or a faster device the same option would be taken"
