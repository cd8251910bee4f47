"""What is predicted for any family, mode and length is what a run takes."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch

from hybridsplit.profiler.memory import client_memory
from hybridsplit.profiler.models import traced_model
from hybridsplit.runtime.session.client import run_client_round
from hybridsplit.runtime.split.link import Batch
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.contracts.placement import Placement
from hybridsplit.scenarios.modes import MODES
from hybridsplit.scenarios.schema import Scenario, TextTable
from hybridsplit.testing.families import FAMILIES, TRACED, family_batch, family_model, family_scenario
from tests.modes import LOCAL_MODES, MODEL_LOSS_MODES
from tests.tiers import one_of

TEXTS = [name for name, spec in {**FAMILIES, **TRACED}.items() if spec["task"] != "image-classification"]
IMAGES = [name for name in {**FAMILIES, **TRACED} if name not in TEXTS]


def modes_of(family: str) -> list[str]:
    """All modes; of traced families those without a head, which packed activations have none of."""
    return list(MODES) if family in FAMILIES else list(MODEL_LOSS_MODES)


def agrees_with_runs(scenario: Scenario, *, padded: bool) -> None:
    """Compare prediction and measurement at a cut in the middle and at a drawn one, in every mode."""
    table = TextTable(source="text-table", path="texts.csv", tokenizer="tokenizer")
    traced_as = scenario.model_copy(update={"data": table}) if padded else scenario
    traced, model = traced_model(traced_as), family_model(traced_as)
    start, size = model.whole.snapshot(), scenario.training.batch_size
    drawn = random.Random(f"{scenario.name} {scenario.training.sequence_length}").randint(1, model.num_blocks)
    for cut in {1, drawn}:
        for mode in scenario.training.modes:
            if cut == model.num_blocks and mode not in LOCAL_MODES:
                continue
            outcome = run_client_round(
                model, start, Assignment("pi-0", Placement(cut=cut, mode=mode, batch_size=size), 1.0, 1 << 40),
                lambda step: _batch(scenario, step, padded=padded), scenario, 0, measure_memory=True,
            )  # fmt: skip
            predicted = client_memory(traced, traced_as, cut, mode).peak_bytes
            assert predicted == pytest.approx(outcome.report.peak_bytes, rel=0.001, abs=8), f"cut {cut}, {mode}"


def _batch(scenario: Scenario, step: int, *, padded: bool) -> Batch:
    """A family's batch, as long as the scenario asks for."""
    batch, length = family_batch(scenario, padded=padded, seed=step), scenario.training.sequence_length
    if length is None:
        return batch

    def longer(tokens_BS: torch.Tensor) -> torch.Tensor:
        # In front, so that padding stays at the end.
        repeats = -(-length // tokens_BS.shape[1])
        return torch.cat([tokens_BS[:, :1].expand(-1, repeats * 12 - 12), tokens_BS], 1)[:, -length:].contiguous()

    labels = longer(batch.labels) if batch.labels.dim() == 2 else batch.labels
    mask_BS = None if batch.mask_BS is None else longer(batch.mask_BS)
    return replace(batch, inputs=longer(batch.inputs), labels=labels, mask_BS=mask_BS)


@pytest.mark.parametrize(("length", "padded"), [(7, True), (12, False)])
@pytest.mark.parametrize("family", one_of(4, TEXTS))
def test_text_at_several_lengths_padded_and_not(family: str, length: int, padded: bool) -> None:
    scenario = family_scenario(
        family, modes=modes_of(family), sequence_length=length, local_steps=2, zeroth_order={"directions": 2}
    )
    agrees_with_runs(scenario, padded=padded)


@pytest.mark.parametrize("family", one_of(3, IMAGES))
def test_images(family: str) -> None:
    scenario = family_scenario(family, modes=modes_of(family), local_steps=2, zeroth_order={"directions": 2})
    agrees_with_runs(scenario, padded=False)
