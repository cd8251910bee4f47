"""What a module of the user's own gives: logits, or a value that holds them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

_NAME = "logits"
_MOST_KEYS = 6


def logits_of(outputs: Any) -> Any:
    """Return the logits of a forward pass: the entry or the attribute ``logits`` where there is one.

    Parameters
    ----------
    outputs
        What ``forward`` gave: a tensor, a mapping, or a value with attributes.
    """
    if isinstance(outputs, Mapping) and _NAME in outputs:
        return outputs[_NAME]
    return getattr(outputs, _NAME, outputs)


def described(outputs: Any) -> str:
    """Return in words what was given in place of logits, and what to give, for messages.

    Parameters
    ----------
    outputs
        As :func:`logits_of` returns them.
    """
    if isinstance(outputs, Tensor):
        return str(list(outputs.shape))
    inside = ""
    if isinstance(outputs, Mapping):
        inside = f" with the keys {', '.join(map(str, list(outputs)[:_MOST_KEYS]))}"
    elif isinstance(outputs, (tuple, list)):
        inside = f" of {len(outputs)} values"
    return f"a {type(outputs).__name__}{inside}"
