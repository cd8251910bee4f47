"""Build a transformers model from a scenario: by configuration or from a checkpoint, with adapters, as blocks."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import nn

from hybridsplit.runtime.models.adapters import mark_trainable
from hybridsplit.runtime.models.blocks import Block, Family, declared_family
from hybridsplit.runtime.models.configuration import (
    AUTO_CLASSES,
    checkpoint_error,
    gist,
    longest_sequence,
    model_config,
    runs_own_code,
)
from hybridsplit.runtime.models.dropout import without_dropout
from hybridsplit.runtime.models.facts import Sample
from hybridsplit.runtime.models.master_weights import keep_master_weights
from hybridsplit.runtime.models.own_blocks import own_blocks
from hybridsplit.runtime.models.precision import round_weights, torch_dtype
from hybridsplit.runtime.models.timm_networks import TIMM
from hybridsplit.runtime.models.traced.scenario import check_length, trace_blocks
from hybridsplit.runtime.models.untied import untie
from hybridsplit.runtime.models.weights import load_checkpoint
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.streams import stream_seed


def build_blocks(
    scenario: Scenario, *, num_labels: int | None = None, meta: bool = False, sample: Sample | None = None
) -> list[Block]:
    """Build the scenario's model and return its blocks, adapters applied and trainable parameters marked.

    Parameters
    ----------
    scenario
        The scenario; its seed draws the weights of a model by value and of new heads and adapters.
    num_labels
        Number of classes of the data.
    meta
        Build on the meta device: shapes without storage, for the profiler.
    sample
        What the data's samples are like, where the scenario does not state it:
        :func:`hybridsplit.runtime.data.sources.sample_of`.

    Raises
    ------
    ScenarioError
        As :func:`model_config`, and if LoRA names modules that the model does not have.
    ProfileError
        If the model's type has no declared block list and its forward pass cannot be traced.
    """
    return build_whole(scenario, num_labels=num_labels, meta=meta, sample=sample)[1]


def build_whole(
    scenario: Scenario, *, num_labels: int | None = None, meta: bool = False, sample: Sample | None = None
) -> tuple[nn.Module, list[Block]]:
    """Build the scenario's model, and its blocks, which hold the model's own modules.

    Parameters
    ----------
    scenario, num_labels, meta, sample
        As of :func:`build_blocks`.

    Raises
    ------
    ScenarioError, ProfileError
        As :func:`build_blocks`.
    """
    if scenario.model.python is None:
        model, blocks = _stated_blocks(scenario, num_labels, sample, meta=meta)
    else:
        model, blocks = own_blocks(scenario, _needed(sample), meta=meta)
    if scenario.model.has_master_weights:
        for block in blocks:
            keep_master_weights(block)
            block.reads_in = torch_dtype(scenario.model)
    return model, blocks


def _needed(sample: Sample | None) -> Sample:
    assert sample is not None, "a model of the user's own is built for samples of data"
    return sample


def _stated_blocks(
    scenario: Scenario, num_labels: int | None, sample: Sample | None, *, meta: bool
) -> tuple[nn.Module, list[Block]]:
    """A model that transformers builds, and its blocks."""
    config = model_config(scenario.model, num_labels)
    family = _family(scenario, config)
    if family is not None or getattr(config.get_text_config(), "rope_parameters", None):
        # Rotary angles exist for any length; the limit is what the model was made for. Tables are looked at as traced.
        check_length(scenario, longest_sequence(config))
    model = build_model(scenario, config, meta=meta)
    if family is not None:
        blocks = family.decompose(model, scenario.model.task)
        untie(blocks)
        return model, blocks
    shapes = model if meta else build_model(scenario, config, meta=True)
    return model, trace_blocks(scenario, model, shapes, sample)


def _family(scenario: Scenario, config: Any) -> Family | None:
    """The declared family of a model, None where it is traced: code that comes with a checkpoint is another's."""
    return None if runs_own_code(config, scenario.model) else declared_family(config.model_type, scenario.model.task)


def build_model(scenario: Scenario, config: Any, *, meta: bool) -> Any:
    """Return the whole model as transformers gives it, adapters applied and trainable parameters marked.

    Parameters
    ----------
    scenario
        The scenario.
    config
        As :func:`model_config` gives it.
    meta
        Build on the meta device.

    Raises
    ------
    ScenarioError
        As :func:`build_blocks`.
    """
    auto = AUTO_CLASSES[scenario.model.task]
    name_class(config, auto)
    # A model without a declared kernel keeps the attention that transformers chooses: not every model has every kind.
    family = _family(scenario, config)
    attention = None if family is None else family.attention
    device = torch.device("meta") if meta else contextlib.nullcontext()
    with torch.random.fork_rng(devices=[]), device:
        torch.manual_seed(stream_seed(scenario.seed, "weights"))
        try:
            if scenario.model.checkpoint is None:
                model = auto.from_config(config, attn_implementation=attention, trust_remote_code=False)
            else:
                model = load_checkpoint(scenario.model, auto, config, attention, meta=meta)
        except ScenarioError:
            raise
        except OSError as error:
            raise checkpoint_error(scenario.model, error) from error
        except Exception as error:  # transformers and safetensors raise many types
            raise ScenarioError(
                f"model: {config.model_type} with these settings cannot be built for {scenario.model.task}: "
                f"{gist(error)}"
            ) from error
        if meta:
            # Some models make tensors in ways that pass the default device by, as XLNet does.
            model.to("meta")
        if config.model_type == TIMM:
            without_dropout(model)
        for module in model.modules():
            # Rates that a model's code states itself, beside those of its configuration.
            if isinstance(module, nn.modules.dropout._DropoutNd):
                module.p = 0.0
        mark_trainable(model, scenario.training.trainable, scenario.model.task)
    round_weights(model, torch_dtype(scenario.model))
    return model


def name_class(config: Any, auto: Any) -> None:
    """Choose the first of several classes a type has for a task, where the configuration names none.

    Parameters
    ----------
    config
        A transformers configuration; changed.
    auto
        The automatic class of the task.
    """
    classes = auto._model_mapping.get(type(config), None)
    if isinstance(classes, tuple) and not config.architectures:
        config.architectures = [classes[0].__name__]
