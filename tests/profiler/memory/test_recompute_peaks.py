"""Recompute orders: composed peaks against full traces, the dynamic programme against every order there is."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridsplit.profiler.memory import ChainMemory, chain_memory, client_memory
from hybridsplit.profiler.memory.blocks import BlockMemory, GraphMemory
from hybridsplit.profiler.memory.levels import recompute_levels
from hybridsplit.profiler.memory.recompute import RecomputePlanner
from hybridsplit.profiler.memory.recompute_peaks import recompute_peak_bytes
from hybridsplit.profiler.models import TracedModel, traced_model
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.contracts.recompute import (
    Action,
    RecomputeOrder,
    RecomputeStep,
    check_order,
    format_order,
    num_forwards,
    one_input_per_block,
)
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.testing.families import FAMILIES, OPT, family_scenario
from tests.tiers import one_of

OPTIMIZERS = [
    {"name": "sgd", "learning_rate": 0.01},
    {"name": "sgd", "learning_rate": 0.01, "momentum": 0.9},
    {"name": "adamw", "learning_rate": 0.01},
]


def levels_of(traced: TracedModel, scenario: Scenario, cut: int) -> list[tuple[str, int]]:
    chain = chain_memory(traced, scenario)
    work = [1.0 + i % 3 for i in range(len(chain.blocks))]
    levels = recompute_levels(chain, RecomputePlanner(chain, work), work, cut, scenario.training.local_steps)
    return [(level.recompute, level.peak_bytes) for level in levels]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=["sgd", "momentum", "adamw"])
@pytest.mark.parametrize("family", one_of(4, FAMILIES))
def test_composed_peak_of_every_level_is_that_of_a_full_trace(family: str, optimizer: dict[str, Any]) -> None:
    """To the byte, with one local step and with more."""
    for local_steps in (1, 2):
        scenario = family_scenario(family, local_steps=local_steps, optimizer=optimizer)
        traced = traced_model(scenario)
        for cut in (1, traced.model.num_blocks // 2, traced.model.num_blocks):
            for recompute, peak in levels_of(traced, scenario, cut):
                full = client_memory(traced, scenario, cut, Mode.FO_RECOMPUTE, recompute).peak_bytes
                assert peak == full, (cut, recompute)


def test_composed_peaks_hold_with_adapters_and_frozen_blocks_below() -> None:
    lora = {"method": "lora", "rank": 2, "target_modules": ("q_proj", "v_proj")}
    scenario = family_scenario("opt-causal", local_steps=2, optimizer=OPTIMIZERS[2], trainable=lora)
    traced = traced_model(scenario)
    for cut in range(2, traced.model.num_blocks + 1):
        levels = levels_of(traced, scenario, cut)
        assert levels
        for recompute, peak in levels:
            assert recompute.startswith("a1")
            assert peak == client_memory(traced, scenario, cut, Mode.FO_RECOMPUTE, recompute).peak_bytes


def test_levels_trade_memory_for_work() -> None:
    """The curve of a deep model: several levels, each with less memory and more work than the one before."""
    scenario = family_scenario("opt-causal", local_steps=2)
    deep = scenario.model.model_copy(update={"config": {**OPT, "num_hidden_layers": 10}})
    scenario = scenario.model_copy(update={"model": deep})
    chain = chain_memory(traced_model(scenario), scenario)
    work = [1.0] * len(chain.blocks)
    levels = recompute_levels(chain, RecomputePlanner(chain, work), work, 11, 2)
    assert len(levels) >= 5
    assert max(levels[0].forwards) == 1
    for more, less in itertools.pairwise(levels):
        assert more.peak_bytes > less.peak_bytes
        assert sum(more.forwards) < sum(less.forwards)


def test_every_bound_on_memory_is_kept() -> None:
    scenario = family_scenario("opt-causal", local_steps=2)
    chain = chain_memory(traced_model(scenario), scenario)
    planner = RecomputePlanner(chain, [1.0] * len(chain.blocks))
    floor = chain.standing_bytes(5)
    for available in range(2_000, 400_000, 7_919):
        order = planner.cheapest(5, available)
        if order is not None:
            check_order(order, 5)
            assert recompute_peak_bytes(chain, 5, order, 2) <= floor + available


def block(output: int, forward: int, graph: int, saved: int, backward: int) -> BlockMemory:
    whole = GraphMemory(max(graph, output + saved), saved, backward, backward, 0)
    return BlockMemory(0, 0, output, max(forward, output), whole, whole)


blocks = st.builds(
    block, st.integers(1, 6), st.integers(1, 8), st.integers(1, 12), st.integers(0, 10), st.integers(0, 6)
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(blocks, st.integers(1, 5)), min_size=1, max_size=4), st.integers(4, 60))
def test_no_order_at_all_does_less_work_in_as_much_memory(
    chain_of: list[tuple[BlockMemory, int]], available: int
) -> None:
    """Against a search over every sequence of steps of small chains of random blocks."""
    below = [0, *(b.output_bytes for b, _ in chain_of)]
    linked = tuple(dataclasses.replace(b, input_bytes=size) for (b, _), size in zip(chain_of, below, strict=False))
    chain = ChainMemory(linked, batch_bytes=0, loss_bytes=0)
    work = [float(cost) for _, cost in chain_of]
    cut = len(work)
    found = RecomputePlanner(chain, work).cheapest(cut, available)
    best = min((_work(s, work) for s in every_order(cut) if _fits(chain, s, available)), default=None)
    if found is None:
        assert best is None
    else:
        assert _fits(chain, found, available)
        assert _work(found, work) == best


def _fits(chain: ChainMemory, order: RecomputeOrder, available: int) -> bool:
    return recompute_peak_bytes(chain, len(chain.blocks), order, 1) <= available


def _work(order: RecomputeOrder, work: list[float]) -> float:
    return sum(work[index - 1] * count for index, count in num_forwards(order).items())


@functools.cache
def every_order(num_blocks: int) -> tuple[RecomputeOrder, ...]:
    """All orders that keep, drop or rebuild inputs and graphs in some order, without running a block for nothing."""
    return tuple(_continue((), 1, 0, frozenset(), frozenset(), num_blocks, num_blocks))


def _continue(
    done: RecomputeOrder, here: int, reached: int, kept: frozenset[int], graphs: frozenset[int], left: int, last: int
) -> Iterator[RecomputeOrder]:
    if left == 0:
        yield done
        return
    if reached == last and left in graphs:
        step = RecomputeStep(Action.BACKWARD, left)
        yield from _continue((*done, step), 0, reached, kept - {left}, graphs - {left}, left - 1, last)
        return
    if here > left or here == 0:
        if reached < last:
            return
        starts = [max((i for i in kept if i <= left), default=0)]
    else:
        starts = [here]
    for index in starts:
        if index == 0 or index > left or index in graphs:
            continue
        ahead = max(reached, index)
        yield from _continue(
            (*done, RecomputeStep(Action.GRAPH, index)), index + 1, ahead, kept, graphs | {index}, left, last
        )
        if index == left and reached == last:
            continue
        keep = (*done, RecomputeStep(Action.KEEP, index))
        yield from _continue(keep, index + 1, ahead, kept | {index}, graphs, left, last)
        if any(i < index for i in kept):
            drop = (*done, RecomputeStep(Action.ADVANCE, index))
            yield from _continue(drop, index + 1, ahead, kept - {index}, graphs, left, last)


def test_a_level_takes_the_place_of_one_input_per_block() -> None:
    """The default order recomputes the last block for nothing: some level does less work in no more memory."""
    scenario = family_scenario("opt-causal", local_steps=2)
    chain = chain_memory(traced_model(scenario), scenario)
    work = [1.0] * len(chain.blocks)
    usual_bytes = recompute_peak_bytes(chain, 4, one_input_per_block(4), 2)
    levels = recompute_levels(chain, RecomputePlanner(chain, work), work, 4, 2)
    assert any(level.peak_bytes <= usual_bytes and sum(level.forwards) < 8 for level in levels)


def test_the_default_order_keeps_every_input_and_runs_every_block_twice() -> None:
    order = one_input_per_block(4)
    check_order(order, 4)
    assert num_forwards(order) == {1: 2, 2: 2, 3: 2, 4: 2}
    assert format_order(order) == "k1 k2 k3 k4 g4 b4 g3 b3 g2 b2 g1 b1"
