"""A module of the user's own: built by the function that a scenario names, with weights of the scenario's seed."""

from __future__ import annotations

import copy
import warnings

import torch
from torch import nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from hybridsplit.runtime.models.adapters import mark_trainable
from hybridsplit.runtime.models.dropout import without_dropout
from hybridsplit.runtime.models.precision import round_weights, torch_dtype
from hybridsplit.runtime.models.seeded import seeded
from hybridsplit.runtime.models.untied import shared_parameters
from hybridsplit.scenarios.errors import InputWarning, ScenarioError
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.shown import shown
from hybridsplit.scenarios.user_code import UserFunction

WHERE = "model.python"
"""Key path of the function, for messages."""


def own_model(scenario: Scenario, *, meta: bool) -> nn.Module:
    """Call the scenario's function, and return its module: dropout off, adapters applied, trained parameters marked.

    Parameters
    ----------
    scenario
        The scenario; random numbers that the function draws are those of its seed.
    meta
        Shapes alone, on the meta device. A function that cannot build there builds real tensors first.

    Raises
    ------
    ScenarioError
        If the function cannot be had or fails, or gives no module.
    """
    user = UserFunction.parsed(str(scenario.model.python))
    model = _on_meta(user, scenario) if meta else None
    if model is None:
        with seeded(scenario.seed, "weights"):
            model = _module(user, scenario, meta=meta)
            if meta:
                model = model.to("meta")
    without_dropout(model)
    model.float()
    with seeded(scenario.seed, "weights/adapters"), torch.device("meta") if meta else torch.device("cpu"):
        mark_trainable(model, scenario.training.trainable, scenario.model.task)
    round_weights(model, torch_dtype(scenario.model))
    return model


def _on_meta(user: UserFunction, scenario: Scenario) -> nn.Module | None:
    """The module built without memory, or None where its code needs values."""
    try:
        with seeded(scenario.seed, "weights"), torch.device("meta"):
            return _module(user, scenario, meta=True).to("meta")
    except ScenarioError:
        return None


def _without_size(model: nn.Module) -> list[str]:
    """Names of tensors that get their size in the first forward pass."""
    kinds = (UninitializedParameter, UninitializedBuffer)
    return [name for name, one in (*model.named_parameters(), *model.named_buffers()) if isinstance(one, kinds)]


def _module(user: UserFunction, scenario: Scenario, *, meta: bool) -> nn.Module:
    arguments = copy.deepcopy(scenario.model.arguments)
    if meta and user.place == "timm":
        # Shapes need no weights, which timm would fetch from the hub.
        arguments.pop("pretrained", None)
    made = user.call(arguments, WHERE)
    if not isinstance(made, nn.Module):
        raise ScenarioError(
            f"{WHERE}: {user.function} of {user.place} gives {shown(made)} of type {type(made).__name__}; needs a "
            "torch.nn.Module"
        )
    if lazy := _without_size(made):
        raise ScenarioError(
            f"{WHERE}: {lazy[0]} of the {type(made).__name__} of {user.place} has no size yet, as in nn.LazyLinear; "
            "state its size, or run the module on an example in the function before it is returned"
        )
    if not any(True for _ in made.parameters()):
        raise ScenarioError(f"{WHERE}: the {type(made).__name__} of {user.place} has no parameters to train")
    if meta and (shared := shared_parameters(made)):
        more = f", and so are {len(shared) - 1} more" if len(shared) > 1 else ""
        warnings.warn(
            f"{WHERE}: {' and '.join(shared[0][:2])} of {type(made).__name__} are one tensor{more}; here each has a "
            "copy of its own, trained apart, so that no cut has it on both sides",
            InputWarning,
            stacklevel=2,
        )
    return made
