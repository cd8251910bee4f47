"""Recompute orders: every one gives the bits of any other, and a wrong order is refused."""

from __future__ import annotations

import pytest
import torch

from hybridsplit.runtime.session.client import run_client_round
from hybridsplit.runtime.split.parts import SplitModel
from hybridsplit.runtime.split.reports import ClientRound
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.contracts.placement import Placement
from hybridsplit.scenarios.contracts.recompute import (
    check_order,
    format_order,
    most_kept_inputs,
    one_input_per_block,
    parse_order,
)
from hybridsplit.scenarios.errors import ContractError
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.testing.families import FAMILIES, family_batch, family_model, family_scenario
from tests.tiers import one_of

ORDERS = [
    "k1 a2 a3 a1 a2 g3 b3 a1 g2 b2 g1 b1",
    "k1 a2 k3 g3 b3 a1 g2 b2 g1 b1",
    "g1 g2 g3 b3 b2 b1",
    "k1 g2 g3 b3 b2 g1 b1",
    "g1 k2 a3 a2 g3 b3 g2 b2 b1",
]


def one_round(
    scenario: Scenario, model: SplitModel, start: dict[str, torch.Tensor], mode: Mode, recompute: str
) -> ClientRound:
    assignment = Assignment(
        "pi-0", Placement(cut=3, mode=mode, recompute=recompute, batch_size=scenario.training.batch_size), 1.0, 1 << 40
    )
    return run_client_round(
        model, start, assignment, lambda step: family_batch(scenario, seed=step), scenario, 0, measure_memory=False
    )


@pytest.mark.parametrize("recompute", ORDERS)
@pytest.mark.parametrize("family", one_of(3, [f for f in FAMILIES if f != "resnet-bottleneck"]))
def test_every_order_gives_the_bits_of_one_input_per_block(family: str, recompute: str) -> None:
    """Weights, optimizer and the running statistics of BatchNorm, over several steps."""
    scenario = family_scenario(family, local_steps=3, optimizer={"name": "adamw", "learning_rate": 0.01})
    model = family_model(scenario)
    start = model.whole.snapshot()
    expected = one_round(scenario, model, start, Mode.FO_RECOMPUTE, "")
    found = one_round(scenario, model, start, Mode.FO_RECOMPUTE, recompute)
    assert found.report.train_loss == expected.report.train_loss
    for name, tensor in expected.state.items():
        assert torch.equal(found.state[name], tensor), name


@pytest.mark.parametrize(
    ("recompute", "said"),
    [
        ("k1 k2 k3 g3 b3 g2 b2", "back to block 2"),
        ("k1 a2 k3 g3 b3 g2 b2 g1 b1", "g2"),
        ("k1 k2 k3 g3 b3 b2 g2 g1 b1", "b2"),
        ("k1 k2 k3 g3 g2 b2 b3 g1 b1", "b2"),
        ("k1 k2 g2 b2 g1 b1", "b2"),
        ("k1 k2 k3 k4 g4 b4 g3 b3 g2 b2 g1 b1", "b4"),
        ("k1 k2 x3", "x3"),
    ],
)
def test_an_order_that_does_not_follow_is_refused(recompute: str, said: str) -> None:
    scenario = family_scenario("opt-causal")
    model = family_model(scenario)
    with pytest.raises(ContractError, match=said):
        one_round(scenario, model, model.whole.snapshot(), Mode.FO_RECOMPUTE, recompute)


def test_a_mode_that_recomputes_nothing_takes_no_order() -> None:
    scenario = family_scenario("opt-causal")
    model = family_model(scenario)
    with pytest.raises(ContractError, match="recomputes nothing"):
        one_round(scenario, model, model.whole.snapshot(), Mode.FO, "g1 b1")


def test_orders_survive_their_text() -> None:
    for order in ORDERS:
        steps = parse_order(order)
        check_order(steps, 3)
        assert format_order(steps) == order
    assert most_kept_inputs(parse_order(ORDERS[0])) == 1
    assert most_kept_inputs(one_input_per_block(7)) == 7
    assert format_order(one_input_per_block(3, first_trained=3)) == "a1 a2 k3 g3 b3"
