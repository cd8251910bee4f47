"""Who takes part is a function of the scenario, the plan's clients, and who failed when; of nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridsplit.runtime.data.participation import draw_attendance, participants
from hybridsplit.scenarios.contracts.attendance import Absence, Attendance
from hybridsplit.scenarios.errors import RunError
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.scenarios.schema import Scenario

CLIENTS = tuple("abcdefgh")
ROUNDS = 6
absences = st.lists(
    st.builds(Absence, st.sampled_from(CLIENTS[1:]), st.integers(0, ROUNDS - 1), st.booleans()),
    max_size=8,
    unique_by=lambda one: one.client,
)


def scenario_with(participation: float, *, prefix: bool = False) -> Scenario:
    dimension_free = ["training.modes=[zo-projection]", "training.zo_prefix_blocks=1"] if prefix else []
    return load_scenario("quickstart", [f"training.participation={participation}", *dimension_free])


HALF, ALL, FEW = scenario_with(0.5), scenario_with(1.0), scenario_with(0.125)
scenarios = st.sampled_from([HALF, ALL, FEW, scenario_with(0.5, prefix=True)])


@settings(max_examples=60, deadline=None)
@given(scenarios, absences)
def test_the_same_clients_and_absences_give_the_same_attendance(scenario: Scenario, gone: list[Absence]) -> None:
    one = draw_attendance(scenario, CLIENTS, ROUNDS, gone)
    assert one == draw_attendance(scenario, CLIENTS, ROUNDS, reversed(gone)), "in whatever order they are given"
    longer = draw_attendance(scenario, CLIENTS, ROUNDS + 3, gone)
    assert longer.rounds[:ROUNDS] == one.rounds, "however many rounds there are"


@settings(max_examples=60, deadline=None)
@given(scenarios, absences, st.integers(0, ROUNDS))
def test_a_round_depends_on_earlier_absences_only(scenario: Scenario, gone: list[Absence], now: int) -> None:
    known = [one for one in gone if one.round < now]
    whole = draw_attendance(scenario, CLIENTS, ROUNDS, gone)
    assert draw_attendance(scenario, CLIENTS, ROUNDS, known).rounds[: now + 1] == whole.rounds[: now + 1]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([HALF, ALL, FEW]), absences)
def test_those_who_left_are_taken_out_and_nobody_takes_their_place(scenario: Scenario, gone: list[Absence]) -> None:
    found = draw_attendance(scenario, CLIENTS, ROUNDS, gone)
    for round_index, taking_part in enumerate(found.rounds):
        left = {one.client for one in gone if one.for_good and one.round < round_index}
        drawn = participants(CLIENTS, scenario.training.participation, scenario.seed, round_index)
        there = [client for client in CLIENTS if client not in left]
        again = participants(there, scenario.training.participation, scenario.seed, round_index)
        assert taking_part, "no round is empty"
        assert tuple(taking_part) == (tuple(client for client in drawn if client not in left) or again)


@settings(max_examples=60, deadline=None)
@given(absences)
def test_a_client_catches_up_with_all_rounds_it_does_not_know(gone: list[Absence]) -> None:
    scenario = scenario_with(0.5, prefix=True)
    found = draw_attendance(scenario, CLIENTS, ROUNDS, gone)
    failed = {(one.client, one.round) for one in gone}
    known: dict[str, set[int]] = {client: set() for client in CLIENTS}
    logged: set[int] = set()
    for round_index, taking_part in enumerate(found.rounds):
        for client, size in taking_part.items():
            assert size == len(logged - known[client]) * scenario.training.catch_up_bytes_a_round
        counted = [client for client in taking_part if (client, round_index) not in failed]
        logged |= {round_index} if counted else set()
        for client in counted:
            known[client] = set(logged)


def test_nobody_left_is_an_error() -> None:
    gone = [Absence(client, 1, for_good=True) for client in CLIENTS]
    draw_attendance(HALF, CLIENTS, 2, gone)
    with pytest.raises(RunError, match="round 3: every client has left"):
        draw_attendance(HALF, CLIENTS, 3, gone)


def test_an_attendance_cannot_be_changed() -> None:
    found = Attendance.of_everybody(CLIENTS, 2)
    with pytest.raises(TypeError):
        found.rounds[0]["a"] = 1  # type: ignore[index]
