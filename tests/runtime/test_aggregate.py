"""Aggregation across cuts and modes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from runtime.aggregate import aggregate
from runtime.client import Assignment, ClientRound
from runtime.split import State
from scenarios.contracts.modes import EXACT_MODES, Mode
from scenarios.errors import RunError
from scenarios.schema import ZerothOrder

NAMES = ("blocks.0.weight", "blocks.1.weight", "blocks.2.weight")
STATISTIC = "blocks.0.norm.running_mean"
BELOW = {1: 10, 2: 20, 3: 30}
SETTINGS = ZerothOrder(directions=4)


def state(value: float) -> State:
    return {name: torch.full((2,), value) for name in (*NAMES, STATISTIC)}


def outcome(client: str, cut: int, mode: Mode, value: float, weight: float = 0.5, loss: float = 1.0) -> ClientRound:
    return ClientRound(Assignment(client, cut, mode, weight, 1), state(value), loss, {}, {}, None)


def merged(*rounds: ClientRound) -> dict[str, float]:
    new = aggregate(state(0.0), rounds, SETTINGS, BELOW, frozenset({STATISTIC}))
    return {name: float(tensor[0]) for name, tensor in new.items()}


@pytest.mark.parametrize("mode", sorted(EXACT_MODES))
def test_one_client_reduces_to_plain_training_bit_for_bit(mode: Mode) -> None:
    one = ClientRound(
        Assignment("a", 2, mode, 0.3, 1), {n: torch.randn(5) for n in (*NAMES, STATISTIC)}, 1.0, {}, {}, None
    )
    new = aggregate({n: torch.randn(5) for n in (*NAMES, STATISTIC)}, [one], SETTINGS, BELOW, frozenset({STATISTIC}))
    assert all(torch.equal(new[name], one.state[name]) for name in new)


def test_exact_clients_average_by_data() -> None:
    new = merged(outcome("a", 1, Mode.FO, 1.0, 0.75), outcome("b", 2, Mode.FO_RECOMPUTE, 5.0, 0.25))
    assert all(value == pytest.approx(2.0) for value in new.values())


def test_estimates_do_not_drown_exact_gradients() -> None:
    new = merged(outcome("a", 1, Mode.FO, 1.0), outcome("b", 1, Mode.ZO_LOSS, 100.0))
    rho = 4 / (10 + 3)
    assert new["blocks.0.weight"] == pytest.approx((1.0 + rho * 100.0) / (1 + rho))
    assert new["blocks.1.weight"] == pytest.approx(50.5), "both server copies are exact"


def test_frozen_parts_do_not_vote_on_their_blocks() -> None:
    new = merged(outcome("a", 1, Mode.FO, 1.0), outcome("b", 2, Mode.FROZEN, 7.0))
    assert new["blocks.0.weight"] == 1.0
    assert new["blocks.1.weight"] == 1.0
    assert new["blocks.2.weight"] == pytest.approx(4.0)


def test_a_block_nobody_trained_keeps_its_state() -> None:
    new = merged(outcome("a", 2, Mode.FROZEN, 1.0), outcome("b", 1, Mode.FROZEN, 3.0))
    assert new["blocks.0.weight"] == 0.0
    assert new["blocks.1.weight"] == 3.0


def test_estimates_alone_average_among_themselves() -> None:
    new = merged(outcome("a", 1, Mode.ZO_LOSS, 2.0), outcome("b", 1, Mode.ZO_PROJECTION, 4.0))
    assert new["blocks.0.weight"] == pytest.approx(3.0)


def test_statistics_come_from_exact_parts_only() -> None:
    new = merged(outcome("a", 1, Mode.FO, 1.0), outcome("b", 1, Mode.ZO_LOSS, 9.0))
    assert new[STATISTIC] == 1.0
    assert merged(outcome("b", 1, Mode.ZO_LOSS, 9.0))[STATISTIC] == 0.0


def test_divergence_names_the_client() -> None:
    with pytest.raises(RunError, match=r"client bad .*learning_rate"):
        merged(outcome("good", 1, Mode.FO, 1.0), outcome("bad", 1, Mode.FO, 1.0, loss=float("nan")))


def test_weights_that_are_not_finite_are_caught_before_they_are_averaged() -> None:
    with pytest.raises(RunError, match=r"client bad .*non-finite weights"):
        merged(outcome("good", 1, Mode.FO, 1.0), outcome("bad", 1, Mode.FO, float("inf")))


clients = st.tuples(
    st.sampled_from([1, 2, 3]),
    st.sampled_from(sorted(set(Mode) - {Mode.FROZEN})),
    st.floats(-10, 10),
    st.floats(0.01, 1),
)


@given(st.lists(clients, min_size=1, max_size=5))
def test_the_result_lies_between_its_contributors(drawn: list[tuple[int, Mode, float, float]]) -> None:
    rounds = [outcome(str(i), cut, mode, value, weight) for i, (cut, mode, value, weight) in enumerate(drawn)]
    values = [value for _, _, value, _ in drawn]
    for name, value in merged(*rounds).items():
        if name != STATISTIC:
            assert min(values) - 1e-4 <= value <= max(values) + 1e-4


@given(st.lists(clients, min_size=1, max_size=5), st.floats(-10, 10))
def test_equal_states_stay_as_they_are(drawn: list[tuple[int, Mode, float, float]], value: float) -> None:
    rounds = [outcome(str(i), cut, mode, value, weight) for i, (cut, mode, _, weight) in enumerate(drawn)]
    for name, merged_value in merged(*rounds).items():
        if name != STATISTIC:
            assert merged_value == pytest.approx(value, rel=1e-5, abs=1e-6)
