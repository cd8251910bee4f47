"""Every training mode is right by identity (docs/methods/training-modes.md, Identities that tests check)."""

from __future__ import annotations

import pytest
import torch

from hybridsplit.runtime.session.client import run_client_round
from hybridsplit.runtime.split.link import Batch
from hybridsplit.runtime.split.parts import SplitModel
from hybridsplit.runtime.split.reports import ClientRound
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.contracts.placement import Placement
from hybridsplit.scenarios.modes import MODES
from hybridsplit.scenarios.schema import Scenario, ZerothOrder
from hybridsplit.testing.families import FAMILIES, family_batch, family_model, family_scenario
from tests.tiers import one_of


def one_round(
    scenario: Scenario, model: SplitModel, start: dict[str, torch.Tensor], cut: int, mode: Mode, batch: Batch
) -> ClientRound:
    assignment = Assignment(
        "pi-0", Placement(cut=cut, mode=mode, batch_size=scenario.training.batch_size), 1.0, 1 << 40
    )
    return run_client_round(model, start, assignment, lambda step: batch, scenario, 0, measure_memory=False)


@pytest.mark.parametrize(
    "optimizer",
    [
        {"name": "sgd", "learning_rate": 0.1},
        {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.01},
        {"name": "adamw", "learning_rate": 0.01},
    ],
)
@pytest.mark.parametrize("family", one_of(3, FAMILIES))
def test_recomputing_changes_no_result(family: str, optimizer: dict[str, object]) -> None:
    """Exact gradients and BatchNorm statistics equal to rounding, over several steps and optimizers."""
    scenario = family_scenario(family, local_steps=3, optimizer=optimizer)
    model = family_model(scenario)
    start = model.whole.snapshot()
    batches = [family_batch(scenario, seed=seed) for seed in range(3)]
    states = []
    for mode in (Mode.FO, Mode.FO_RECOMPUTE):
        assignment = Assignment(
            "pi-0", Placement(cut=3, mode=mode, batch_size=scenario.training.batch_size), 1.0, 1 << 40
        )
        outcome = run_client_round(
            model, start, assignment, lambda step: batches[step], scenario, 0, measure_memory=False
        )
        states.append(outcome.state)
    tolerance = 2e-5 if optimizer["name"] == "sgd" else 5e-3  # AdamW's first steps amplify rounding of tiny gradients
    for name, tensor in states[0].items():
        torch.testing.assert_close(states[1][name], tensor, rtol=tolerance, atol=tolerance, msg=name)


def test_recomputation_counts_batch_statistics_once() -> None:
    scenario = family_scenario("resnet")
    batch, model = family_batch(scenario), family_model(scenario)
    start = model.whole.snapshot()
    exact = one_round(scenario, model, start, 3, Mode.FO, batch).state
    recomputed = one_round(scenario, model, start, 3, Mode.FO_RECOMPUTE, batch).state
    means = [name for name in exact if name.endswith("running_mean")]
    assert means
    for name in means:
        assert torch.equal(exact[name], recomputed[name])
        assert not torch.equal(exact[name], start[name])


def test_only_touched_embedding_rows_move() -> None:
    scenario = family_scenario("bert", zeroth_order={"optimizer": {"name": "sgd", "learning_rate": 1e-2}})
    batch, model = family_batch(scenario), family_model(scenario)
    start = model.whole.snapshot()
    state = one_round(scenario, model, start, 2, Mode.ZO_PROJECTION, batch).state
    name = next(n for n in state if "word_embeddings" in n)
    moved = (state[name] != start[name]).any(dim=1)
    touched = torch.zeros_like(moved)
    touched[batch.inputs.flatten()] = True
    assert torch.equal(moved, touched)


def test_reliability_is_the_expected_squared_cosine() -> None:
    settings = ZerothOrder(directions=4)
    assert MODES[Mode.FO].reliability(settings, 100) == 1.0
    assert MODES[Mode.FROZEN].reliability(settings, 100) == 0.0
    assert MODES[Mode.ZO_PROJECTION].reliability(settings, 100) == 4 / 103
    assert MODES[Mode.ZO_LOSS].reliability(ZerothOrder(directions=4, effective_dimension=10), 100) == 4 / 13
    assert MODES[Mode.ZO_LOSS].reliability(ZerothOrder(directions=4, effective_dimension=10**9), 100) == 4 / 103
    generator = torch.Generator().manual_seed(0)
    gradient = torch.randn(60, generator=generator)
    cosines = []
    for _ in range(3000):
        noise = torch.randn(4, 60, generator=generator)
        estimate = noise.T @ (noise @ gradient)
        cosines.append(float(torch.cosine_similarity(estimate, gradient, dim=0)) ** 2)
    assert sum(cosines) / len(cosines) == pytest.approx(MODES[Mode.ZO_LOSS].reliability(settings, 60), rel=0.1)
