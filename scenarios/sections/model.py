"""What is trained."""

# Annotations are values here and not text (no __future__): of text, pydantic's reading is a third of the import.

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from hybridsplit.scenarios.scores import SINGLE_LABEL
from hybridsplit.scenarios.sections.base import Section
from hybridsplit.scenarios.shown import shown
from hybridsplit.scenarios.user_code import UserFunction


class Model(Section):
    """The model: a transformers configuration by value, a checkpoint, or a module of your own."""

    task: Literal["image-classification", "sequence-classification", "causal-lm", "classification"]
    """What the model reads, and what its head is for; it decides the loss and the size of the labels.
    ``classification`` is of samples of numbers in any shape, by a module of your own."""
    problem_type: Literal["single_label_classification", "multi_label_classification", "regression"] = SINGLE_LABEL
    """What a label is, by transformers' names: one of several classes (trained by cross-entropy, judged by accuracy),
    any number of labels at once (binary cross-entropy with logits; macro F1), or numbers (mean squared error; R²). A
    language model predicts tokens and leaves it out."""
    config: dict[str, Any] | None = None
    """A transformers configuration by value, with its ``model_type``; the weights are drawn from the seed."""
    checkpoint: str | None = None
    """A local folder, or a name on the Hugging Face hub, with configuration and weights."""
    trust_remote_code: bool = False
    """Whether Python code that comes with the checkpoint (``auto_map``) is run; it is refused otherwise, without
    asking."""
    python: str | None = None
    """A function or class of your own that gives a ``torch.nn.Module``, ``package.module:function`` or
    ``path/to/file.py:function``, relative to this file. It is run because it stands here; random weights follow the
    seed."""
    arguments: Annotated[dict[str, Any], Field(default_factory=dict)]
    """Keyword arguments of ``python``."""
    blocks: Annotated[tuple[str, ...], Field(min_length=2)] | None = None
    """Names of modules of ``python``'s model, as ``layers.0``, that are executed in order: a cut may fall behind each.
    Found by tracing its forward pass when absent."""

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

    @property
    def loss_kind(self) -> str:
        """What the loss is chosen by: the problem type where that is not of single classes, and the task otherwise."""
        return self.task if self.problem_type == SINGLE_LABEL else self.problem_type

    @model_validator(mode="after")
    def _tokens_are_classes(self) -> Self:
        if self.task == "causal-lm" and self.problem_type != SINGLE_LABEL:
            raise ValueError(
                f"problem_type: found {self.problem_type!r} with task 'causal-lm', which predicts the next token; "
                "remove the key, or state another task"
            )
        return self

    @model_validator(mode="after")
    def _exactly_one_origin(self) -> Self:
        if sum(origin is not None for origin in (self.config, self.checkpoint, self.python)) != 1:
            raise ValueError(
                "needs exactly one of 'config' (by value), 'checkpoint' (a folder or hub name) and 'python' (a "
                "function of your own)"
            )
        if self.python is not None:
            try:
                UserFunction.parsed(self.python)
            except ValueError as error:
                raise ValueError(f"python: {error}") from error
        elif self.arguments or self.blocks is not None:
            key = "arguments" if self.arguments else "blocks"
            raise ValueError(f"{key}: belongs to a model of your own; state 'python', or remove the key")
        if self.task == "classification" and self.python is None:
            raise ValueError(
                "task: found 'classification', whose model is one of your own; state 'python', or another task"
            )
        if self.trust_remote_code and self.checkpoint is None:
            raise ValueError("trust_remote_code: is about code that comes with a checkpoint; remove the key")
        if self.config is not None and "model_type" not in self.config:
            raise ValueError("config needs the key 'model_type', for example 'opt', 'bert', 'vit' or 'resnet'")
        if self.config is not None and not isinstance(self.config["model_type"], str):
            raise ValueError(
                f"config.model_type: found {shown(self.config['model_type'])}; needs text, for example 'opt' or 'bert'"
            )
        return self
