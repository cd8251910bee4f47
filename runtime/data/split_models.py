"""A scenario's model, ready to be cut: its blocks, and auxiliary heads where a mode trains by a local loss."""

from __future__ import annotations

import torch

from hybridsplit.runtime.data.sources import Dataset, load_dataset, model_blocks, sample_of, states_shapes
from hybridsplit.runtime.models.configuration import image_channels, model_config
from hybridsplit.runtime.models.facts import Sample
from hybridsplit.runtime.models.precision import torch_dtype
from hybridsplit.runtime.split.link import Batch
from hybridsplit.runtime.split.local_heads import local_heads
from hybridsplit.runtime.split.parts import SplitModel
from hybridsplit.scenarios.schema import ImageSource, Scenario, TextSource
from hybridsplit.scenarios.scores import SINGLE_LABEL
from hybridsplit.scenarios.sections.local_loss import local_modes


def split_model(scenario: Scenario, *, dataset: Dataset | None = None) -> SplitModel:
    """Build the scenario's model for its data, with the auxiliary heads that its modes need.

    Parameters
    ----------
    scenario
        The scenario.
    dataset
        Its data; loaded where they are needed and not given.

    Raises
    ------
    ScenarioError, ProfileError
        If the data are not what the scenario says, or the model cannot be built, or has no heads.
    """
    if not local_modes(scenario.training.modes):
        return SplitModel(model_blocks(scenario, dataset=dataset))
    if dataset is None and not states_shapes(scenario):
        dataset = load_dataset(scenario)
    blocks = model_blocks(scenario, dataset=dataset)
    batch = batch_like(scenario, 1, sample_of(scenario, dataset), torch.device("cpu"))
    return SplitModel(blocks, local_heads(blocks, batch, scenario))


def batch_like(scenario: Scenario, batch_size: int, sample: Sample | None, device: torch.device) -> Batch:
    """Return a mini-batch of zeros in the shapes of the scenario's data.

    Parameters
    ----------
    scenario, batch_size, device
        The scenario, samples of the batch, and where it is: shapes alone on the meta device.
    sample
        What the data's samples are like, where the scenario does not state it.
    """
    data, is_language = scenario.data, scenario.model.task == "causal-lm"
    if sample is not None:
        inputs = torch.zeros(batch_size, *sample.shape, dtype=sample.dtype, device=device)
        if scenario.model.problem_type != SINGLE_LABEL:
            labels = torch.zeros(batch_size, sample.num_classes, device=device)
        else:
            labels = torch.zeros(inputs.shape if is_language else (batch_size,), dtype=torch.long, device=device)
        mask_BS = torch.ones(inputs.shape[:2], dtype=torch.bool, device=device) if sample.is_padded else None
        return Batch(inputs, labels, mask_BS)
    if isinstance(data, ImageSource):
        channels = image_channels(model_config(scenario.model), 1)
        shape = batch_size, channels, data.image_size, data.image_size
        images = torch.zeros(shape, dtype=torch_dtype(scenario.model), device=device)
        return Batch(images, torch.zeros(batch_size, dtype=torch.long, device=device))
    length = scenario.training.sequence_length
    assert length is not None
    tokens = torch.zeros(batch_size, length, dtype=torch.long, device=device)
    is_padded = isinstance(data, TextSource) and data.is_padded
    mask_BS = torch.ones(batch_size, length, dtype=torch.bool, device=device) if is_padded else None
    # A label tensor of its own where padding is masked out, the ids themselves otherwise: both cross the air.
    labels = torch.zeros_like(tokens) if is_language else torch.zeros(batch_size, dtype=torch.long, device=device)
    return Batch(tokens, labels, mask_BS)
