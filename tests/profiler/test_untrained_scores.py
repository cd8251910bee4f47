"""Scores of untrained models, against PyTorch's own count and gradients of the whole model."""

from __future__ import annotations

import math

import pytest
import torch
import yaml
from torch.utils.flop_counter import FlopCounterMode

from hybridsplit.profiler.options import profiled_model
from hybridsplit.profiler.untrained_scores import untrained_scores
from hybridsplit.runtime.data.partition import draw_batch
from hybridsplit.runtime.data.sources import load_dataset
from hybridsplit.runtime.models.build import build_whole
from hybridsplit.scenarios.loader import builtin_text, scenario_of_values
from hybridsplit.scenarios.schema import Scenario


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    document = yaml.safe_load(builtin_text("quickstart"))
    document["model"]["config"] |= {"hidden_sizes": [8, 16], "depths": [1, 1], "embedding_size": 8}
    for group in document["clients"]:
        group |= {"min_cut": 1}
    return scenario_of_values(document, {"data.image_size": 8, "objective.gradient_split": "assumed"})


def test_scores_are_those_of_the_whole_model(scenario: Scenario) -> None:
    scores = untrained_scores(scenario, profiled_model(scenario))
    data = load_dataset(scenario)
    model, _ = build_whole(scenario)
    model.train()
    norms, saliencies = [], []
    for step in range(4):
        batch = draw_batch(data.train, torch.arange(len(data.train)), scenario, "untrained-scores", step)
        model.zero_grad()
        torch.nn.functional.cross_entropy(model(batch.inputs).logits, batch.labels).backward()
        norms.append(sum(float(p.grad.norm()) for p in model.parameters()))  # type: ignore[union-attr]
        saliencies.append(sum(float((p.detach() * p.grad).abs().sum()) for p in model.parameters()))  # type: ignore[operator]
    assert scores.parameters == sum(p.numel() for p in model.parameters())
    assert scores.gradient_norm == pytest.approx(math.fsum(norms) / 4, rel=1e-4)
    assert scores.saliency == pytest.approx(math.fsum(saliencies) / 4, rel=1e-4)


def test_operations_grow_as_those_that_pytorch_counts(scenario: Scenario) -> None:
    """Which counts products with padding too, and ours do not."""
    counted, ours = [], []
    for sizes in ([8, 16], [16, 32]):
        config = {**(scenario.model.config or {}), "hidden_sizes": sizes, "embedding_size": sizes[0]}
        wider = scenario_of_values(scenario.resolved(), {"model.config": config})
        ours.append(untrained_scores(wider, profiled_model(wider)).operations)
        model, _ = build_whole(wider)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(torch.zeros(scenario.training.batch_size, 1, 8, 8))
        counted.append(counter.get_total_flops())
    assert ours[1] / ours[0] == pytest.approx(counted[1] / counted[0], rel=0.06)
