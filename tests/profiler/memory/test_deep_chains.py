"""Deep chains: regular orders in the place of exact ones, soon enough to be waited for."""

from __future__ import annotations

import random
import statistics
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridsplit.profiler.memory.blocks import BlockMemory, ChainMemory, GraphMemory
from hybridsplit.profiler.memory.levels import RecomputeLevel, recompute_levels
from hybridsplit.profiler.memory.recompute import RecomputePlanner
from hybridsplit.profiler.memory.recompute_peaks import recompute_peak_bytes
from hybridsplit.profiler.memory.regular_orders import regular_orders
from hybridsplit.scenarios.contracts.recompute import check_order, most_kept_inputs, parse_order


def chain_of(num_blocks: int, seed: int) -> tuple[ChainMemory, list[float]]:
    """Return unequal blocks, as memory and as work."""
    draw = random.Random(seed)
    blocks: list[BlockMemory] = []
    below = 0
    for _ in range(num_blocks):
        output, saved = draw.randint(1_000, 9_000), draw.randint(2_000, 40_000)
        graph = GraphMemory(output + saved, saved, draw.randint(500, 5_000), draw.randint(500, 5_000), 0)
        blocks.append(BlockMemory(10, below, output, output + draw.randint(0, 3_000), graph, graph))
        below = output
    return ChainMemory(tuple(blocks), 100, 50), [draw.uniform(1, 5) for _ in blocks]


def work_of(level: RecomputeLevel, work: list[float]) -> float:
    return sum(count * cost for count, cost in zip(level.forwards, work, strict=False))


@given(st.integers(1, 40), st.integers(1, 40))
def test_regular_orders_are_orders(cut: int, first: int) -> None:
    orders = list(regular_orders(max(cut, first), min(cut, first)))
    for order in orders:
        check_order(order, max(cut, first), min(cut, first))
    assert len(set(orders)) >= min(3, max(cut, first) - min(cut, first) + 1)


def test_a_chain_of_150_unequal_blocks_has_levels_within_seconds() -> None:
    chain, work = chain_of(150, seed=1)
    planner = RecomputePlanner(chain, work)
    begin_s = time.process_time()
    for cut in (20, 60, 100, 150):
        levels = recompute_levels(chain, planner, work, cut, 4)
        assert len(levels) >= 5
        works = [work_of(level, work) for level in levels]
        peaks = [level.peak_bytes for level in levels]
        assert works == sorted(works)
        assert peaks == sorted(peaks, reverse=True)
        assert levels[0].forwards == (1,) * cut
        for level in levels:
            order = parse_order(level.recompute)
            check_order(order, cut)
            assert recompute_peak_bytes(chain, cut, order, 4) == level.peak_bytes
        assert most_kept_inputs(parse_order(levels[-1].recompute)) < cut / 2
    assert time.process_time() - begin_s < 40


@pytest.mark.parametrize("seed", range(3))
def test_regular_orders_do_little_more_work_than_the_least(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chain, work = chain_of(12, seed)
    exact = recompute_levels(chain, RecomputePlanner(chain, work), work, 12, 4)
    monkeypatch.setattr("hybridsplit.profiler.memory.recompute._MOST_POINTS", 0)
    regular = recompute_levels(chain, RecomputePlanner(chain, work), work, 12, 4)
    ratios = []
    for level in exact:
        fitting = [one for one in regular if one.peak_bytes <= level.peak_bytes]
        ratios += [min(work_of(one, work) for one in fitting) / work_of(level, work)] if fitting else []
    assert min(ratios) >= 1 - 1e-9
    assert statistics.median(ratios) < 1.4
    assert {regular[0].forwards} == {exact[0].forwards} == {(1,) * 12}
