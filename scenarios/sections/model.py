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
    """Precision of computing: of activations, their gradients, frozen weights, and of what crosses the cut; losses and
    averages are in single precision either way. In what precision a checkpoint was stored does not matter."""
    master_weights: Literal["float32", "none"] = "float32"
    """With ``dtype: bfloat16``, whether trained parameters, their gradients and optimizer state are kept in single
    precision and rounded where they are read, or are in bfloat16 too: half the memory, and steps and probes that are
    smaller than half the spacing of bfloat16 numbers are lost. Without effect for ``float32``."""

    @property
    def has_master_weights(self) -> bool:
        """Whether trained parameters are kept in a wider precision than is computed in."""
        return self.dtype != "float32" and self.master_weights == "float32"

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
