"""What a scenario says of its model's inputs and outputs; a model of the user's own says nothing, its data do."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hybridsplit.runtime.models.configuration import image_channels, model_config, vocabulary_of
from hybridsplit.scenarios.schema import Model


@dataclass(frozen=True)
class Sample:
    """What the data's samples are like.

    Parameters
    ----------
    shape, dtype
        Of one sample's input.
    is_padded
        Whether an attention mask goes with it.
    num_classes
        Classes of the labels, or labels or numbers of a sample; 0 for a language model.
    largest_token
        Largest of all token ids; None where inputs are no token ids.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    is_padded: bool
    num_classes: int
    largest_token: int | None = None


def channels_read(model: Model, otherwise: int) -> int:
    """Return the channels of the images that a model reads.

    Parameters
    ----------
    model
        The scenario's model section.
    otherwise
        Channels where none are stated.
    """
    return otherwise if model.python is not None else image_channels(model_config(model), otherwise)


def vocabulary_read(model: Model) -> int | None:
    """Return how many tokens a model knows; None where any number is one, or none is stated."""
    return None if model.python is not None else vocabulary_of(model_config(model))


def outputs_stated(model: Model) -> int | None:
    """Return how many classes a classifier by value or of a checkpoint tells apart; None where none is stated."""
    return None if model.python is not None else int(model_config(model).num_labels)
