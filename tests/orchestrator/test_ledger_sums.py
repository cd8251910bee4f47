"""Sums of a replay are those of the entries it would write."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridsplit.orchestrator.ledger_sums import LedgerSums
from hybridsplit.runtime.data.participation import draw_attendance
from hybridsplit.runtime.replay import replay
from hybridsplit.scenarios.contracts.attendance import Attendance
from hybridsplit.solver.planner import make_plan
from hybridsplit.testing.instances import random_instance


@given(
    seed=st.integers(0, 50),
    strategy=st.sampled_from(["static", "optimal", "time-shared"]),
    num_rounds=st.integers(1, 3),
    away=st.booleans(),
)
@settings(deadline=None, max_examples=10)
def test_sums_without_entries_are_sums_of_entries(seed: int, strategy: str, num_rounds: int, away: bool) -> None:
    instance = random_instance(seed, num_clients=4, num_options=6, local_steps=2)
    plan = make_plan(instance.scenario, instance.table, strategy)
    ids = [client.id for client in plan.clients]
    attendance = draw_attendance(instance.scenario, ids, num_rounds)
    if away:
        # One takes part in the first round only, and another catches up with it.
        rounds = [dict.fromkeys(ids, 0), *(dict.fromkeys(ids[1:], 0) | {ids[-1]: 77} for _ in range(num_rounds - 1))]
        attendance = Attendance(tuple(rounds))
    replayed = replay(plan, instance.scenario, num_rounds=num_rounds, attendance=attendance)
    found = LedgerSums.of_replay(plan, attendance, replayed)
    wanted = LedgerSums.of_entries([*plan.ledger_entries(num_rounds, attendance), *replayed.entries])
    assert found.latencies_s == wanted.latencies_s
    assert found.bytes_agree == wanted.bytes_agree
    assert set(found.of) == set(wanted.of)
    for place, expected in wanted.of.items():
        own = found.of[place]
        assert (own.entries, own.bytes) == (expected.entries, expected.bytes)
        assert own.seconds == pytest.approx(expected.seconds, rel=1e-12)
        assert own.waiting_s == pytest.approx(expected.waiting_s, rel=1e-12, abs=1e-12)
