"""The joint programme against enumeration of every choice, its bound, and the baselines."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridsplit.profiler.accelerators.space import virtual_space
from hybridsplit.scenarios.contracts.virtual_space import VirtualSpace
from hybridsplit.scenarios.errors import InfeasibleError
from hybridsplit.scenarios.inference.schema import InferenceScenario
from hybridsplit.solver.verify.inference_plan import inference_violations
from hybridsplit.solver.virtual_space import search
from hybridsplit.solver.virtual_space.columns import KERNEL, Column, dominates, make_column, memory_capacities
from hybridsplit.solver.virtual_space.enumerate import all_parts, num_plans, undominated
from hybridsplit.solver.virtual_space.fairness import fair_rates
from hybridsplit.solver.virtual_space.periods import period_of
from hybridsplit.solver.virtual_space.planner import make_inference_plan
from hybridsplit.solver.virtual_space.pool import Clock
from hybridsplit.solver.virtual_space.pricing import cheapest_by_weights
from hybridsplit.solver.virtual_space.strategies import BASELINES, INFERENCE_STRATEGIES
from tests.solver.virtual_space.tasks import random_task


def every_plan(space: VirtualSpace, app: int) -> list[Column]:
    return [make_column(space, app, parts) for parts in all_parts(space, app)]


def brute_force(space: VirtualSpace) -> float:
    """Shortest period over every choice that fits, by plain enumeration; infinite where none does."""
    best = np.inf
    capacities = memory_capacities(space)
    plans = [every_plan(space, app) for app in range(len(space.apps))]
    for choice in itertools.product(*plans):
        held = np.sum([one.held for one in choice], axis=0)
        held[:, KERNEL] += np.max([one.loading_bytes for one in choice], axis=0)
        if (held <= capacities).all():
            best = min(best, period_of(space, choice))
    return best


def searched(space: VirtualSpace) -> search.Choice | None:
    return search.Search(space, 1e-6, Clock(time.monotonic() + 30)).run()


@given(seed=st.integers(0, 10_000), apps=st.integers(1, 3), reloads=st.booleans())
@settings(max_examples=12, deadline=None)
def test_the_programme_equals_enumeration_for_up_to_three_apps(seed: int, apps: int, reloads: bool) -> None:
    space = virtual_space(random_task(seed, apps=apps, layers=2 if apps == 3 else 3, reloads=reloads))
    wanted, found = brute_force(space), searched(space)
    if not np.isfinite(wanted):
        assert found is None
        return
    assert found is not None
    assert found.objective == pytest.approx(wanted, rel=1e-6)
    assert found.lower_bound <= wanted * (1 + 1e-6)


@given(seed=st.integers(0, 10_000), apps=st.integers(1, 3))
@settings(max_examples=10, deadline=None)
def test_generated_columns_never_miss_the_best_choice_by_more_than_the_gap(seed: int, apps: int) -> None:
    space = virtual_space(random_task(seed, apps=apps, layers=2 if apps == 3 else 3))
    wanted = brute_force(space)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "ENUMERATED", 0)
        found = searched(space)
    if not np.isfinite(wanted):
        assert found is None
        return
    assert found is not None
    assert found.objective >= wanted * (1 - 1e-9), "no choice is better than the best"
    assert found.lower_bound <= wanted * (1 + 1e-6), "the bound holds"
    if not found.is_stopped:
        assert found.objective == pytest.approx(wanted, rel=1e-5)


@given(seed=st.integers(0, 10_000), cuts=st.integers(0, 2))
@settings(max_examples=20, deadline=None)
def test_the_shortest_path_is_the_cheapest_of_all_plans(seed: int, cuts: int) -> None:
    space = virtual_space(random_task(seed, apps=1, devices=3, cuts=cuts))
    weights = np.random.default_rng(seed).random((3, 4))
    paid = [float((weights * one.busy_s).sum()) for one in every_plan(space, 0)]
    found = cheapest_by_weights(space, 0, weights)
    if found is None:
        assert not paid
        return
    assert float((weights * make_column(space, 0, found).busy_s).sum()) == pytest.approx(min(paid))


@given(seed=st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_dominated_plans_are_never_needed(seed: int) -> None:
    space = virtual_space(random_task(seed, apps=1, devices=2))
    plans = every_plan(space, 0)
    kept = undominated(plans)
    assert len(plans) <= num_plans(space, 0)
    assert all(any(dominates(one, plan) for one in kept) for plan in plans)
    assert not any(dominates(one, other) for one, other in itertools.permutations(kept, 2))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("minimise", ["period", "throughput"])
def test_every_strategys_plan_is_verified_and_none_beats_the_joint_one(seed: int, minimise: str) -> None:
    scenario = random_task(seed, apps=3, devices=3, objective={"minimise": minimise})
    space = virtual_space(scenario)
    best = make_inference_plan(scenario, space)
    for name in INFERENCE_STRATEGIES:
        try:
            plan = make_inference_plan(scenario, space, name)
        except InfeasibleError as error:
            assert str(error).startswith(name)  # noqa: PT017
            continue
        assert list(inference_violations(plan, scenario, space)) == []
        assert plan.period_s >= best.period_s * (1 - 1e-9)
        assert plan.period_s >= best.lower_bound_s * (1 - 1e-9)
    assert len(BASELINES) == 7


@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_fair_rates_are_held_back_by_a_busy_unit_each(seed: int) -> None:
    scenario = random_task(seed, apps=3, devices=3)
    space = virtual_space(scenario)
    draw = np.random.default_rng(seed)
    plans = [every_plan(space, app) for app in range(3)]
    columns = [one[draw.integers(len(one))] for one in plans if one]
    if len(columns) < 3:
        return
    rates = fair_rates(space, columns)
    uses = np.array([one.busy_s.ravel() for one in columns])
    load = rates @ uses
    assert (load <= 1 + 1e-9).all()
    assert min(rates) == pytest.approx(1 / period_of(space, columns))
    for app in range(3):
        full = np.flatnonzero((load >= 1 - 1e-9) & (uses[app] > 0))
        # On one full unit that it uses, no other app is faster.
        assert any(rates[app] >= max(rates[uses[:, unit] > 0]) - 1e-9 for unit in full)


def test_fixed_rates_take_their_share_first() -> None:
    free = random_task(3, apps=2, devices=2)
    document = free.resolved()
    document["apps"][0]["rate_hz"] = 5.0
    scenario = InferenceScenario.model_validate(document, strict=False)
    space = virtual_space(scenario)
    plan = make_inference_plan(scenario, space)
    assert plan.apps[0].rate_hz == 5.0
    assert list(inference_violations(plan, scenario, space)) == []
    choices = itertools.product(*(every_plan(space, app) for app in range(2)))
    capacities = memory_capacities(space)

    def fits(choice: tuple[Column, ...]) -> bool:
        held = np.sum([one.held for one in choice], axis=0)
        held[:, KERNEL] += np.max([one.loading_bytes for one in choice], axis=0)
        return bool((held <= capacities).all())

    wanted = min(period_of(space, choice) for choice in choices if fits(choice))
    assert plan.period_s == pytest.approx(wanted, rel=1e-6)
    assert plan.lower_bound_s <= wanted * (1 + 1e-6)


def test_least_energy_within_a_period() -> None:
    document = random_task(5, apps=2, devices=2).resolved()
    for group in document["accelerators"]:
        group["radio_power_w"] = 0.08
    base = InferenceScenario.model_validate(document, strict=False)
    shortest = make_inference_plan(base, virtual_space(base)).period_s
    joules = []
    for factor in (1.0, 1.5, 20.0):
        document["objective"] = {"minimise": "energy", "most_period_s": shortest * factor * (1 + 1e-6)}
        scenario = InferenceScenario.model_validate(document, strict=False)
        space = virtual_space(scenario)
        plan = make_inference_plan(scenario, space)
        assert plan.objective_j is not None
        assert list(inference_violations(plan, scenario, space)) == []
        joules.append(plan.objective_j)
    assert joules == sorted(joules, reverse=True), "a longer period never costs joules"
    document["objective"]["most_period_s"] = shortest / 2
    scenario = InferenceScenario.model_validate(document, strict=False)
    with pytest.raises(InfeasibleError, match=r"objective\.most_period_s"):
        make_inference_plan(scenario, virtual_space(scenario))


def test_a_warm_start_keeps_what_is_still_possible_when_apps_and_devices_come_and_go() -> None:
    scenario = random_task(8, apps=3, devices=3)
    before = make_inference_plan(scenario, virtual_space(scenario))
    document = scenario.resolved()
    left = {**document, "apps": document["apps"][:2]}
    fewer = InferenceScenario.model_validate(left, strict=False)
    again = make_inference_plan(fewer, virtual_space(fewer), warm_start=before)
    cold = make_inference_plan(fewer, virtual_space(fewer))
    assert again.period_s == pytest.approx(cold.period_s, rel=1e-6)
    joined = {**document, "accelerators": [*document["accelerators"], {**document["accelerators"][0], "group": "new"}]}
    more = InferenceScenario.model_validate(joined, strict=False)
    assert make_inference_plan(more, virtual_space(more), warm_start=before).period_s <= before.period_s * (1 + 1e-6)
