"""A front of seconds against another figure: what a planner is asked, where it looks next, and what a front is worth.

Each point is a plan under a limit on the other figure, between the tightest limit that has a plan and one that binds no
more. Every point carries a lower bound, so the front is known from both sides.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar

import numpy as np

from hybridsplit.scenarios.units import format_seconds

if TYPE_CHECKING:
    import pandas as pd

Axis = Literal["memory", "energy", "progress"]
PlanT = TypeVar("PlanT")
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
        What is small: seconds of a round, or over relays what the objective minimises.
    lower_bound_s
        Lower bound on it for every plan under the limit.
    """

    x: float
    limit: float
    latency_s: float
    lower_bound_s: float


@dataclass(frozen=True, repr=False)
class ParetoFront:
    """A front: points that no other point beats in both figures, by rising ``x``."""

    scenario: str
    axis: Axis
    points: tuple[ParetoPoint, ...]
    minimised: str = "round latency"
    """What the seconds are of."""

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
        span = f", {self.minimised} {latencies[0]} to {latencies[-1]}" if latencies else ""
        return f"ParetoFront of {self.scenario} over {self.axis}: {len(latencies)} points{span}"


class FrontProblem(Protocol[PlanT]):
    """A planner that can be asked for the least seconds under a limit on one figure."""

    @property
    def name(self) -> str:
        """Name of the scenario."""

    @property
    def axis(self) -> Axis:
        """Which figure is limited."""

    @property
    def minimised(self) -> str:
        """What the seconds are of, in words."""

    def ends(self) -> tuple[float, float]:
        """Return the tightest limit that has a plan, and one that binds no more."""

    def solve(self, limit: float, earlier: PlanT | None) -> tuple[ParetoPoint, PlanT]:
        """Plan under a limit; ``earlier`` is a plan under a limit no less tight."""


def front_over(
    problem: FrontProblem[PlanT], num_points: int, on_progress: Callable[[float], None] = lambda done: None
) -> ParetoFront:
    """Plan for the least seconds under limits, the next one where the front is known least.

    Parameters
    ----------
    problem
        What is planned.
    num_points
        Plans to make, at most.
    on_progress
        Called with the part that is done.

    Raises
    ------
    InfeasibleError
        If there is no plan at all.
    """
    tight, loose = problem.ends()
    sign = -1.0 if problem.axis == "progress" else 1.0
    points: list[ParetoPoint] = []

    def solve(limit: float, earlier: PlanT | None) -> tuple[ParetoPoint, PlanT]:
        found = problem.solve(limit, earlier)
        points.append(found[0])
        on_progress(min(1.0, len(points) / num_points))
        return found

    left, plan = solve(tight, None)
    right, _ = solve(loose, plan)
    # Between two points nothing is known but that the front falls: the largest such rectangle is looked into first.
    heap: list[_Rectangle[PlanT]] = [_Rectangle.between(left.limit, left, right, sign, plan)]
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
    return ParetoFront(problem.name, problem.axis, _undominated(points, problem.axis), problem.minimised)


@dataclass(frozen=True, order=True)
class _Rectangle(Generic[PlanT]):
    """What is unknown between two points of a front: limits from the left one's up to the right point's figure."""

    minus_area: float
    left_limit: float = field(compare=False)
    left: ParetoPoint = field(compare=False)
    right: ParetoPoint = field(compare=False)
    plan: PlanT = field(compare=False)

    @property
    def area(self) -> float:
        return -self.minus_area

    @classmethod
    def between(
        cls, left_limit: float, left: ParetoPoint, right: ParetoPoint, sign: float, plan: PlanT
    ) -> _Rectangle[PlanT]:
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
    seconds = f"{front.minimised.replace(' ', '_')}_s"
    return {
        "scenario": front.scenario,
        "x": front.axis,
        "y": seconds,
        "points": [
            {
                "x": point.x,
                "limit": point.limit,
                seconds: point.latency_s,
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
        (float((x - xs.min()) / spread[0]), max(0.0, float((y - ys.min()) / spread[1])))
        for x, y in zip(xs, latencies_s, strict=True)
    ]


def _undominated(points: Sequence[ParetoPoint], axis: str) -> tuple[ParetoPoint, ...]:
    sign = -1.0 if axis == "progress" else 1.0
    kept: list[ParetoPoint] = []
    for point in sorted(points, key=lambda p: (sign * p.x, p.latency_s)):
        if not kept or point.latency_s < kept[-1].latency_s * (1 - 1e-9):
            kept.append(point)
    return tuple(sorted(kept, key=lambda p: p.x))
