"""Gains on chords and tangents: sums over clients below and above what plans gain, and equal to it where they touch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hybridsplit.solver.problem.build import build_problem
from hybridsplit.solver.problem.depths import at_depth, depths_of
from hybridsplit.solver.problem.levels import at_plan, between, level_of_plan, levels_of
from hybridsplit.solver.problem.planning_problem import PlanningProblem
from hybridsplit.testing.instances import for_target, random_instance


def drawn(seed: int, **keys: object) -> tuple[PlanningProblem, np.ndarray]:
    """A problem at its deepest depth, and a hundred plans of it."""
    instance = for_target(random_instance(700 + seed, num_clients=5, num_options=4, **keys), seed)  # type: ignore[arg-type]
    problem = build_problem(instance.table, instance.scenario)
    part = at_depth(problem, depths_of(problem)[-1])
    assert part is not None
    rng = np.random.default_rng(seed)
    ends = np.append(part.starts[1:], part.num_rows)
    plans = np.array([rng.integers(part.starts, ends) for _ in range(100)])
    # Somebody takes part.
    return part, plans[~part.is_dropped[plans].all(axis=1)]


def gained(part: PlanningProblem, rows: np.ndarray) -> float:
    assert part.target is not None
    gain, delay = part.target.gain[rows].sum(), part.target_delay[rows].sum()
    return float(gain / (1 + delay / gain))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("keys", [{}, {"drop": True}])
def test_plans_gain_at_most_the_chord_and_at_least_every_tangent(seed: int, keys: dict[str, object]) -> None:
    part, plans = drawn(seed, **keys)
    low, high = levels_of(part)
    assert low < high
    for low_of, high_of in ((low, high), (low, 0.5 * (low + high))):
        chord = between(part, low_of, high_of)
        assert chord is not None
        for rows in plans:
            level = level_of_plan(part, rows)
            assert low - 1e-12 <= level <= high + 1e-12
            if low_of <= level <= high_of:
                assert chord.total_gain(rows) >= gained(part, rows) * (1 - 1e-12)
            else:
                assert chord.total_gain(rows) <= gained(part, rows) * (1 + 1e-12)
    for level in np.linspace(low, high, 7):
        tangent = replace(part, level=(float(level), float(level)))
        assert all(tangent.total_gain(rows) <= gained(part, rows) * (1 + 1e-12) for rows in plans)


@pytest.mark.parametrize("seed", range(4))
def test_the_tangent_at_a_plan_adds_up_to_what_it_gains(seed: int) -> None:
    part, plans = drawn(seed)
    for rows in plans[:20]:
        own = at_plan(part, rows)
        assert own is not None
        assert own.total_gain(rows) == pytest.approx(gained(part, rows), rel=1e-12)
        level = level_of_plan(part, rows)
        for ends in ((level, level + 0.7), (0.5 * level, level)):  # a chord is exact at its ends
            chord = between(part, *ends)
            assert chord is not None
            assert chord.total_gain(rows) == pytest.approx(gained(part, rows), rel=1e-12)


def test_nothing_in_the_way_needs_one_level() -> None:
    part, plans = drawn(1)
    assert part.target is not None
    still = np.zeros(part.num_rows)
    none = replace(part, target=replace(part.target, delay=still, estimate_delay=still), untrained_depth=0)
    assert levels_of(none) == (0.0, 0.0)
    assert none.total_gain(plans[0]) == pytest.approx(gained(none, plans[0]))
