"""Stages that several machines share: orders, depths, and the programme of training beside all cuts."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridsplit.solver.chain.order import (
    Crossing,
    Stage,
    all_forward_first,
    best_warm_ups,
    one_forward_one_backward,
    step_seconds,
    warm_ups_of,
)
from hybridsplit.solver.chain.training_bound import least_training_bound, training_bound_s
from tests.solver.chain.chains import all_cuts, random_chain

SECONDS = st.floats(min_value=0.0, max_value=3.0)
STAGES = st.lists(
    st.builds(
        lambda f, b, u, d, delay, replicas: Stage(f + 0.01, b, 0.1, (Crossing(u, d, delay, delay),), 64, replicas),
        SECONDS, SECONDS, SECONDS, SECONDS, SECONDS, st.sampled_from([1, 2, 4]),
    ),
    min_size=1, max_size=4,
)  # fmt: skip


def ended(drawn: list[Stage]) -> list[Stage]:
    """Stages without a link behind the last."""
    return [*drawn[:-1], replace(drawn[-1], links=())]


@given(STAGES, st.integers(1, 9))
def test_the_named_orders_come_to_an_end(drawn: list[Stage], number: int) -> None:
    """No two machines wait for each other: every micro-batch is through both ways, and none before the bound."""
    stages = ended(drawn)
    for depths in (
        one_forward_one_backward(stages, number),
        all_forward_first(stages, number),
        best_warm_ups(stages, number)[0],
    ):
        assert all(1 <= depth <= stage.share(number) for depth, stage in zip(depths, stages, strict=True))
        seconds = step_seconds(stages, depths, number)
        busiest = max(s.share(number) * (s.forward_s + s.backward_s) + s.update_s for s in stages)
        alone = sum(s.forward_s + s.backward_s + sum(map(sum, s.links)) for s in stages)
        assert seconds >= max(busiest, alone) * (1 - 1e-9)
        assert math.isfinite(seconds)


@given(STAGES, st.integers(1, 8))
def test_without_links_a_stage_of_replicas_is_as_fast_as_its_share(drawn: list[Stage], number: int) -> None:
    one = replace(drawn[0], links=())
    assert step_seconds([one], [1], number) == pytest.approx(
        one.share(number) * (one.forward_s + one.backward_s) + one.update_s
    )


def test_the_busiest_stage_is_relieved_by_replicas() -> None:
    """A pipeline whose second stage takes three times as long: with four replicas it is bound by the others."""
    link = (Crossing(0.0, 0.0),)
    stages = [Stage(1.0, 2.0, 0.0, link, 64), Stage(3.0, 6.0, 0.0, link, 64), Stage(1.0, 2.0, 0.0, (), 64)]
    number = 32
    seconds = {}
    for replicas in (1, 2, 4):
        shared = [stages[0], replace(stages[1], replicas=replicas), stages[2]]
        _, seconds[replicas] = best_warm_ups(shared, number)
        assert seconds[replicas] <= step_seconds(shared, one_forward_one_backward(shared, number), number)
    assert seconds[1] == pytest.approx(32 * 9.0, rel=0.1)
    assert seconds[2] == pytest.approx(16 * 9.0, rel=0.2)
    assert seconds[4] == pytest.approx(32 * 3.0, rel=0.3)


def test_1f1b_with_replicas_fills_the_machines_behind() -> None:
    """PipeDream's number: machines from a stage on, by those that share its work, rounded up."""
    stages = [Stage(1.0, 2.0, 0.0, (Crossing(0.1, 0.1),), 64, replicas) for replicas in (1, 4, 2, 1)]
    assert one_forward_one_backward(stages, 64) == (8, 2, 2, 1)
    assert all_forward_first(stages, 64) == (64, 16, 32, 64)
    assert warm_ups_of("gpipe", stages, 64)[0] == all_forward_first(stages, 64)


def test_depths_that_would_wait_for_each_other_are_refused() -> None:
    stage = Stage(1.0, 1.0, 0.0, (Crossing(0.1, 0.1),), 8)
    step_seconds([stage, replace(stage, links=(), replicas=2)], [3, 2], 8)
    with pytest.raises(ValueError, match="rise along the chain"):
        step_seconds([stage, replace(stage, links=(), replicas=2)], [2, 2], 8)


@pytest.mark.parametrize("repeats", [1, 4, 7])
def test_the_programme_of_training_equals_all_cuts(repeats: int) -> None:
    for seed in range(60):
        rng = np.random.default_rng(seed)
        chain = random_chain(rng, int(rng.integers(2, 5)), int(rng.integers(2, 6)))
        replicas = tuple(int(count) for count in rng.choice([1, 2, 4], chain.num_nodes))
        chain = replace(chain, replicas=replicas)
        found = least_training_bound(chain, repeats)
        best = min((training_bound_s(chain, cuts, repeats) for cuts in all_cuts(chain)), default=math.inf)
        assert found.value_s == pytest.approx(best, rel=1e-9) or found.value_s == best
        if found.cuts:
            assert training_bound_s(chain, found.cuts, repeats) == pytest.approx(found.value_s)


def test_more_replicas_never_raise_the_bound() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        chain = random_chain(rng, 3, 5, limited=False)
        values = [least_training_bound(replace(chain, replicas=(1, r, 1)), 8).value_s for r in (1, 2, 4)]
        assert all(more <= few * (1 + 1e-12) for few, more in itertools.pairwise(values))
