"""Fronts of round latency against client memory, energy or progress, by exact epsilon-constraints.

Each point minimises the round latency under a limit on the other figure, between the tightest limit that has a plan and
one that binds no more. Every point carries a lower bound, so the front is certified from both sides.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.errors import InfeasibleError, SolverFailure, UsageError
from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.units import format_seconds
from hybridsplit.solver.planner import make_plan

if TYPE_CHECKING:
    import pandas as pd

Axis = Literal["memory", "energy", "progress"]
_BISECTIONS = 12
_STRATEGY = "static"
"""A front is of proven points: of a point that is not, nobody knows whether the limit or the search made it."""
_NEGLIGIBLE_AREA = 5e-4
"""Part of the rectangle between the front's ends below which what is unknown between two points is left alone."""


@dataclass(frozen=True)
class ParetoPoint:
    """One plan of a front.

    Parameters
    ----------
    x
        What the plan takes: peak of its fullest client relative to that client's budget (``memory``), joules of all
        clients (``energy``), or expected progress (``progress``).
    limit
        The limit it was made under, in the same unit.
    latency_s
        Round latency.
    lower_bound_s
        Lower bound on the round latency of every plan under the limit.
    """

    x: float
    limit: float
    latency_s: float
    lower_bound_s: float


@dataclass(frozen=True, repr=False)
class ParetoFront:
    """A front: points that no other point beats in both figures, by rising ``x``."""

    scenario: str
    axis: str
    points: tuple[ParetoPoint, ...]

    @property
    def rising(self) -> bool:
        """True where more of ``x`` is better (progress), so that latency rises with it."""
        return self.axis == "progress"

    @property
    def frame(self) -> pd.DataFrame:
        """One row a point, columns as the fields of :class:`ParetoPoint`."""
        import pandas as pd

        return pd.DataFrame([asdict(point) for point in self.points])

    def _repr_html_(self) -> str:
        from hybridsplit.orchestrator.views.notebook import fragment
        from hybridsplit.orchestrator.views.tables import pareto_table

        return fragment(pareto_table(front_document(self)))

    def __repr__(self) -> str:
        """Return how many points trade how much latency, in one line."""
        latencies = [format_seconds(point.latency_s) for point in self.points]
        span = f", round latency {latencies[0]} to {latencies[-1]}" if latencies else ""
        return f"ParetoFront of {self.scenario} over {self.axis}: {len(latencies)} points{span}"


def pareto_front(
    scenario: Scenario,
    options: OptionTable,
    axis: str,
    num_points: int,
    on_progress: Callable[[float], None] = lambda done: None,
) -> ParetoFront:
    """Plan for the least latency under limits, the next one where the front is known least.

    Parameters
    ----------
    scenario, options
        The scenario and its option table; its own limits hold as well.
    axis
        ``memory``: every client keeps within a share of its budget. ``energy``: a cap on all clients together.
        ``progress``: a least progress.
    num_points
        Plans to make, at most.
    on_progress
        Called with the part that is done.

    Raises
    ------
    UsageError
        If there is no such axis.
    InfeasibleError
        If the scenario has no plan at all, or energy is an axis and unknown.
    """
    if axis not in get_args(Axis):
        raise UsageError(f"unknown axis {axis!r}; needs one of {', '.join(get_args(Axis))}")
    base = _with_objective(scenario, minimise="round-latency")
    tight, loose = _ends(base, options, axis)
    sign = -1.0 if axis == "progress" else 1.0
    points: list[ParetoPoint] = []

    def solve(limit: float, earlier: Plan | None) -> tuple[ParetoPoint, Plan]:
        limited, table = _limited(base, options, axis, limit)
        plan = make_plan(limited, table, _STRATEGY, warm_start=earlier)
        point = ParetoPoint(_figure(plan, axis), limit, plan.round_latency_s, plan.lower_bound_s)
        points.append(point)
        on_progress(min(1.0, len(points) / num_points))
        return point, plan

    left, plan = solve(tight, None)
    right, _ = solve(loose, plan)
    # Between two points nothing is known but that the front falls: the largest such rectangle is looked into first.
    heap = [_Rectangle.between(left.limit, left, right, sign, plan)]
    negligible = _NEGLIGIBLE_AREA * heap[0].area
    while heap and len(points) < num_points:
        box = heapq.heappop(heap)
        if box.area <= negligible:
            break
        middle = 0.5 * (box.left_limit + sign * box.right.x)
        point, plan = solve(sign * middle, box.plan)
        if point.latency_s < box.left.latency_s * (1 - 1e-9):
            heapq.heappush(heap, _Rectangle.between(box.left_limit * sign, box.left, point, sign, box.plan))
            heapq.heappush(heap, _Rectangle.between(middle * sign, point, box.right, sign, plan))
        else:
            heapq.heappush(heap, _Rectangle.between(middle * sign, box.left, box.right, sign, box.plan))
    return ParetoFront(scenario.name, axis, _undominated(points, axis))


@dataclass(frozen=True, order=True)
class _Rectangle:
    """What is unknown between two points of a front: limits from the left one's up to the right point's figure."""

    minus_area: float
    left_limit: float = field(compare=False)
    left: ParetoPoint = field(compare=False)
    right: ParetoPoint = field(compare=False)
    plan: Plan = field(compare=False)

    @property
    def area(self) -> float:
        return -self.minus_area

    @classmethod
    def between(cls, left_limit: float, left: ParetoPoint, right: ParetoPoint, sign: float, plan: Plan) -> _Rectangle:
        width = sign * right.x - sign * left_limit
        wide_enough = width > 1e-9 * max(abs(right.x), 1e-300)
        area = width * (left.latency_s - right.latency_s) if wide_enough else 0.0
        return cls(-max(area, 0.0), sign * left_limit, left, right, plan)


