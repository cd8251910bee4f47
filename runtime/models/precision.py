"""The precision that a scenario trains in, whatever precision a configuration or a checkpoint was saved in.

``model.dtype`` alone decides. Weights are drawn, or read, in single precision and rounded once; a ``dtype`` or
``torch_dtype`` of a transformers configuration says how somebody stored weights, and is of no account here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from hybridsplit.scenarios.schema import Model


def torch_dtype(model: Model) -> torch.dtype:
    """Return the precision of a scenario's model."""
    return torch.bfloat16 if model.dtype == "bfloat16" else torch.float32


def build_in_single_precision(configurations: Iterable[Any]) -> None:
    """Make transformers build in single precision.

    Parameters
    ----------
    configurations
        A transformers configuration and all that are nested in it.
    """
    for config in configurations:
        config.dtype = torch.float32


def round_weights(model: nn.Module, dtype: torch.dtype) -> None:
    """Give parameters and statistics a precision; tables that are not saved, as rotary frequencies, keep theirs.

    Parameters
    ----------
    model
        The whole model.
    dtype
        The precision.
    """
    tensors = [*model.parameters(), *model.buffers()]
    if all(tensor.dtype is dtype for tensor in tensors if tensor.is_floating_point()):
        return
    tables = [
        (module, name, buffer)
        for module in model.modules()
        for name, buffer in module._buffers.items()
        if name in module._non_persistent_buffers_set
    ]
    model.to(dtype)
    for module, name, buffer in tables:
        module._buffers[name] = buffer
