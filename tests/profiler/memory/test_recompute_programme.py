"""The programme for all amounts of memory at once against the plain recurrence for one; bounds against least work."""

from __future__ import annotations

import dataclasses
import functools
import math
import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridsplit.profiler.memory.blocks import ChainMemory
from hybridsplit.profiler.memory.levels import recompute_levels
from hybridsplit.profiler.memory.recompute import RecomputePlanner
from hybridsplit.profiler.memory.recompute_bound import least_work_bound
from hybridsplit.profiler.memory.step_functions import Alternative, LeastWork, least_of, one_then_other
from hybridsplit.scenarios.contracts.recompute import format_order, num_forwards
from tests.profiler.memory.test_deep_chains import chain_of


class PlainRecurrence:
    """One part of the chain and one amount of memory after another; of equal choices the first that is met."""

    def __init__(self, chain: ChainMemory, work: Sequence[float], last: int) -> None:
        self.chain, self.work = chain, [0.0, *work]
        self.outputs = [0, 0, *(block.output_bytes for block in chain.blocks)]
        self.loss = chain.loss_bytes if last == len(chain.blocks) else 0
        self.best = functools.cache(self.best)  # type: ignore[method-assign]

    def best(self, s: int, t: int, m: int, is_up: bool) -> tuple[float, str]:
        """Least work, and the order that does it."""
        block, output = self.chain.blocks[s - 1], self.outputs[s + 1]
        graph = block.lowest if s == 1 else block.inner
        assert graph is not None
        waits = 0 if is_up else self.outputs[t + 1]
        exchange = max(self.loss, self.outputs[t + 1])
        held = graph.saved_bytes + output
        down = held + output + max(graph.first_backward_bytes, graph.later_backward_bytes)
        found = (math.inf, "")
        if graph.graph_bytes + waits <= m and down <= m:
            if s < t:
                work, order = self.best(s + 1, t, m - held, is_up)
                found = self.work[s] + work, f"g{s} {order} b{s}"
            elif not is_up or held + exchange <= m:
                found = self.work[s], f"g{s} b{s}"
        if s == t and is_up:
            need = max(block.forward_bytes, output + exchange, graph.graph_bytes + output, down)
            if need <= m and 2 * self.work[s] < found[0]:
                found = 2 * self.work[s], f"k{s} g{s} b{s}"
        walked = 0.0
        for above in range(s + 1, t + 1):
            below = above - 1
            beside = self.outputs[below] if below > s else 0
            if self.chain.blocks[below - 1].forward_bytes + beside + waits > m:
                break
            walked += self.work[below]
            if m - self.outputs[above] <= 0:
                continue
            first, upper = self.best(above, t, m - self.outputs[above], is_up)
            second, lower = self.best(s, below, m, False)
            if walked + first + second < found[0]:
                between = "".join(f"a{i} " for i in range(s + 1, above))
                found = walked + first + second, f"k{s} {between}{upper} {lower}"
        return found


def repeated_chain(seed: int, length: int, kinds: int) -> tuple[ChainMemory, list[float]]:
    """Return a chain in which a few unequal blocks recur."""
    chain, work = chain_of(kinds, seed)
    draw = random.Random(seed)
    drawn = [draw.randrange(kinds) for _ in range(length)]
    blocks, below = [], 0
    for kind in drawn:
        blocks.append(dataclasses.replace(chain.blocks[kind], input_bytes=below))
        below = blocks[-1].output_bytes
    return ChainMemory(tuple(blocks), 100, 5_000), [float(round(work[kind])) for kind in drawn]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 8), st.integers(1, 3), st.integers(0, 120), st.integers(1, 8))
