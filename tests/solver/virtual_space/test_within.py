"""Within a period: dual feasible functions, pricing against all plans, refusals against enumeration, and the clock."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridsplit.profiler.accelerators.space import virtual_space
from hybridsplit.scenarios.contracts.virtual_space import VirtualSpace
from hybridsplit.scenarios.errors import SolverFailure
from hybridsplit.solver.virtual_space import search, strategies, within
from hybridsplit.solver.virtual_space.columns import Column, make_column
from hybridsplit.solver.virtual_space.decisions import RULES, answers, keeps
from hybridsplit.solver.virtual_space.dual_feasible import NUM_FUNCTIONS, counted_sizes
from hybridsplit.solver.virtual_space.enumerate import all_parts
from hybridsplit.solver.virtual_space.periods import fits_memories, period_of
from hybridsplit.solver.virtual_space.pool import Clock, Pool
from hybridsplit.solver.virtual_space.relaxation import Relaxation
from hybridsplit.solver.virtual_space.within import WithinPeriod
from tests.solver.virtual_space.tasks import random_task


def forever() -> Clock:
    return Clock(time.monotonic() + 60)


def every_plan(space: VirtualSpace, app: int) -> list[Column]:
    return [make_column(space, app, parts) for parts in all_parts(space, app)]


def shortest_period(space: VirtualSpace) -> float:
    choices = itertools.product(*(every_plan(space, app) for app in range(len(space.apps))))
    return min((period_of(space, one) for one in choices if fits_memories(space, one)), default=np.inf)


@given(sizes=st.lists(st.floats(0, 1), min_size=1, max_size=8))
@settings(max_examples=300, deadline=None)
def test_sizes_that_fit_together_count_for_no_more_than_one_by_any_function(sizes: list[float]) -> None:
    total = sum(sizes)
    fitting = np.array(sizes) / max(1.0, total)
    counted = counted_sizes(fitting)
    assert counted.shape == (NUM_FUNCTIONS, len(sizes))
    assert (counted.sum(axis=1) <= 1 + 1e-9).all()
    assert (counted >= 0).all()


def test_halves_exclude_each_other() -> None:
    assert counted_sizes(np.array([0.51, 0.5, 0.34, np.inf])).tolist() == [
        [0.51, 0.5, 0.34, 0.0],
        [1.0, 0.0, 0.0, 0.0],
        [0.5, 0.5, 0.5, 0.0],
    ]


@given(seed=st.integers(0, 10_000), factor=st.floats(0.6, 1.6))
@settings(max_examples=15, deadline=None)
def test_a_period_is_found_or_refused_as_enumeration_says(seed: int, factor: float) -> None:
    space = virtual_space(random_task(seed, apps=2))
    shortest = shortest_period(space)
    if not np.isfinite(shortest):
        assert WithinPeriod(space, 1e6, Pool(space)).search(forever()).is_refused
        return
    period = shortest * factor
    for rule in RULES:
        tried = WithinPeriod(space, period, Pool(space))
        refused = tried.is_refused(forever())
        answer = tried.search(forever(), rule=rule)
        if period >= shortest:
            assert not refused
            assert answer.choice is not None
            assert period_of(space, answer.choice) <= period * (1 + 1e-9)
            assert fits_memories(space, answer.choice)
        else:
            assert answer.is_refused
            assert answer.choice is None


@given(seed=st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_what_a_plan_follows_leaves_no_other_plan(seed: int) -> None:
    space = virtual_space(random_task(seed, apps=1, devices=3, cuts=2))
    plans = every_plan(space, 0)
    if not plans:
        return
    chosen = plans[seed % len(plans)]
    tried = WithinPeriod(space, 1e6, Pool(space))
    allowed = tried._root[0]
    for decision in answers(chosen):
        allowed = decision.narrowed(allowed)
    assert [one.parts for one in plans if keeps(allowed, one.parts)] == [chosen.parts]


@given(seed=st.integers(0, 10_000), factor=st.floats(1.0, 4.0))
@settings(max_examples=8, deadline=None)
def test_least_joules_are_those_of_enumeration(seed: int, factor: float) -> None:
    document = random_task(seed, apps=2).resolved()
    for group in document["accelerators"]:
        group["radio_power_w"] = 0.08
    space = virtual_space(type(random_task(seed)).model_validate(document, strict=False))
    shortest = shortest_period(space)
    if not np.isfinite(shortest):
        return
    most_s = shortest * factor
    choices = itertools.product(*(every_plan(space, app) for app in range(2)))
    fitting = [one for one in choices if fits_memories(space, one) and period_of(space, one) <= most_s]
    least = min(sum(one.energy_j for one in choice) for choice in fitting)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "ENUMERATED", 0)
        found = search.Search(space, 1e-4, forever(), most_s).run()
    assert found is not None
    assert found.objective == pytest.approx(least, rel=2e-4)
    assert found.lower_bound <= least * (1 + 1e-9)


class Ticks:
    """A clock that goes on by one whenever it is read."""

    def __init__(self) -> None:
        self.now_s = 0

    def __call__(self) -> float:
        self.now_s += 1
        return float(self.now_s)


@pytest.mark.parametrize("limit", [1, 5, 20, 60])
def test_no_work_begins_after_the_deadline(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    space = virtual_space(random_task(3, apps=3, devices=3, cuts=2))
    ticks, late = Ticks(), []
    solve = Relaxation.solve

    def watched(self: Relaxation) -> object:
        late.append(ticks.now_s > limit)
        return solve(self)

    monkeypatch.setattr(Relaxation, "solve", watched)
    monkeypatch.setattr(search, "ENUMERATED", 0)
    monkeypatch.setattr(search.Search, "_mixed", lambda *_: within.Answer(None, False))
    found = search.Search(space, 0.0, Clock(float(limit), ticks)).run()
    assert sum(late) <= 1
    assert found is None or found.lower_bound <= found.objective


def test_running_out_of_time_is_told_from_having_no_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = random_task(3, apps=2)
    monkeypatch.setattr(search, "ENUMERATED", 0)
    limits = strategies.SearchLimits(0.01, 0.0)
    with pytest.raises(
        SolverFailure, match=r"no plan was found in 0.* and none is ruled out; raise search\.time_limit_s"
    ):
        strategies.Joint().choose(virtual_space(scenario), limits)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=6, deadline=None)
def test_a_search_that_begins_with_a_choice_returns_nothing_worse(seed: int) -> None:
    space = virtual_space(random_task(seed, apps=3, devices=3))
    cold = search.Search(space, 0.05, forever()).run()
    if cold is None:
        return
    warm = search.Search(space, 0.05, forever()).run(cold.columns)
    assert warm is not None
    assert warm.objective <= cold.objective * (1 + 1e-12)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "ENUMERATED", 0)
        kept = search.Search(space, 0.05, forever()).run(cold.columns)
        stopped = search.Search(space, 0.0, Clock(time.monotonic() - 1)).run(cold.columns)
    assert kept is not None
    assert kept.columns == cold.columns or kept.objective < cold.objective, "what is good enough stays as it is"
    assert stopped is not None
    assert [one.parts for one in stopped.columns] == [one.parts for one in cold.columns]
