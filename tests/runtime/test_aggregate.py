"""Aggregation across cuts and modes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hybridsplit.runtime.aggregation.weighted_mean import EntryWeights, WeightedMean, is_finite
from hybridsplit.runtime.models.blocks import Block
from hybridsplit.runtime.split.parts import SplitModel, State
from hybridsplit.runtime.worker.groups import MAX_GROUPS, groups_of
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.contracts.placement import Placement
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.scenarios.modes import MODES
from hybridsplit.scenarios.schema import ZerothOrder
from tests.modes import EXACT_MODES

NAMES = ("blocks.0.weight", "blocks.1.weight", "blocks.2.weight")
STATISTIC = "blocks.0.norm.running_mean"
DIRECTIONS = 4


class Chained(Block):
    """Ten trained numbers, and statistics in the first block."""

    def __init__(self, index: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(10))
        if index == 0:
            self.norm = nn.Module()
            self.norm.register_buffer("running_mean", torch.zeros(10))

    def forward(self, x: torch.Tensor, mask_BS: torch.Tensor | None = None) -> torch.Tensor:
        return x


def model() -> SplitModel:
    return SplitModel([Chained(index) for index in range(3)])


def weights(**settings: Any) -> EntryWeights:
    scenario = load_scenario("quickstart", [f"training.zeroth_order.directions={DIRECTIONS}"])
    return EntryWeights(model(), scenario.training.model_copy(update=settings))


WEIGHTS = weights()


@dataclass(frozen=True)
class Outcome:
    who: Assignment
    state: State


def state(value: float) -> State:
    return {name: torch.full((2,), value) for name in (*NAMES, STATISTIC)}


def outcome(client: str, cut: int, mode: Mode, value: float, weight: float = 0.5) -> Outcome:
    return Outcome(Assignment(client, Placement(cut=cut, mode=mode, batch_size=1), weight, 1), state(value))


def average(old: State, outcomes: Sequence[Outcome], entry_weights: EntryWeights = WEIGHTS) -> State:
    """Average in groups, as a round does."""
    by_client = {one.who.client: one for one in outcomes}
    total = WeightedMean()
    for group in groups_of([one.who for one in outcomes]):
        mean = WeightedMean()
        for member in group.members:
            mean.add(by_client[member.client].state, entry_weights.of(member))
        contribution = mean.contribution(old)
        total.add(contribution.mean, contribution.weights)
    new = total.contribution(old).mean
    return {name: new.get(name, tensor) for name, tensor in old.items()}


def merged(*outcomes: Outcome) -> dict[str, float]:
    return {name: float(tensor[0]) for name, tensor in average(state(0.0), outcomes).items()}


def random_state() -> State:
    return {name: torch.randn(5) for name in (*NAMES, STATISTIC)}


@pytest.mark.parametrize("mode", sorted(EXACT_MODES))
def test_one_client_reduces_to_plain_training_bit_for_bit(mode: Mode) -> None:
    one = Outcome(Assignment("a", Placement(cut=2, mode=mode, batch_size=1), 0.3, 1), random_state())
    new = average(random_state(), [one])
    assert all(torch.equal(new[name], one.state[name]) for name in new)


def test_exact_clients_average_by_data() -> None:
    new = merged(outcome("a", 1, Mode.FO, 1.0, 0.75), outcome("b", 2, Mode.FO_RECOMPUTE, 5.0, 0.25))
    assert all(value == pytest.approx(2.0) for value in new.values())


def test_estimates_do_not_drown_exact_gradients() -> None:
    new = merged(outcome("a", 1, Mode.FO, 1.0), outcome("b", 1, Mode.ZO_LOSS, 100.0))
    rho = DIRECTIONS / (10 + DIRECTIONS - 1)
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


def test_the_mean_of_states_is_the_old_state_and_the_mean_of_deltas() -> None:
    old = random_state()
    outcomes = [
        Outcome(Assignment(str(i), Placement(cut=2, mode=Mode.FO, batch_size=1), 0.1 + i, 1), random_state())
        for i in range(5)
    ]
    total = sum(one.who.data_weight for one in outcomes)
    new = average(old, outcomes)
    for name in NAMES:
        delta = sum(one.who.data_weight / total * (one.state[name] - old[name]).double() for one in outcomes)
        torch.testing.assert_close(new[name].double(), old[name].double() + delta, rtol=0, atol=1e-6)


def test_a_server_trained_by_estimates_weighs_like_one() -> None:
    """Without back-propagation anywhere, a block on the device and the same block on the server are estimates alike."""
    everywhere = weights(server_gradient="zeroth-order")
    on_device = Assignment("a", Placement(cut=3, mode=Mode.ZO_LOSS, batch_size=1), 0.5, 1)
    on_server = Assignment("b", Placement(cut=1, mode=Mode.ZO_LOSS, batch_size=1), 0.5, 1)
    rho = {d: DIRECTIONS / (d + DIRECTIONS - 1) for d in (10, 20, 30)}
    assert everywhere.of(on_device)[NAMES[2]] == pytest.approx(0.5 * rho[30])
    assert everywhere.of(on_server)[NAMES[2]] == pytest.approx(0.5 * rho[20])
    assert everywhere.of(on_server)[NAMES[0]] == pytest.approx(0.5 * rho[10])


def test_blocks_of_the_common_prefix_are_not_averaged() -> None:
    entries = weights(zo_prefix_blocks=1).of(
        Assignment("a", Placement(cut=2, mode=Mode.ZO_PROJECTION, batch_size=1), 0.5, 1)
    )
    assert set(entries) == set(NAMES[1:])


@given(st.integers(1, 300), st.integers(0, 5))
def test_groups_cover_everybody_once_in_order(num_clients: int, num_chained: int) -> None:
    clients = [
        Assignment(
            f"c{i}",
            Placement(cut=1, mode=Mode.FO, batch_size=1),
            1.0,
            1,
            resource=f"r{i % 2}" if i % 7 == 0 and i >= num_chained else None,
        )
        for i in range(num_clients)
    ]
    chain = [client.client for client in clients[:num_chained]][::-1]
    groups = groups_of(clients, chain)
    rest = [member.client for group in groups if not group.chained for member in group.members]
    assert [member.client for group in groups if group.chained for member in group.members] == chain
    assert rest == [client.client for client in clients[num_chained:]]
    assert all(
        len({member.resource for member in group.members} | {group.resource}) == 1
        for group in groups
        if not group.chained
    )


def test_a_thousand_clients_are_few_groups() -> None:
    clients = [Assignment(f"c{i}", Placement(cut=1, mode=Mode.FO, batch_size=1), 1.0, 1) for i in range(1000)]
    assert len(groups_of(clients)) <= MAX_GROUPS


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


@given(
    st.integers(2, 10_000), st.integers(1, 64), st.integers(1, 8), st.integers(0, 8), st.sampled_from([0.0, 1.0, 3.0])
)
def test_adding_a_zeroth_order_client_never_lowers_expected_progress(
    dimension: int, directions: int, num_exact: int, num_estimates: int, noise: float
) -> None:
    """The error of the averaged step does not grow, from one estimating client to the next.

    Squared norms, in units of the gradient's: a mini-batch gradient has noise of 1 + ``noise`` (at least as much noise
    as gradient), and an estimate of it along ``q`` signs errs by ``(d - 1) / q`` of its own norm
    (docs/methods/training-modes.md, Estimator moments). With less batch noise than that, an exact gradient is best left
    alone.
    """
    rho = MODES[Mode.ZO_LOSS].reliability(ZerothOrder(directions=directions), dimension)
    exact_error = 1.0 + noise
    estimate_error = (1.0 + exact_error) * (1.0 + (dimension - 1) / directions) - 1.0

    def error(num: int) -> float:
        total = num_exact + num * rho
        return (num_exact * exact_error + num * rho**2 * estimate_error) / total**2

    assert error(num_estimates + 1) <= error(num_estimates) * (1 + 1e-12)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_one_entry_that_is_not_finite_is_found(bad: float, dtype: torch.dtype) -> None:
    """And the largest finite ones are no fault, though their sum is not finite."""
    largest = torch.full((3,), torch.finfo(dtype).max, dtype=dtype)
    fine = {"a": largest, "b": largest.float(), "empty": torch.empty(0)}
    assert is_finite(fine)
    assert is_finite({})
    assert not is_finite({**fine, "c": torch.tensor([0.0, bad, 1.0], dtype=dtype)})