def test_orders_are_those_of_the_plain_recurrence(seed: int, length: int, kinds: int, thousands: int, cut: int) -> None:
    """Works are whole numbers and recur, so that choices tie often: the order is the same, not its work alone."""
    chain, work = repeated_chain(seed, length, kinds)
    cut, available = min(cut, length), 1_000 * thousands
    least, order = PlainRecurrence(chain, work, cut).best(1, cut, available, True)
    found = RecomputePlanner(chain, work).cheapest(cut, available)
    assert (format_order(found) if found is not None else "") == (order if least < math.inf else "")
    if found is not None:
        counts = num_forwards(found)
        assert sum(work[i - 1] * count for i, count in counts.items()) == least


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 4), st.sampled_from([1, 2]))
def test_no_order_does_less_work_than_the_bound(seed: int, length: int, kinds: int, num_steps: int) -> None:
    chain, work = repeated_chain(seed, length, kinds)
    planner = RecomputePlanner(chain, work)
    for level in recompute_levels(chain, planner, work, length, num_steps):
        assert level.gap == 0
        done = sum(cost * count for cost, count in zip(work, level.forwards, strict=True))
        standing_bytes = chain.standing_bytes(length, has_state=num_steps > 1)
        bound = least_work_bound(chain, work, length, level.peak_bytes - standing_bytes)
        assert bound <= done * (1 + 1e-12)
        if max(level.forwards) == 1:
            assert bound == sum(work)


def test_orders_that_stand_in_say_how_far_they_may_be_from_the_least(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a chain that both can treat: the stated gap covers the true one."""
    chain, work = chain_of(14, seed=3)
    with monkeypatch.context() as patched:
        patched.setattr("hybridsplit.profiler.memory.recompute._MOST_POINTS", 0)
        levels = recompute_levels(chain, RecomputePlanner(chain, work), work, 14, 2)
    exact = RecomputePlanner(chain, work)
    for level in levels:
        done = sum(cost * count for cost, count in zip(work, level.forwards, strict=True))
        order = exact.cheapest(14, level.peak_bytes - chain.standing_bytes(14))
        least = done if order is None else sum(work[i - 1] * count for i, count in num_forwards(order).items())
        assert done / least - 1 <= level.gap + 1e-9
    assert levels[0].gap == 0  # nothing is run twice
    assert max(level.gap for level in levels) > 0


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 9)), min_size=1, max_size=6), min_size=1, max_size=5)
)
def test_the_least_of_several_ways_is_their_minimum_at_every_amount(ways: list[list[tuple[int, int]]]) -> None:
    alternatives = [_falling(points, rank) for rank, points in enumerate(ways)]
    least = least_of(alternatives)
    for amount in range(-1, 32):
        each = [(_at(way, amount), way.rank) for way in alternatives]
        assert least.at(amount) == min(each)[0]
        if math.isfinite(least.at(amount)):
            assert least.choice_at(amount) == min(each)[1]


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 9)), min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 9)), min_size=1, max_size=6),
    st.integers(0, 9),
    st.integers(0, 40),
)
def test_one_then_other_adds_their_work_at_every_amount(
    first: list[tuple[int, int]], second: list[tuple[int, int]], held: int, least_bytes: int
) -> None:
    one, other = (least_of([_falling(points, 0)]) for points in (first, second))
    both = one_then_other(2.0, one, held, other, least_bytes, 3)
    alone = one.after(2.0, held, least_bytes, 1)
    assert both is not None
    assert alone is not None
    for amount in range(60):
        there = amount >= least_bytes
        assert _at(both, amount) == (2 + one.at(amount - held) + other.at(amount) if there else math.inf)
        assert _at(alone, amount) == (2 + one.at(amount - held) if there else math.inf)


def _falling(points: list[tuple[int, int]], rank: int) -> Alternative:
    """Return a way whose work falls where memory rises."""
    amounts = sorted({amount for amount, _ in points})
    works = sorted((work for _, work in points), reverse=True)[: len(amounts)]
    return Alternative(np.array(amounts, np.int64), np.array(works, float), rank)


def _at(way: Alternative, amount: int) -> float:
    return min((w for a, w in zip(way.from_bytes, way.work, strict=True) if a <= amount), default=math.inf)


def test_nothing_is_done_where_there_is_no_way() -> None:
    nothing: LeastWork = least_of([])
    assert nothing.at(10**15) == math.inf
    assert nothing.after(1.0, 0, 0, 0) is None
