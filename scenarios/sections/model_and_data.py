"""What is trained, and on what."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from hybridsplit.scenarios.sections.base import PositiveFloat, PositiveInt, Section


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
        return self


class Iid(Section):
    """Every client's samples are drawn from the same distribution."""

    scheme: Literal["iid"]


class Dirichlet(Section):
    """Each label's samples dealt in proportions drawn from Dirichlet(alpha · data shares), as in arXiv 2102.02079."""

    scheme: Literal["dirichlet"]
    alpha: PositiveFloat
    """Concentration: small values give each client few labels, large ones approach IID."""


class ByKey(Section):
    """Samples that share a natural key (a writer, a role) stay together on one client."""

    scheme: Literal["by-key"]
    key: str
    """Name of the key: ``label``, or a column of the data that the source declares."""


Partition = Annotated[Iid | Dirichlet | ByKey, Field(discriminator="scheme")]


class Digits(Section):
    """The 1,797 handwritten digits that ship with scikit-learn, one channel, 8 x 8, upsampled."""

    source: Literal["digits"]
    image_size: Annotated[int, Field(ge=8, le=256)] = 16
    """Side of the upsampled square image, pixels."""
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of the samples held out for the test accuracy."""
    partition: Partition = Iid(scheme="iid")
    """How samples are dealt to clients."""


class SyntheticTokens(Section):
    """Seeded token sequences whose label, or next token, follows from the tokens: there is something to learn."""

    source: Literal["synthetic-tokens"]
    num_samples: PositiveInt = 2048
    """Number of sequences."""
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of the samples held out for the test accuracy."""
    partition: Partition = Iid(scheme="iid")
    """How samples are dealt to clients."""


class TextTable(Section):
    """Sentences and labels from a CSV or TSV file, tokenized with a local or hub tokenizer."""

    source: Literal["text-table"]
    path: str
    """The file, relative to the scenario file; ``.tsv`` is split at tabs, anything else at commas."""
    tokenizer: str
    """A local folder or hub name for ``AutoTokenizer``."""
    text_column: str = "sentence"
    """Column that holds the text."""
    label_column: str = "label"
    """Column that holds an integer label."""
    key_column: str | None = None
    """Column of the natural key for the ``by-key`` partition."""
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of the samples held out for the test accuracy."""
    partition: Partition = Iid(scheme="iid")
    """How samples are dealt to clients."""


class ImageArchive(Section):
    """Images and labels from an ``.npz`` file with the arrays ``images`` and ``labels``."""

    source: Literal["image-archive"]
    path: str
    """The file, relative to the scenario file; ``images`` is [N, H, W] or [N, H, W, C], ``labels`` is [N]."""
    image_size: Annotated[int, Field(ge=8, le=1024)]
    """Side of the resized square image, pixels."""
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of the samples held out for the test accuracy."""
    partition: Partition = Iid(scheme="iid")
    """How samples are dealt to clients."""


Data = Annotated[Digits | SyntheticTokens | TextTable | ImageArchive, Field(discriminator="source")]
