"""A round laid out in time keeps every second of the ledger, and agrees with the replay where steps are alike."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridsplit.orchestrator.timeline.intervals import intervals_of_round
from hybridsplit.orchestrator.timeline.rounds import REPLAYED_ROUND_COLUMNS, chosen_round, replayed_rounds
from hybridsplit.orchestrator.timeline.use import RESOURCES, Steps, queue_length, utilisation
from hybridsplit.runtime.replay import Replay, replay
from hybridsplit.runtime.replay.traces import BandwidthTrace
from hybridsplit.scenarios.contracts.ledger import LedgerEntry, Source
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.contracts.schedule import Turns
from hybridsplit.scenarios.errors import UsageError
from tests.runtime.replay.conftest import make_plan, make_scenario

SECONDS = st.one_of(st.just(0.0), st.floats(1e-3, 1e3))


@given(
    st.dictionaries(
        st.sampled_from([phase for phase in Phase if phase is not Phase.OVERLAPPED]),
        st.tuples(SECONDS, SECONDS),
        min_size=1,
    ),
    st.integers(1, 5),
    st.booleans(),
)
def test_no_second_of_the_ledger_is_lost_or_counted_twice(
    spent: dict[Phase, tuple[float, float]], steps: int, synchronise: bool
) -> None:
    entries = [LedgerEntry(Source.REPLAYED, "pi", 3, phase, *figures) for phase, figures in spent.items()]
    other = [
        LedgerEntry(Source.REPLAYED, "pi", 4, Phase.UPLINK, 9.0),
        LedgerEntry(Source.PLANNED, "pi", 3, Phase.UPLINK, 9.0),
    ]
    found = intervals_of_round([*entries, *other], 3, steps, synchronise=synchronise)
    assert all(a.end_s == b.start_s for a, b in itertools.pairwise(found))
    for phase, figures in spent.items():
        for is_waiting, expected in zip((False, True), figures, strict=True):
            lengths = [one.seconds for one in found if one.phase is phase and one.is_waiting is is_waiting]
            assert math.fsum(lengths) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def played(local_steps: int = 3, **options: Any) -> tuple[Plan, Replay]:
    scenario = make_scenario(3, local_steps=local_steps)
    plan = make_plan(scenario, {"pi-0": {"client_compute_s": 9.0}, "pi-2": {"uplink_bytes": 1_250_000}})
    return plan, replay(plan, scenario, num_rounds=options.pop("num_rounds", 2), **options)


def test_use_over_time_integrates_to_the_utilisation_of_the_round() -> None:
    plan, result = played()
    intervals = intervals_of_round(result.entries, 1, 3)
    latency_s = result.round_latency_s[1]
    assert max(one.end_s for one in intervals) == pytest.approx(latency_s)
    for resource in RESOURCES:
        use = utilisation(intervals, plan.clients, resource, latency_s)
        expected = getattr(result.played[1], f"{resource}_utilisation")
        assert use.integral_s / latency_s == pytest.approx(expected)
        assert 0 < use.largest <= 1 + 1e-9
        assert use.times_s[0] == 0
        assert use.times_s[-1] == pytest.approx(latency_s)
        assert use.levels[-1] == 0
        # With shares nobody waits for anybody.
        assert queue_length(intervals, plan.clients, resource, latency_s).largest == 0


def test_a_thinned_figure_keeps_its_integral() -> None:
    generator = np.random.default_rng(0)
    times_s = np.concatenate(([0.0], np.sort(generator.random(5000)), [1.0]))
    steps = Steps(tuple(times_s.tolist()), tuple(generator.random(5002).tolist()))
    thinned = steps.thinned(100)
    assert len(thinned.times_s) == len(thinned.levels) == 100
    assert thinned.integral_s == pytest.approx(steps.integral_s)
    assert steps.thinned(5002) is steps


def test_who_waits_for_a_turn_stands_in_the_queue() -> None:
    scenario = make_scenario(3, local_steps=1)
    shares = {"uplink_share": 1.0, "downlink_share": 1.0, "server_share": 1.0}
    plan = make_plan(scenario, {f"pi-{index}": shares for index in range(3)})
    plan = plan.model_copy(update={"schedule": Turns(order=("pi-1", "pi-0", "pi-2"))})
    result = replay(plan, scenario, num_rounds=1)
    intervals = intervals_of_round(result.entries, 0, 1)
    queue = queue_length(intervals, plan.clients, "downlink", result.total_s)
    assert queue.largest == 2  # all ask for the model at once, and one is served
    waited = sum(e.waiting_s for e in result.entries if e.phase in RESOURCES["downlink"])
    assert queue.integral_s == pytest.approx(waited)
    use = utilisation(intervals, plan.clients, "downlink", result.total_s)
    assert use.largest == pytest.approx(1.0)


def test_rounds_name_the_client_that_others_wait_for_and_its_longest_part() -> None:
    trace = BandwidthTrace(np.array([2.0, 7.0]), np.array([4e6, 0.0]))
    plan, result = played(num_rounds=4, traces={"pi-2": trace}, samples_windows=True)
    rounds = replayed_rounds(plan, result.ledger)
    assert tuple(rounds.columns) == REPLAYED_ROUND_COLUMNS
    assert rounds["latency_s"].tolist() == pytest.approx(list(result.round_latency_s))
    assert rounds["ends_s"].tolist() == pytest.approx([one.simulated_s for one in result.played])
    assert rounds["critical_client"].tolist() == [one.slowest_client for one in result.played]
    for resource in RESOURCES:
        expected = [getattr(one, f"{resource}_utilisation") for one in result.played]
        assert rounds[f"{resource}_utilisation"].tolist() == pytest.approx(expected)
    assert rounds["mean_barrier_wait_s"].tolist() == pytest.approx([one.barrier_wait_s for one in result.played])
    for row in rounds.itertuples():
        own = [e for e in result.entries if e.round == row.round and e.client == row.critical_client]
        parts = [figure for e in own if e.phase is not Phase.BARRIER for figure in (e.seconds, e.waiting_s)]
        assert row.critical_phase_s == max(parts)
        assert row.critical_waiting_s == pytest.approx(sum(e.waiting_s for e in own if e.phase is not Phase.BARRIER))


def test_the_round_shown_is_the_typical_one_or_the_one_asked_for() -> None:
    trace = BandwidthTrace(np.array([3.0, 7.0]), np.array([4e6, 1e4]))
    plan, result = played(num_rounds=5, traces={"pi-2": trace}, samples_windows=True)
    rounds = replayed_rounds(plan, result.ledger)
    shown = chosen_round(rounds, None)
    assert result.round_latency_s[shown] == sorted(result.round_latency_s)[2]
    assert chosen_round(rounds, 4) == 4
    with pytest.raises(UsageError, match=r"--round 5: no such round; needs one from 0 to 4"):
        chosen_round(rounds, 5)
