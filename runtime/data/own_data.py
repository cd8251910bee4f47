"""Samples of a data set that a function of the user's own gives."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hybridsplit.runtime.data.sources import Samples, keyed_by
from hybridsplit.runtime.data.targets import Where, targets_of
from hybridsplit.runtime.models.facts import channels_read
from hybridsplit.runtime.models.seeded import seeded
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.schema import PythonData, Scenario, TextSource
from hybridsplit.scenarios.shown import shown
from hybridsplit.scenarios.user_code import UserFunction

_WHERE = "data.python"
_INPUTS = ("input_ids", "pixel_values", "inputs", "input", "features", "image", "images", "img", "data", "x")
_LABELS = ("labels", "label", "targets", "target", "y")
_NEEDS = f"(input, label), or a mapping with one of {', '.join(_INPUTS)}, and one of {', '.join(_LABELS)}"
_MODES = ("L", "RGB", "RGBA")
_CHANNELS = (1, 3, 4)
_Item = tuple[Tensor, Any, Tensor | None]


def load_own_data(data: PythonData, scenario: Scenario) -> tuple[Samples, int, int | None]:
    """Return the samples of the user's data set, and the number of classes: 0 for a language model.

    Raises
    ------
    ScenarioError
        If the function cannot be had or fails, gives no data set, or samples are not what the task needs; the message
        names the sample.
    """
    user = UserFunction.parsed(data.python)
    with seeded(scenario.seed, "own-data"):
        made = user.call(copy.deepcopy(data.arguments), _WHERE)
        parts = _parts(made, user)
        for part in parts:
            if not (hasattr(part, "__len__") and hasattr(part, "__getitem__")):
                raise ScenarioError(
                    f"{_WHERE}: {user.function} of {user.place} gives {shown(part)} of type {type(part).__name__}; "
                    "needs a torch.utils.data.Dataset with a length, or a pair of them to train and to test on"
                )
        with user.running(_WHERE, "the data set"):
            sizes = [len(part) for part in parts]
        numbered = [(part, index) for part, size in zip(parts, sizes, strict=True) for index in range(size)]
        items = [_item(user, part, index, scenario) for part, index in numbered]
    if not items or 0 in sizes:
        raise ScenarioError(f"{_WHERE}: {user.function} gives a data set without samples; needs some")
    inputs = _stacked([x for x, _, _ in items], "inputs")
    masks = [mask for _, _, mask in items]
    has_masks = [mask is not None for mask in masks]
    if any(has_masks) != all(has_masks):
        raise ScenarioError(f"{_WHERE}: sample {has_masks.index(False)} has no attention_mask, others have one")
    mask_NS = _stacked([m for m in masks if m is not None], "attention_mask").bool() if all(has_masks) else None
    inputs = _fitting(inputs, scenario)
    if scenario.model.task == "causal-lm":
        labels = inputs if mask_NS is None else inputs.masked_fill(~mask_NS, -100)
        samples, num_classes = Samples(inputs, labels, mask_NS, torch.zeros(len(inputs), dtype=torch.long)), 0
    else:
        where = Where(_WHERE, lambda index: f"sample {index}")
        targets = targets_of([[y for _, y, _ in items]], where, scenario.model.problem_type)
        num_classes = targets.num_outputs
        samples = Samples(inputs, targets.labels, mask_NS, keyed_by(targets.labels), targets.names)
    return samples, num_classes, None if len(parts) == 1 else sizes[1]


def _parts(made: Any, user: UserFunction) -> Sequence[Any]:
    """One data set, or that to train on and that to test on."""
    if isinstance(made, Mapping) and {"train", "test"} <= set(made):
        return made["train"], made["test"]
    is_several = isinstance(made, (tuple, list)) and all(isinstance(part, torch.utils.data.Dataset) for part in made)
    if (is_several and len(made) > 2) or isinstance(made, Mapping):
        what = f"the keys {', '.join(map(str, made))}" if isinstance(made, Mapping) else f"{len(made)} data sets"
        raise ScenarioError(
            f"{_WHERE}: {user.function} of {user.place} gives {what}; needs one data set, or a pair of them to train "
            "and to test on, also under the keys train and test"
        )
    return made if isinstance(made, (tuple, list)) and len(made) == 2 else (made,)


def _item(user: UserFunction, part: Any, index: int, scenario: Scenario) -> _Item:
    """Input, label and mask of a sample."""
    with user.running(_WHERE, f"sample {index}"):
        item = part[index]
    label: Any = None
    mask = None
    if isinstance(item, Mapping):
        x = next((item[name] for name in _INPUTS if name in item), None)
        label = next((item[name] for name in _LABELS if name in item), None)
        mask = item.get("attention_mask")
    elif isinstance(item, (tuple, list)) and len(item) == 2:
        x, label = item
    else:
        x = item if scenario.model.task == "causal-lm" else None
    needs_label = scenario.model.task != "causal-lm"
    if x is None or (needs_label and label is None):
        raise ScenarioError(f"{_WHERE}: sample {index} is {_described(item)}; needs {_NEEDS}")
    return (
        _tensor(x, index),
        label.item() if isinstance(label, (Tensor, np.generic)) and _is_one(label) else label,
        (None if mask is None else _tensor(mask, index)),
    )


def _described(item: Any) -> str:
    """An item in words: of a mapping its keys, of several values their types."""
    if isinstance(item, Mapping):
        return f"a {type(item).__name__} with the keys {shown(', '.join(map(str, item)), 80)}"
    if isinstance(item, (tuple, list)):
        return f"a {type(item).__name__} of {', '.join(type(value).__name__ for value in item[:4])}"
    return f"{shown(item)} of type {type(item).__name__}"


def _is_one(value: Any) -> bool:
    return bool(np.prod(value.shape) == 1)


def _tensor(value: Any, index: int) -> Tensor:
    """Any shape [...] of numbers as a tensor on this machine's memory; images of Pillow [C, H, W], of bytes."""
    if hasattr(value, "convert") and hasattr(value, "mode"):
        pixels = np.array(value if value.mode in _MODES else value.convert("RGB"))
        return torch.from_numpy(pixels if pixels.ndim == 2 else pixels.transpose(2, 0, 1).copy()).reshape(
            -1, *pixels.shape[:2]
        )
    try:
        return value.detach().cpu() if isinstance(value, Tensor) else torch.as_tensor(np.array(value))
    except (TypeError, ValueError, RuntimeError) as error:
        raise ScenarioError(
            f"{_WHERE}: sample {index} is {shown(value)} of type {type(value).__name__}; needs a tensor or an array of "
            "numbers"
        ) from error


