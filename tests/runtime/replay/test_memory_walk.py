"""Ladders in the replay: the level of every step, falls, waits and leaving, on the replay's clock."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hybridsplit.runtime.replay import Replay, replay
from hybridsplit.runtime.replay.memory_trace import MemoryTrace
from hybridsplit.scenarios.contracts.jobs import BEFORE_EXCHANGE
from hybridsplit.scenarios.contracts.ladder import LADDER, Fall, LadderLevel
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.contracts.schedule import Chain, Dispatch, Simultaneous, Turns
from hybridsplit.scenarios.errors import ContractError, RunError
from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.scenarios.schema import Scenario
from tests.runtime.replay.conftest import make_plan, make_scenario

FAST = LadderLevel(
    recompute="g1 g2 b2 b1",
    peak_bytes=100,
    step_s=3.0,
    falls=(
        Fall(recompute="g1 g2 d2 g2 b2 b1", peak_bytes=80, step_s=3.5),
        Fall(recompute="g1 g2 d2 d1 g2 b2 g1 b1", peak_bytes=55, step_s=4.5),
    ),
)
LEAN = LadderLevel(recompute="k1 k2 g2 b2 g1 b1", peak_bytes=50, step_s=4.5)
LEVELS = (FAST, LEAN)


def with_memory(scenario: Scenario, below_floor: str = "wait") -> Scenario:
    document = scenario.resolved()
    for group in document["clients"]:
        group["memory_trace"] = {"path": "not-read.tsv", "below_floor": below_floor}
    return validate_scenario(document, "test")


def plan_of(scenario: Scenario, num_clients: int = 1, schedule: Any = None, **changes: Any) -> Plan:
    on_ladder = {"mode": Mode.FO_RECOMPUTE, "recompute": LADDER, "levels": LEVELS, "memory_budget_bytes": 10**6}
    shares = dict.fromkeys(("uplink_share", "downlink_share", "server_share"), 1 / num_clients)
    names = [client.id for client in scenario.expanded_clients()]
    plan = make_plan(scenario, dict.fromkeys(names, shares | on_ladder | changes))
    return plan.model_copy(update={"schedule": schedule or Simultaneous()})


def played(pairs: list[tuple[float, int]], *, below_floor: str = "wait", steps: int = 2, rounds: int = 1) -> Replay:
    scenario = with_memory(make_scenario(1, local_steps=steps), below_floor)
    memory = MemoryTrace(tuple(length for length, _ in pairs), tuple(size for _, size in pairs), past_the_end="loop")
    return replay(plan_of(scenario), scenario, num_rounds=rounds, memory={"pi-0": memory})


def seconds_of(result: Replay, phase: Phase, round_index: int = 0) -> float:
    return result.timeline.totals[0][round_index][phase].seconds


DOWNLOAD_S = seconds_of(played([(1.0, 100)], steps=1), Phase.MODEL_DOWNLOAD)
"""The client's step begins after it."""


def orders_of(result: Replay, round_index: int = 0) -> list[str]:
    return [step.recompute for step in result.step_memory["pi-0", round_index]]


@pytest.mark.parametrize(("size", "level"), [(100, FAST), (99, LEAN), (50, LEAN)])
@pytest.mark.parametrize("kind", ["simultaneous", "turns", "dispatch", "chain"])
def test_constant_memory_replays_as_the_level_that_fits(size: int, level: LadderLevel, kind: str) -> None:
    """To the last bit the replay of a plan without a ladder, under every schedule."""
    scenario = with_memory(make_scenario(2, local_steps=3))
    names = ("pi-0", "pi-1")
    schedule = {
        "simultaneous": Simultaneous(),
        "turns": Turns(order=names),
        "dispatch": Dispatch(order=names, urgency_s=(0.0, 1.0)),
        "chain": Chain(order=names),
    }[kind]
    shares = 1 if kind in ("turns", "dispatch", "chain") else 2
    ladder = plan_of(scenario, shares, schedule)
    memory = dict.fromkeys(names, MemoryTrace((5.0,), (size,)))
    on_ladder = replay(ladder, scenario, num_rounds=2, memory=memory)
    usual = plan_of(scenario, shares, schedule, levels=(), recompute="", client_compute_s=3 * level.step_s)
    without = replay(usual, scenario, num_rounds=2)
    assert on_ladder.round_latency_s == pytest.approx(without.round_latency_s, rel=1e-12)
    assert orders_of(on_ladder) == [level.recompute] * 3


def test_memory_that_shrinks_at_the_exchange_makes_the_step_fall() -> None:
    """Forward takes 1 s; the exchange is longer than a second; memory is lower from half a second into it on."""
    lower_s = DOWNLOAD_S + 1.5
    result = played([(lower_s, 100), (1000.0, 85)], steps=1)
    assert orders_of(result) == [FAST.falls[0].recompute]
    assert seconds_of(result, Phase.CLIENT_COMPUTE) == pytest.approx(3.5)
    deeper = played([(lower_s, 100), (1000.0, 60)], steps=1)
    assert orders_of(deeper) == [FAST.falls[1].recompute]
    assert seconds_of(deeper, Phase.CLIENT_COMPUTE) == pytest.approx(4.5)


def test_nothing_is_begun_that_memory_ends_before_it_is_done() -> None:
    """The forward of the fast level would last 1 s, and there is enough for 0.9 s only."""
    result = played([(DOWNLOAD_S + 0.9, 100), (1000.0, 60)], steps=1)
    assert orders_of(result) == [LEAN.recompute]


