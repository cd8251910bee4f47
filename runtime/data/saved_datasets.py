"""A data set of the library ``datasets``, saved to a folder."""

from __future__ import annotations

import warnings
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np
import torch

from hybridsplit.runtime.data.image_folders import as_tensor
from hybridsplit.runtime.data.sources import Samples, keyed_by, prepared_images
from hybridsplit.runtime.data.tables import check_tokens, tokenize
from hybridsplit.runtime.data.targets import Targets, Where, targets_of
from hybridsplit.runtime.models.facts import channels_read
from hybridsplit.scenarios.errors import InputWarning, ScenarioError
from hybridsplit.scenarios.schema import SavedDataset, Scenario, TextSource
from hybridsplit.scenarios.scores import MULTI_LABEL, REGRESSION
from hybridsplit.scenarios.shown import gist, shown
from hybridsplit.scenarios.user_code import how_to_install

_COLUMN = {
    "image-classification": "image",
    "sequence-classification": "text",
    "causal-lm": "text",
    "classification": "features",
}
_COLOUR = 3


def load_saved_dataset(data: SavedDataset, scenario: Scenario) -> tuple[Samples, int, int | None]:
    """Return the samples of a saved data set, and the number of classes: 0 for a language model.

    Raises
    ------
    ScenarioError
        If it cannot be read, lacks a column or a key that the task needs, or the library is missing.
    """
    parts = _splits(data)
    task = scenario.model.task
    column = data.column or _COLUMN[task]
    columns: list[list[Any]] = []
    key = "label_column" if data.label_columns is None else "label_columns"
    if task != "causal-lm":
        columns = [_values(parts, name, key, data) for name in data.columns_of_labels]
    values = _values(parts, column, "column", data)
    targets = Targets(torch.zeros(len(values), dtype=torch.long), 0)
    if columns:
        known = [["" if y is None else y for y in labels] for labels in columns]
        names = () if scenario.model.problem_type == REGRESSION else _class_names(parts[0], data)
        if names and scenario.model.problem_type == MULTI_LABEL:
            known = [[_marked(y, len(names)) for y in labels] for labels in known]
        targets = targets_of(
            known, Where(f"data.{key}: {data.path}", _row), scenario.model.problem_type,
            names=data.columns_of_labels, separator=data.label_separator,
        )  # fmt: skip
        if targets.num_outputs <= len(names):
            targets = replace(targets, names=names, num_outputs=len(names))
    samples = _samples(data, values, column, targets, scenario)
    return samples, targets.num_outputs, None if len(parts) == 1 else len(parts[1])


def _samples(data: SavedDataset, values: list[Any], column: str, targets: Targets, scenario: Scenario) -> Samples:
    labels, names = targets.labels, targets.names
    task, where = scenario.model.task, f"data.column: {data.path}: {column}"
    if task in TextSource.tasks:
        if data.tokenizer is None:
            raise ScenarioError(f"data.tokenizer: is needed for {task}; state a local folder or a name on the hub")
        if wrong := [index for index, text in enumerate(values) if not isinstance(text, str) or not text.strip()]:
            raise ScenarioError(
                f"{where}: {_row(wrong[0])} is {shown(values[wrong[0]])} ({len(wrong)} such rows); needs text in "
                "every row"
            )
        input_ids, mask_NS = tokenize(data.tokenizer, values, scenario)
        check_tokens(input_ids, mask_NS, where, _row, scenario)
        if task == "causal-lm":
            return Samples(input_ids, input_ids.masked_fill(~mask_NS, -100), mask_NS, labels)
        return Samples(input_ids, labels, mask_NS, keyed_by(labels), names)
    if task == "image-classification":
        if data.image_size is None:
            raise ScenarioError("data.image_size: is needed for images; state the side of the resized square, pixels")
        if wrong := [index for index, image in enumerate(values) if not hasattr(image, "convert")]:
            raise ScenarioError(
                f"{where}: {_row(wrong[0])} is {shown(values[wrong[0]])}; needs images: cast the column to "
                "datasets.Image before saving"
            )
        channels = channels_read(scenario.model, _COLOUR)
        images = torch.stack([as_tensor(image, channels, data.image_size) for image in values])
        return prepared_images(images, labels, data.image_size, scenario, names)
    try:
        numbers = torch.from_numpy(np.asarray(values, dtype=np.float32))
    except (TypeError, ValueError) as error:
        raise ScenarioError(f"{where}: not numbers of one shape in every row ({gist(error)})") from error
    return Samples(numbers, labels, None, keyed_by(labels), names)


def _splits(data: SavedDataset) -> list[Any]:
    try:
        datasets = import_module("datasets")
    except ModuleNotFoundError as error:
        raise ScenarioError(f"data.source: 'saved-dataset' needs a package: {how_to_install('datasets')}") from error
    try:
        found = datasets.load_from_disk(data.path)
    except Exception as error:  # the library raises many types for a folder of another kind
        raise ScenarioError(
            f"data.path: {data.path}: not a saved data set ({gist(error)}); needs a folder that save_to_disk wrote"
        ) from error
    if not isinstance(found, dict):
        return [found]
    if "train" not in found:
        raise ScenarioError(f"data.path: {data.path}: found the splits {', '.join(found)}; needs one called train")
    if "test" not in found and len(found) > 1:
        warnings.warn(
            f"data.path: {data.path}: has no split called test, so that a part of train is held out; passed over: "
            f"{', '.join(name for name in found if name != 'train')}",
            InputWarning,
            stacklevel=2,
        )
    return [found["train"], *([found["test"]] if "test" in found else [])]


def _values(parts: list[Any], column: str, key: str, data: SavedDataset) -> list[Any]:
    for part in parts:
        if column not in part.column_names:
            raise ScenarioError(
                f"data.{key}: found {shown(column)}; {data.path} has the columns {', '.join(part.column_names)}"
            )
    return [value for part in parts for value in part[column]]


def _class_names(part: Any, data: SavedDataset) -> tuple[str, ...]:
    """Names that the data set's own type of labels (``ClassLabel``, or lists of it) has for their numbers."""
    feature = part.features.get(data.columns_of_labels[0])
    names = getattr(feature, "names", None) or getattr(getattr(feature, "feature", None), "names", None)
    return () if len(data.columns_of_labels) > 1 or not names else tuple(names)


def _marked(numbers: Any, num_classes: int) -> Any:
    """A list of the numbers of a sample's classes as 0 and 1 for each; anything else as it is."""
    if not isinstance(numbers, list) or not all(isinstance(one, int) and 0 <= one < num_classes for one in numbers):
        return numbers
    return [int(number in numbers) for number in range(num_classes)]


def _row(index: int) -> str:
    return f"row {index}"
