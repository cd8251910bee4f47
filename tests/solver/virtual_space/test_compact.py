"""The compact programme and the local search against all plans: what parts add, refusals, and plans chosen anew."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.virtual_space import instance
from hybridsplit.profiler.accelerators.space import virtual_space
from hybridsplit.scenarios.contracts.virtual_space import VirtualSpace
from hybridsplit.scenarios.inference.schema import InferenceScenario
from hybridsplit.solver.virtual_space import compact
from hybridsplit.solver.virtual_space.columns import Column, make_column
from hybridsplit.solver.virtual_space.enumerate import all_parts
from hybridsplit.solver.virtual_space.neighbourhoods import Neighbourhoods
from hybridsplit.solver.virtual_space.periods import fits_memories, period_of
from hybridsplit.solver.virtual_space.planner import make_inference_plan
from hybridsplit.solver.virtual_space.pool import Clock
from hybridsplit.solver.virtual_space.reassign import Reassignment
from hybridsplit.solver.virtual_space.search import Search
from tests.solver.virtual_space.tasks import random_task


def task(seed: int, *, equal_links: bool = True, **keys: int) -> VirtualSpace:
    """A random space; its apps may begin and end on one device."""
    document = random_task(seed, **keys).resolved()
    if equal_links:
        for group in document["accelerators"]:
            group["link_bps"] = document["accelerators"][0]["link_bps"]
    return virtual_space(InferenceScenario.model_validate(document, strict=False))


def every_plan(space: VirtualSpace, app: int) -> list[Column]:
    return [make_column(space, app, parts) for parts in all_parts(space, app)]


def walks(space: VirtualSpace) -> Reassignment:
    return Reassignment(space, np.random.default_rng(0))


@given(seed=st.integers(0, 10_000), equal_links=st.booleans())
@settings(max_examples=25, deadline=None)
def test_parts_add_up_to_what_their_plan_takes(seed: int, equal_links: bool) -> None:
    space = task(seed, equal_links=equal_links, apps=1, devices=3, cuts=2)
    of = walks(space)
    scale = np.ones((1, 7))
    scale[:, :4] = 1e-6
    variables = compact._variables(of, scale)
    part, limit, size = compact._sizes(of, variables, scale)
    names = list(zip(variables.device, variables.start, variables.end, variables.way, strict=True))
    for plan in every_plan(space, 0):
        chosen = [names.index((one.device, one.start, one.end, int(one.reloads))) for one in plan.parts]
        added = np.zeros(3 * 7)
        of_plan = np.isin(part, chosen)
        np.add.at(added, limit[of_plan], size[of_plan])
        takes = of.plan(0, plan.parts)[1] * scale[0]
        if equal_links:
            assert added == pytest.approx(takes.ravel(), rel=1e-9, abs=1e-15)
        else:
            assert (added <= takes.ravel() + 1e-12).all(), "a hop is counted for no more than it takes"


def shortest_period(space: VirtualSpace) -> float:
    choices = itertools.product(*(every_plan(space, app) for app in range(len(space.apps))))
    return min((period_of(space, one) for one in choices if fits_memories(space, one)), default=np.inf)


@given(seed=st.integers(0, 10_000), factor=st.floats(0.6, 1.6), equal_links=st.booleans(), by_layers=st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_period_is_decided_as_enumeration_says(seed: int, factor: float, equal_links: bool, by_layers: bool) -> None:
    space = task(seed, equal_links=equal_links, apps=2)
    shortest = shortest_period(space)
    period = shortest * factor if np.isfinite(shortest) else 1e6
    answer = compact.decided(walks(space), period, 10.0, by_layers=by_layers)
    if answer.choice is not None:
        assert period_of(space, answer.choice) <= period * (1 + 1e-9)
        assert fits_memories(space, answer.choice)
    if period >= shortest * (1 + 1e-9):
        assert not answer.is_refused, "no period that a choice keeps is refused"
    elif period < shortest * (1 - 1e-6):
        assert answer.choice is None
        assert answer.is_refused or not (equal_links and answer.is_exact), "where links are equal, it is decided"


@given(seed=st.integers(0, 10_000), apps=st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_layers_are_sums_of_flows_so_that_both_state_the_same(seed: int, apps: int) -> None:
    space = task(seed, apps=apps, devices=2, cuts=2, layers=4)
    of = walks(space)
    variables = compact._variables(of, np.full((apps, 7), 1e-6))
    shares = np.random.default_rng(seed).random(len(variables.app))

    def off(form: compact._Rows) -> np.ndarray:
        rows, columns, values, wanted = form
        sums = -wanted
        for row, column, value in zip(rows, columns, values, strict=True):
            np.add.at(sums, row, value * shares[column])
        return sums

    flows, layers = off(compact._flows(of, variables)), off(compact._layers(of, variables))
    # Whatever shares are chosen: what leaves the places up to a layer and has not come back runs that layer.
    places = np.split(flows, np.cumsum([app.num_layers + 1 for app in space.apps])[:-1])
    assert layers == pytest.approx(np.concatenate([np.cumsum(one)[:-1] for one in places]), abs=1e-9)
    assert all(abs(one.sum()) < 1e-9 for one in places), "the last place says nothing that the others do not"


@given(seed=st.integers(0, 10_000), equal_links=st.booleans(), factor=st.floats(0.3, 0.999))
@settings(max_examples=25, deadline=None)
def test_a_choice_is_changed_only_where_it_may_differ_and_refused_as_enumeration_says(
    seed: int, equal_links: bool, factor: float
) -> None:
    space = task(seed, equal_links=equal_links, apps=2, devices=3, layers=2)
    plans = [every_plan(space, app) for app in range(2)]
    choices = [one for one in itertools.product(*plans) if fits_memories(space, one)]
    if not choices:
        return
    draw = np.random.default_rng(seed)
    best = choices[draw.integers(len(choices))]
    free = draw.random((2, 3)) < 0.6
    most = period_of(space, best) * factor

    def differs_where_it_may(choice: tuple[Column, ...]) -> bool:
        return all(
            free[app, part.device] or part in best[app].parts
            for app, column in enumerate(choice)
            for part in column.parts
        )

    shortest = min(period_of(space, one) for one in choices if differs_where_it_may(one))
    answer = compact.decided(walks(space), most, 10.0, near=(best, free))
    if answer.choice is not None:
        assert fits_memories(space, answer.choice)
        assert differs_where_it_may(answer.choice)
        assert shortest * (1 - 1e-9) <= period_of(space, answer.choice) <= most * (1 + 1e-9)
    if most >= shortest * (1 + 1e-9):
        assert not answer.is_refused, "no period that a choice keeps is refused"
        assert answer.choice is not None or not (equal_links and answer.is_exact)
    elif most < shortest * (1 - 1e-6):
        assert answer.choice is None


@pytest.mark.parametrize("is_of_devices", [True, False])
def test_a_neighbourhood_has_the_busiest_unit_and_the_size_it_is_drawn_for(is_of_devices: bool) -> None:
    space = task(5, apps=3, devices=3)
    best = next(
        one for one in itertools.product(*(every_plan(space, app) for app in range(3))) if fits_memories(space, one)
    )
    around = Neighbourhoods(walks(space), 0.01, Clock(np.inf))
    busy = np.sum([one.busy_s for one in best], axis=0)
    device, unit = np.unravel_index(int(np.argmax(busy)), busy.shape)
    for size in (1, 2, 3):
        free = around.neighbourhood(best, size, is_of_devices)
        assert free.sum() == size * 3
        if is_of_devices:
            assert free[:, device].all()
        else:
            assert any(free[one.app].all() for one in best if one.busy_s[device, unit] > 0)


def test_a_choice_that_cannot_be_shortened_is_left_as_it_is() -> None:
    space = task(5, apps=3, devices=3, layers=2)
    found = Search(space, 1e-6, Clock(time.monotonic() + 30)).run()
    assert found is not None
    around = Neighbourhoods(walks(space), 0.0, Clock(time.monotonic() + 30))
    assert around.search(found.columns, 0.0, 1.0) == found.columns


@given(seed=st.integers(0, 10_000), equal_links=st.booleans())
@settings(max_examples=15, deadline=None)
def test_an_app_planned_anew_has_its_shortest_period_at_once(seed: int, equal_links: bool) -> None:
    space = task(seed, equal_links=equal_links, apps=1, devices=3)
    plans = [one for one in every_plan(space, 0) if fits_memories(space, [one])]
    if not plans:
        return
    shortest = min(period_of(space, [one]) for one in plans)
    found = walks(space).search(shortest * (1 + 1e-6), Clock(time.monotonic() + 10))
    assert found is not None
    assert period_of(space, found) <= shortest * (1 + 2e-6)
    assert walks(space).search(shortest * 0.999, Clock(time.monotonic() + 10), most_sweeps=5) is None


def test_no_choice_is_met_twice_as_shorter_and_what_does_not_fit_is_not_kept() -> None:
    space = task(3, apps=2)
    of = walks(space)
    choices = [list(one) for one in itertools.product(*(every_plan(space, app) for app in range(2)))]
    for choice in choices:
        noted = of.note(choice)
        assert noted == (period_of(space, choice) if fits_memories(space, choice) else np.inf)
    assert of.best_s == shortest_period(space)
    assert of.best is not None
    assert fits_memories(space, of.best)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_the_bound_of_a_larger_search_is_below_every_choice_of_another_seed(seed: int) -> None:
    space = task(seed, apps=5, devices=4, cuts=2, layers=5)
    found = Search(space, 0.01, Clock(time.monotonic() + 5)).run()
    if found is None:
        return
    other = Reassignment(space, np.random.default_rng(seed + 1))
    other.search(found.lower_bound * 0.999, Clock(time.monotonic() + 5), most_sweeps=2000)
    assert other.best_s >= found.lower_bound * (1 - 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("link", "seed"),
    [("8 Mbit/s", 6), ("8 Mbit/s", 26), ("8 Mbit/s", 19), ("50 Mbit/s", 13), ("50 Mbit/s", 15), ("50 Mbit/s", 23)],
)
def test_eight_apps_on_eight_devices_come_to_within_a_percent(link: str, seed: int) -> None:
    scenario = instance(8, 8, link, seed)
    # Seconds on an idle machine; how many is a question for benchmarks/virtual_space.py.
    plan = make_inference_plan(scenario, virtual_space(scenario), time_limit_s=300)
    assert plan.gap <= 0.01


@pytest.mark.slow
def test_a_period_that_links_forbid_is_refused_beside_one_that_a_choice_keeps() -> None:
    space = virtual_space(instance(8, 8, "8 Mbit/s", 10))
    of = walks(space)
    assert compact.decided(of, 5.0e-3, 60.0).is_refused
    clock = Clock(time.monotonic() + 60)
    while of.best_s > 5.23e-3 and not clock.is_over():
        of.search(5.23e-3, clock, most_sweeps=40)
    assert of.best_s <= 5.23e-3