def _stacked(tensors: Sequence[Tensor], what: str) -> Tensor:
    """[N, ...] of N tensors of one shape."""
    first = tensors[0]
    for index, tensor in enumerate(tensors):
        if (tensor.shape, tensor.dtype) != (first.shape, first.dtype):
            raise ScenarioError(
                f"{_WHERE}: {what} of sample {index} are {list(tensor.shape)} of {tensor.dtype}, those of sample 0 "
                f"{list(first.shape)} of {first.dtype}; needs one shape and type: resize, pad or cut them"
            )
    return torch.stack(list(tensors))


def _fitting(inputs: Tensor, scenario: Scenario) -> Tensor:
    """[N, ...] as the scenario's task reads it."""
    task, shape = scenario.model.task, list(inputs.shape)
    if task in TextSource.tasks:
        length = scenario.training.sequence_length
        if inputs.ndim != 2 or inputs.is_floating_point() or shape[1] != length:
            raise ScenarioError(
                f"{_WHERE}: found inputs {shape} of {inputs.dtype}; {task} needs token ids [N, {length}], as "
                "training.sequence_length says"
            )
        if int(inputs.min()) < 0:
            raise ScenarioError(f"{_WHERE}: found the token {int(inputs.min())}; needs token ids from 0 on")
        return inputs.long()
    if task == "image-classification":
        channels = channels_read(scenario.model, shape[1] if inputs.ndim == 4 else 1)
        if inputs.ndim != 4 or shape[1] != channels:
            raise ScenarioError(
                f"{_WHERE}: found inputs {shape}; {task} needs images [N, {channels}, H, W], channels first"
            )
        if shape[1] not in _CHANNELS and shape[3] in _CHANNELS:
            raise ScenarioError(
                f"{_WHERE}: found inputs {shape}, whose channels seem to come last; needs images [N, C, H, W], "
                "channels first: give image.permute(2, 0, 1)"
            )
        if inputs.dtype == torch.uint8:
            return inputs.float() / 255
    return inputs.float()