def hypervolume(points: Sequence[tuple[float, float]], reference: tuple[float, float]) -> float:
    """Area between points and a reference that is worse in both, smaller being better in both.

    Parameters
    ----------
    points
        (x, y) pairs; those beyond the reference count nothing.
    reference
        The worst corner.
    """
    area, floor = 0.0, reference[1]
    for x, y in sorted(points):
        if x >= reference[0] or y >= floor:
            continue
        area += (reference[0] - x) * (floor - y)
        floor = y
    return area


def front_document(front: ParetoFront) -> dict[str, Any]:
    """Return a front as JSON values, with its hypervolume in the unit square between best and worst of both figures."""
    scaled = _scaled(front, [point.latency_s for point in front.points])
    bounds = _scaled(front, [point.lower_bound_s for point in front.points])
    return {
        "scenario": front.scenario,
        "x": front.axis,
        "y": "round_latency_s",
        "points": [
            {
                "x": point.x,
                "limit": point.limit,
                "round_latency_s": point.latency_s,
                "lower_bound_s": point.lower_bound_s,
                "gap": point.latency_s / point.lower_bound_s - 1 if point.lower_bound_s > 0 else 0.0,
            }
            for point in front.points
        ],
        "hypervolume": hypervolume(scaled, (1.0, 1.0)),
        "hypervolume_bound": hypervolume(bounds, (1.0, 1.0)),
    }


def _scaled(front: ParetoFront, latencies_s: Sequence[float]) -> list[tuple[float, float]]:
    xs = np.array([-point.x if front.rising else point.x for point in front.points])
    ys = np.array([point.latency_s for point in front.points])
    spread = [max(float(np.ptp(values)), 1e-300) if len(values) else 1.0 for values in (xs, ys)]
    if not len(xs):
        return []
    return [
        (float((x - xs.min()) / spread[0]), float((y - ys.min()) / spread[1]))
        for x, y in zip(xs, latencies_s, strict=True)
    ]


def _with_objective(scenario: Scenario, **keys: Any) -> Scenario:
    document = scenario.model_dump(mode="json")
    document["objective"].update(keys)
    return validate_scenario(document, f"the scenario {scenario.name} for a Pareto front")


def _limited(scenario: Scenario, options: OptionTable, axis: str, limit: float) -> tuple[Scenario, OptionTable]:
    if axis == "memory":
        table = options.table.copy()
        within = table["client_peak_bytes"] <= limit * table["memory_budget_bytes"]
        return scenario, OptionTable(table.assign(fits=table["fits"] & within))
    if axis == "energy":
        return _with_objective(scenario, energy_cap_j=limit), options
    return _with_objective(scenario, minimum_progress=limit), options


def _figure(plan: Plan, axis: str) -> float:
    if axis == "memory":
        return max(client.client_peak_bytes / client.memory_budget_bytes for client in plan.clients)
    if axis == "energy":
        return sum(client.client_energy_j or 0.0 for client in plan.clients)
    return plan.progress


def _ends(scenario: Scenario, options: OptionTable, axis: str) -> tuple[float, float]:
    """Tightest limit that has a plan, and one that binds no more."""
    if axis == "progress":
        free = make_plan(scenario, options, _STRATEGY)
        return _largest_feasible(scenario, options, free.progress), free.progress * (1 - 1e-9)
    if axis == "energy":
        least = make_plan(_with_objective(scenario, minimise="energy"), options, _STRATEGY)
        assert least.objective_j is not None
        return least.objective_j * (1 + 1e-9), _figure(
            make_plan(_with_objective(scenario, energy_cap_j=1e30), options, _STRATEGY), axis
        )
    fitting = options.fitting()
    share = fitting["client_peak_bytes"] / fitting["memory_budget_bytes"]
    tight = float(share.groupby(fitting["client"]).min().max())
    loose = _figure(make_plan(scenario, options, _STRATEGY), axis)
    for limit in np.unique(share[share >= tight]):
        # Server memory or other limits may need more than the leanest option of every client.
        try:
            make_plan(*_limited(scenario, options, axis, float(limit)), _STRATEGY)
        except InfeasibleError:
            continue
        return float(limit), loose
    return loose, loose


def _largest_feasible(scenario: Scenario, options: OptionTable, known: float) -> float:
    """Largest least progress that has a plan: every client's best option if they go together, else by bisection."""
    table = options.fitting()
    low, high = known, float((table["data_weight"] * table["progress"]).groupby(table["client"]).max().sum())
    middle = high * (1 - 1e-9)
    for _ in range(_BISECTIONS):
        try:
            low = max(low, make_plan(_with_objective(scenario, minimum_progress=middle), options, _STRATEGY).progress)
        except (InfeasibleError, SolverFailure):
            high = middle
        if low >= high * (1 - 1e-6):
            break
        middle = 0.5 * (low + high)
    return min(low, 1.0) * (1 - 1e-9)


def _undominated(points: Sequence[ParetoPoint], axis: str) -> tuple[ParetoPoint, ...]:
    sign = -1.0 if axis == "progress" else 1.0
    kept: list[ParetoPoint] = []
    for point in sorted(points, key=lambda p: (sign * p.x, p.latency_s)):
        if not kept or point.latency_s < kept[-1].latency_s * (1 - 1e-9):
            kept.append(point)
    return tuple(sorted(kept, key=lambda p: p.x))
