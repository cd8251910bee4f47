"""Falls: what a client may still do when its memory shrinks within a step, against real steps and every order."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hybridsplit.profiler.memory import ChainMemory, chain_memory
from hybridsplit.profiler.memory.falls import falls_of
from hybridsplit.profiler.memory.levels import RecomputeLevel, recompute_levels
from hybridsplit.profiler.memory.recompute import RecomputePlanner
from hybridsplit.profiler.memory.recompute_peaks import peak_after_drop_bytes, recompute_peak_bytes
from hybridsplit.profiler.models import traced_model
from hybridsplit.profiler.profiles import FallOrder
from hybridsplit.runtime.data.partition import draw_batch, partition
from hybridsplit.runtime.data.sources import load_dataset, model_blocks
from hybridsplit.runtime.estimators import make_estimator
from hybridsplit.runtime.noise import NoiseKey
from hybridsplit.runtime.session.server import ServerSide
from hybridsplit.runtime.session.steps import run_step
from hybridsplit.runtime.split.link import Batch
from hybridsplit.runtime.split.live_bytes import LiveBytes
from hybridsplit.runtime.split.parts import SplitModel
from hybridsplit.scenarios.contracts.ladder import LADDER
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.contracts.recompute import (
    Action,
    RecomputeOrder,
    RecomputeStep,
    check_order,
    format_order,
    num_forwards,
    parse_order,
)
from hybridsplit.scenarios.errors import ContractError
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.testing.families import OPT, family_scenario
from tests.profiler.memory.test_recompute_peaks import blocks

CUT = 4


@pytest.fixture(scope="module", params=["batch-norm", "momentum"])
def scenario(request: pytest.FixtureRequest) -> Scenario:
    """A residual network with BatchNorm, and a deep transformer with momentum."""
    if request.param == "batch-norm":
        return family_scenario("resnet", local_steps=3, batch_size=32)
    momentum = {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9}
    scenario = family_scenario("opt-causal", local_steps=3, optimizer=momentum, batch_size=32)
    deep = scenario.model.model_copy(update={"config": {**OPT, "num_hidden_layers": 6}})
    return scenario.model_copy(update={"model": deep})


@pytest.fixture(scope="module")
def ladder(scenario: Scenario) -> list[tuple[RecomputeLevel, tuple[FallOrder, ...]]]:
    """Levels of a model, and the falls from each."""
    chain = chain_memory(traced_model(scenario), scenario)
    work = [1.0] * len(chain.blocks)
    planner = RecomputePlanner(chain, work)
    levels = recompute_levels(chain, planner, work, CUT, 3)
    return [
        (level, falls_of(chain, planner, work, CUT, level, [other.peak_bytes for other in levels[place + 1 :]], 3))
        for place, level in enumerate(levels)
    ]


def test_levels_fall_to_about_the_leanest(ladder: list[tuple[RecomputeLevel, tuple[FallOrder, ...]]]) -> None:
    """While it runs blocks again a client holds λ as well, so that the way down may end a little above the floor."""
    floor = ladder[-1][0].peak_bytes
    assert len(ladder) >= 2
    assert ladder[0][1]
    for level, falls in ladder:
        assert not falls or falls[-1].peak_bytes <= 1.2 * floor
        for fall in falls:
            order = parse_order(fall.recompute)
            check_order(order, CUT)
            assert any(step.action is Action.DROP for step in order)
            assert fall.peak_bytes < level.peak_bytes


def steps_in(scenario: Scenario, orders: list[str]) -> tuple[dict[str, Tensor], list[tuple[int, ...]]]:
    """Train three real steps in some orders; return the trained weights, and the peaks around each exchange."""
    dataset = load_dataset(scenario)
    model = SplitModel(model_blocks(scenario, dataset=dataset))
    part = model.client_part(CUT)
    server = ServerSide(model.server_part(CUT), scenario.training, scenario.model.task)
    mode = Mode.FO_RECOMPUTE if orders else Mode.FO
    estimator = make_estimator(mode, part, scenario.training, LADDER if orders else "")
    index = partition(dataset.train, scenario)["pi-0"]
    meter = LiveBytes()
    peaks = []
    for step in range(3):
        batch: Batch = draw_batch(dataset.train, index, scenario, "pi-0", step, batch_size=32)
        if orders:
            estimator.follow(orders[step])  # type: ignore[attr-defined]
        meter.begin_segments()
        run_step(estimator, batch, server, NoiseKey(0, "client", "pi-0", 0, step), meter)
        peaks.append(meter.segment_peaks)
        del batch
    estimator.close()
    return {name: tensor.clone() for name, tensor in model.whole.exchanged().items()}, peaks


def test_falls_train_the_same_bits_within_the_peaks_that_are_predicted(
    scenario: Scenario, ladder: list[tuple[RecomputeLevel, tuple[FallOrder, ...]]]
) -> None:
    """Levels and falls are switched from step to step; peaks are real ones, to the byte."""
    expected, _ = steps_in(scenario, [])
    choices = [(level, fall) for level, falls in ladder for fall in falls]
    chain = chain_memory(traced_model(scenario), scenario)
    for level, fall in choices[:: max(1, len(choices) // 3)]:
        orders = [fall.recompute, level.recompute, fall.recompute]
        weights, peaks = steps_in(scenario, orders)
        assert all(torch.equal(weights[name], expected[name]) for name in expected), fall.recompute
        assert max(peaks[0][-1], peaks[2][-1]) == fall.peak_bytes
        assert max(peaks[1]) <= level.peak_bytes
        before = parse_order(fall.recompute)
        assert max(max(one) for one in (peaks[0], peaks[2])) == recompute_peak_bytes(chain, CUT, before, 3)


def test_drops_elsewhere_than_at_the_exchange_are_refused() -> None:
    for text in ("g1 d1 g2 b2 b1", "g1 g2 b2 d1 b1", "g1 g2 d3 b2 b1", "k1 g2 d2 d2 d2 g2 b2 g1 b1"):
        with pytest.raises(ContractError, match="does not follow"):
            check_order(parse_order(text), 2)
    check_order(parse_order("g1 g2 d2 g2 b2 b1"), 2)


def tails(kept: frozenset[int], graphs: frozenset[int], here: int, left: int) -> Iterator[RecomputeOrder]:
    """Every way to go on from what is kept, when all blocks have run and λ is there."""
    if left == 0:
        yield ()
        return
    if left in graphs:
        for rest in tails(kept - {left}, graphs - {left}, 0, left - 1):
            yield (RecomputeStep(Action.BACKWARD, left), *rest)
        return
    starts = [here] if 0 < here <= left else [max((i for i in kept if i <= left), default=0)]
    for index in starts:
        if index == 0 or index in graphs:
            continue
        for rest in tails(kept, graphs | {index}, index + 1, left):
            yield (RecomputeStep(Action.GRAPH, index), *rest)
        if index == left:
            continue
        for rest in tails(kept | {index}, graphs, index + 1, left):
            yield (RecomputeStep(Action.KEEP, index), *rest)
        if any(i < index for i in kept):
            for rest in tails(kept - {index}, graphs, index + 1, left):
                yield (RecomputeStep(Action.ADVANCE, index), *rest)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(blocks, st.integers(1, 5)), min_size=2, max_size=4), st.data())
def test_no_way_from_the_same_drop_does_less_work_in_as_much_memory(chain_of: list, data: st.DataObject) -> None:  # type: ignore[type-arg]
    """Against every sequence of steps after every drop from the top, on small chains of random blocks."""
    below = [0, *(b.output_bytes for b, _ in chain_of)]
    linked = tuple(dataclasses.replace(b, input_bytes=size) for (b, _), size in zip(chain_of, below, strict=False))
    chain = ChainMemory(linked, batch_bytes=0, loss_bytes=0)
    cut = len(chain_of)
    work = [float(cost) for _, cost in chain_of]
    up = tuple(RecomputeStep(Action.GRAPH, i) for i in range(1, cut + 1))
    all_graphs = (*up, *(RecomputeStep(Action.BACKWARD, i) for i in range(cut, 0, -1)))
    level = RecomputeLevel(format_order(all_graphs), (1,) * cut, recompute_peak_bytes(chain, cut, all_graphs, 1))
    available = data.draw(st.integers(1, level.peak_bytes))
    falls = falls_of(chain, RecomputePlanner(chain, work), work, cut, level, [available], 1)
    best = None
    for tops in range(1, 2 * cut):
        graphs = frozenset(range(1, max(cut - tops, 0) + 1))
        kept = frozenset(range(len(graphs) + 1, cut + 1 - max(tops - cut, 0)))
        drops = [RecomputeStep(Action.DROP, i) for i in range(cut, max(cut - tops, 0), -1)]
        drops += [RecomputeStep(Action.DROP, i) for i in range(cut, cut - max(tops - cut, 0), -1)]
        for tail in tails(kept, graphs, 0, cut):
            order = (*up, *drops, *tail)
            if peak_after_drop_bytes(chain, cut, order, 1) <= available:
                cost = sum(work[block - 1] * count for block, count in num_forwards(order).items())
                best = cost if best is None else min(best, cost)
    found = [
        sum(work[i] * count for i, count in enumerate(fall.forwards)) for fall in falls if fall.peak_bytes <= available
    ]
    assert (min(found) if found else None) == (best if available < level.peak_bytes else min(found, default=None))