def test_below_the_floor_the_client_waits_and_that_is_all_that_differs() -> None:
    result = played([(DOWNLOAD_S + 7.0, 10), (1000.0, 100)], steps=1)
    spent = result.timeline.totals[0][0]
    assert spent[Phase.MEMORY].waiting_s == pytest.approx(7.0)
    assert orders_of(result) == [FAST.recompute]
    assert result.round_latency_s[0] == pytest.approx(played([(1.0, 100)], steps=1).total_s + 7.0)


def test_below_the_floor_a_client_may_leave_the_round() -> None:
    result = played([(DOWNLOAD_S + 0.5, 10), (1000.0, 100)], below_floor="skip", steps=1, rounds=2)
    assert [(one.client, one.round) for one in result.late] == [("pi-0", 0)]
    assert result.timeline.totals[0][0][Phase.UPLINK].bytes == 0
    assert result.round_latency_s[0] < result.round_latency_s[1]


@pytest.mark.parametrize("kind", ["simultaneous", "turns", "dispatch", "chain"])
@pytest.mark.parametrize("synchronise", [False, True])
def test_nobody_waits_for_a_client_that_has_left(kind: str, synchronise: bool) -> None:
    scenario = with_memory(make_scenario(2, local_steps=2), "skip")
    if synchronise:
        document = scenario.resolved()
        document["training"]["server_model"] = "shared-mean"
        scenario = validate_scenario(document, "test")
    names = ("pi-0", "pi-1")
    schedule = {
        "simultaneous": Simultaneous(),
        "turns": Turns(order=names),
        "dispatch": Dispatch(order=names, urgency_s=(0.0, 1.0)),
        "chain": Chain(order=names),
    }[kind]
    plan = plan_of(scenario, 2 if kind == "simultaneous" else 1, schedule)
    memory = {"pi-0": MemoryTrace((1.0,), (10,)), "pi-1": MemoryTrace((1.0,), (100,))}
    result = replay(plan, scenario, num_rounds=2, memory=memory)
    assert {one.client for one in result.late} == {"pi-0"}
    assert len(result.late) == 2
    assert result.timeline.totals[1][1][Phase.UPLINK].bytes > 0


def test_memory_that_never_comes_is_an_error() -> None:
    with pytest.raises(RunError, match=r"pi-0: needs .* never gives again"):
        played([(1.0, 10)])


def test_a_ladder_without_memory_is_an_error() -> None:
    scenario = with_memory(make_scenario(1))
    with pytest.raises(ContractError, match="no memory over time is known"):
        replay(plan_of(scenario), scenario, num_rounds=1, memory={})


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.05, 9.0), st.integers(0, 120)), min_size=1, max_size=8).filter(
        lambda pairs: any(size >= 100 for _, size in pairs)
    ),
    st.floats(0.0, 40.0),
)
@example([(1.0, 0), (1.0, 0), (1.0, 100), (2.0, 50), (1.0, 0)], 2.0)
def test_whatever_the_memory_no_part_of_a_step_takes_more(pairs: list[tuple[float, int]], offset_s: float) -> None:
    """Each part's interval is found again from the seconds of the round; the budget there, sample by sample."""
    long = [*pairs, (20.0, 110)]  # so that something fits at some time
    scenario = with_memory(make_scenario(1, local_steps=1))
    memory = MemoryTrace(tuple(s for s, _ in long), tuple(b for _, b in long))
    result = replay(
        plan_of(scenario), scenario, num_rounds=1, memory={"pi-0": memory}, start_offsets_s={"pi-0": offset_s}
    )
    spent = result.timeline.totals[0][0]
    taken = result.step_memory["pi-0", 0][0]
    by_order = {level.recompute: level for level in LEVELS} | {fall.recompute: FAST for fall in FAST.falls}
    level = by_order[taken.recompute]
    peaks = {one.recompute: one.peak_bytes for one in (*LEVELS, *FAST.falls)}
    end_s = result.total_s - spent[Phase.MODEL_UPLOAD].seconds
    after_s = spent[Phase.CLIENT_COMPUTE].seconds - level.step_s * BEFORE_EXCHANGE

    def least(start_s: float, stop_s: float) -> int:
        edges = [0.0]
        while edges[-1] < stop_s:
            edges += [edges[-1] + length for length in _running(long)]
        sizes = [size for _, size in long] * (len(edges) // len(long))
        inside = [
            size
            for begin, end, size in zip(edges, edges[1:], sizes, strict=False)
            if begin < stop_s - 1e-9 and end > start_s + 1e-9
        ]
        return min(inside)

    assert least(end_s - after_s, end_s) >= peaks[taken.recompute]
    if spent[Phase.MEMORY].waiting_s == 0:
        begin_s = offset_s + spent[Phase.MODEL_DOWNLOAD].seconds
        assert least(begin_s, begin_s + level.step_s * BEFORE_EXCHANGE) >= level.peak_bytes
        leanest = min(peaks[one.recompute] for one in (level, *level.falls))
        # Where nothing fits in the exchange it pauses there, which costs no time if memory is back at its end.
        paused = least(begin_s + level.step_s * BEFORE_EXCHANGE, end_s - after_s) < leanest
        if taken.recompute == level.recompute and not paused:
            assert least(begin_s, end_s) >= level.peak_bytes
    assert math.isfinite(result.total_s)


def _running(pairs: list[tuple[float, int]]) -> list[float]:
    total, found = 0.0, []
    for length, _ in pairs:
        total += length
        found.append(total)
    return found
