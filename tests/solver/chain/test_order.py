"""Orders of forward and backward: the recursion, its bound, and what depths of warm-up do."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridsplit.solver.chain.order import (
    Crossing,
    Stage,
    best_warm_ups,
    directions,
    one_forward_one_backward,
    step_seconds,
)

SECONDS = st.floats(min_value=0.0, max_value=3.0)
STAGES = st.lists(
    st.builds(
        lambda f, b, u, d, delay: Stage(f + 0.01, b, 0.0, (Crossing(u, d, delay, delay),), 64),
        SECONDS, SECONDS, SECONDS, SECONDS, SECONDS,
    ),
    min_size=1, max_size=4,
)  # fmt: skip


def without_last_link(stages: Sequence[Stage]) -> list[Stage]:
    last = stages[-1]
    return [*stages[:-1], Stage(last.forward_s, last.backward_s, last.update_s, (), last.most_warm_up)]


def bound_s(stages: Sequence[Stage], number: int) -> float:
    """The bound of a step, written out for single links."""
    links = [stage.links[0] for stage in stages[:-1]]
    busy = [stage.forward_s + stage.backward_s for stage in stages]
    crossing = [link.up_s + link.down_s + link.up_delay_s + link.down_delay_s for link in links]
    total = sum(busy) + sum(crossing)
    longest = max([0.0, *(max(link.up_s, link.down_s) for link in links)])
    before = [sum(busy[:k]) + sum(crossing[:k]) for k in range(len(stages))]
    return max(total + (number - 1) * longest, *(r + number * n for r, n in zip(before, busy, strict=True)))


@given(st.integers(1, 12), st.integers(1, 12))
def test_an_order_runs_every_micro_batch_both_ways_and_holds_no_more_than_its_depth(number: int, depth: int) -> None:
    depth = min(depth, number)
    held, most, forward, backward = 0, 0, 0, 0
    for is_forward in directions(number, depth):
        held += 1 if is_forward else -1
        forward, backward = forward + is_forward, backward + (not is_forward)
        most = max(most, held)
        assert held >= 0
    assert (forward, backward, most) == (number, number, depth)


@given(STAGES, st.integers(1, 8))
def test_no_order_is_below_the_bound(drawn: list[Stage], number: int) -> None:
    stages = without_last_link(drawn)
    for depths in depths_of(len(stages), number):
        assert step_seconds(stages, depths, number) >= bound_s(stages, number) * (1 - 1e-9)


def depths_of(num_stages: int, number: int) -> Iterator[tuple[int, ...]]:
    yield from itertools.islice(itertools.combinations_with_replacement(range(number, 0, -1), num_stages), 40)


@given(STAGES)
def test_one_micro_batch_takes_the_sum(drawn: list[Stage]) -> None:
    stages = without_last_link(drawn)
    assert step_seconds(stages, [1] * len(stages), 1) == pytest.approx(bound_s(stages, 1))


def test_depths_that_rise_are_refused() -> None:
    stage = Stage(1.0, 1.0, 0.0, (Crossing(0.1, 0.1),), 8)
    with pytest.raises(ValueError, match="rise along the chain"):
        step_seconds([stage, Stage(1.0, 1.0, 0.0, (), 8)], [1, 2], 4)


def random_stages(rng: np.random.Generator, num_stages: int) -> list[Stage]:
    return [
        Stage(
            float(rng.uniform(0.05, 1)), float(rng.uniform(0.1, 2)), 0.0,
            (Crossing(float(rng.uniform(0.05, 1.5)), float(rng.uniform(0.05, 1.5))),) if k < num_stages - 1 else (), 64,
        )
        for k in range(num_stages)
    ]  # fmt: skip


def test_the_best_depths_are_near_the_bound_and_no_worse_than_1f1b() -> None:
    ratios = []
    for seed in range(60):
        stages = random_stages(np.random.default_rng(seed), 3)
        depths, seconds = best_warm_ups(stages, 8)
        one = step_seconds(stages, one_forward_one_backward(stages, 8), 8)
        assert seconds <= one
        assert seconds == step_seconds(stages, depths, 8)
        ratios.append(seconds / bound_s(stages, 8))
    assert np.median(ratios) < 1.02
    assert max(ratios) < 1.25


def test_few_depths_are_all_tried() -> None:
    for seed in range(20):
        stages = random_stages(np.random.default_rng(seed), 3)
        every = itertools.combinations_with_replacement(range(4, 0, -1), 2)
        best = min(step_seconds(stages, (*rest, 1), 4) for rest in every)
        assert best_warm_ups(stages, 4)[1] == best


def test_memory_limits_depths() -> None:
    stages = random_stages(np.random.default_rng(1), 3)
    small = [Stage(s.forward_s, s.backward_s, s.update_s, s.links, 2) for s in stages]
    depths, seconds = best_warm_ups(small, 8)
    assert max(depths) <= 2
    assert seconds >= best_warm_ups(stages, 8)[1]
