"""Trace the model of a scenario."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from hybridsplit.runtime.models.blocks import MODEL_FAMILIES, Block
from hybridsplit.runtime.models.configuration import image_channels, is_of_shapes, longest_sequence
from hybridsplit.runtime.models.facts import Sample
from hybridsplit.runtime.models.traced.decompose import blocks_between, trace
from hybridsplit.runtime.models.traced.positions import missing_positions
from hybridsplit.runtime.models.traced.record import UntraceableError
from hybridsplit.runtime.models.untied import untie_tables
from hybridsplit.scenarios.errors import ProfileError, ScenarioError
from hybridsplit.scenarios.schema import ImageSource, Scenario, TextSource


def trace_blocks(scenario: Scenario, model: Any, shapes: Any, sample: Sample | None = None) -> list[Block]:
    """Return the blocks of any transformers model, cut where its traced forward pass allows.

    Parameters
    ----------
    scenario
        Gives the shape of a batch.
    model
        The model that the blocks take their modules from.
    shapes
        The same model on the meta device; may be the same object.
    sample
        What the data's samples are like, where the scenario does not state it.

    Raises
    ------
    ScenarioError
        If the scenario's texts are longer than the model has positions for, or shapes do not go together.
    ProfileError
        If the forward pass cannot be traced, or has no valid cut.
    """
    untie_tables(shapes)
    if model is not shapes:
        untie_tables(model)
    model_type = shapes.config.model_type
    advice = (
        f"use one of the declared families ({', '.join(sorted(MODEL_FAMILIES))}), or declare the block list of "
        f"{model_type} as runtime/models/vit.py does (see docs/models.md)"
    )
    try:
        traced = trace(shapes, _forward_of(shapes, scenario), _example_of(shapes, scenario, sample))
    except UntraceableError as error:
        raise ProfileError(f"model: the forward pass of {model_type} cannot be traced: {error}; {advice}") from error
    except Exception as error:  # whatever a model raises for shapes without values
        check_length(scenario, longest_sequence(shapes.config))
        reason = (str(error) or type(error).__name__).splitlines()[0]
        if is_of_shapes(reason):
            raise ScenarioError(
                f"model: the forward pass of {model_type} fails for its shapes: {reason}; image size, sequence length "
                "and configuration do not fit together"
            ) from error
        raise ProfileError(
            f"model: the forward pass of {model_type} cannot be traced: {reason}; likely it decides by values of "
            f"tensors; {advice}"
        ) from error
    length = scenario.training.sequence_length or 0
    if scenario.model.task != "image-classification":
        token = int(getattr(shapes.config.get_text_config(), "pad_token_id", None) == 0)
        missing = missing_positions(traced.program, shapes, token, length)
        check_length(scenario, length - missing)
    if not traced.cuts:
        raise ProfileError(
            f"model: the traced forward pass of {model_type} has no place where a few tensors carry everything onward, "
            f"so there is no cut; {advice}"
        )
    return list(blocks_between(traced, traced.cuts, model))


def check_length(scenario: Scenario, longest: int | None) -> None:
    """Refuse texts that are longer than a model has positions for.

    Parameters
    ----------
    scenario
        Gives the length of its texts.
    longest
        Tokens that the model has positions for; None where there is no limit.

    Raises
    ------
    ScenarioError
        If texts are longer.
    """
    length = scenario.training.sequence_length or 0
    if longest is not None and length > longest:
        raise ScenarioError(
            f"training.sequence_length: found {length}; this model has positions for {longest} tokens: state "
            f"{longest} or less"
        )


def _forward_of(model: Any, scenario: Scenario) -> Callable[[Tensor, Tensor | None], Any]:
    is_image = scenario.model.task == "image-classification"

    def forward(x: Tensor, mask: Tensor | None) -> Any:
        if is_image:
            outputs = model(pixel_values=x)
        else:
            outputs = model(input_ids=x, attention_mask=None if mask is None else mask.long())
        if getattr(outputs, "logits", None) is None:
            raise UntraceableError(f"its forward gives {type(outputs).__name__} without logits")
        return outputs.logits

    return forward


def _example_of(model: Any, scenario: Scenario, sample: Sample | None) -> Callable[[int], tuple[Tensor, Tensor | None]]:
    """Return a maker of batches on the meta device."""
    data, device = scenario.data, torch.device("meta")

    def of_data(batch_size: int) -> tuple[Tensor, Tensor | None]:
        assert sample is not None
        x = torch.empty(batch_size, *sample.shape, dtype=sample.dtype, device=device)
        return x, torch.empty(x.shape[:2], dtype=torch.bool, device=device) if sample.is_padded else None

    def images(batch_size: int) -> tuple[Tensor, Tensor | None]:
        assert isinstance(data, ImageSource)
        channels = image_channels(model.config, 1)
        shape = batch_size, channels, data.image_size, data.image_size
        return torch.empty(shape, dtype=model.dtype, device=device), None

    def tokens(batch_size: int) -> tuple[Tensor, Tensor | None]:
        length = scenario.training.sequence_length
        assert length is not None
        # Only text of different lengths is padded.
        has_mask = isinstance(data, TextSource) and data.is_padded
        mask = torch.empty(batch_size, length, dtype=torch.bool, device=device) if has_mask else None
        return torch.empty(batch_size, length, dtype=torch.long, device=device), mask

    if sample is not None:
        return of_data
    return images if isinstance(data, ImageSource) else tokens
