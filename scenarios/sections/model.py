"""What is trained."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import model_validator

from hybridsplit.scenarios.sections.base import Section
from hybridsplit.scenarios.shown import shown


class Model(Section):
    """The model: a transformers configuration by value, or a checkpoint."""

    task: Literal["image-classification", "sequence-classification", "causal-lm"]
    """What the head predicts; it decides the loss and the size of the labels."""
    config: dict[str, Any] | None = None
    """A transformers configuration by value, with its ``model_type``; the weights are drawn from the seed."""
    checkpoint: str | None = None
    """A local folder, or a name on the Hugging Face hub, with configuration and weights."""

    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of weights, activations, gradients and optimizer state, and of what crosses the cut; losses and
    averages are in single precision either way."""

    @model_validator(mode="after")
    def _exactly_one_origin(self) -> Self:
        if (self.config is None) == (self.checkpoint is None):
            raise ValueError("needs exactly one of 'config' (by value) and 'checkpoint' (a folder or hub name)")
        if self.config is not None and "model_type" not in self.config:
            raise ValueError("config needs the key 'model_type', for example 'opt', 'bert', 'vit' or 'resnet'")
        if self.config is not None and not isinstance(self.config["model_type"], str):
            raise ValueError(
                f"config.model_type: found {shown(self.config['model_type'])}; needs text, for example 'opt' or 'bert'"
            )
        return self
