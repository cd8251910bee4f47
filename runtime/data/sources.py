"""Datasets of a scenario: samples, labels, a held-out test set, and natural keys."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybridsplit.runtime.data.targets import check_scored
from hybridsplit.runtime.models.blocks import Block
from hybridsplit.runtime.models.build import build_whole
from hybridsplit.runtime.models.facts import Sample, channels_read, outputs_stated, vocabulary_read
from hybridsplit.runtime.models.precision import torch_dtype
from hybridsplit.runtime.split.link import Batch
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.schema import DataSource, Digits, ImageSource, Scenario, SyntheticTokens, TextSource
from hybridsplit.scenarios.scores import REGRESSION, SINGLE_LABEL
from hybridsplit.scenarios.streams import stream_seed


@dataclass(frozen=True)
class Samples:
    """Samples in memory.

    Parameters
    ----------
    inputs
        Token ids [N, S], or images [N, C, H, W].
    labels
        [N] classes; [N, K] numbers, or 0 and 1 for labels that do not exclude one another; or [N, S] token ids for a
        causal language model.
    mask_NS
        Attention mask, bool; None where nothing is padded.
    keys_N
        Natural key of each sample as an integer code, for partitioning.
    label_names
        Names of classes, labels or numbers, where the data have any.
    """

    inputs: Tensor
    labels: Tensor
    mask_NS: Tensor | None
    keys_N: Tensor
    label_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.inputs)

    def batch(self, index: Tensor) -> Batch:
        """Return the samples at an index as a batch."""
        return Batch(self.inputs[index], self.labels[index], None if self.mask_NS is None else self.mask_NS[index])

    def subset(self, index: Tensor) -> Samples:
        """Return the samples at an index."""
        mask_NS = None if self.mask_NS is None else self.mask_NS[index]
        return Samples(self.inputs[index], self.labels[index], mask_NS, self.keys_N[index], self.label_names)


@dataclass(frozen=True)
class Dataset:
    """Training and test samples, and the number of classes, labels or numbers; 0 for a language model."""

    train: Samples
    test: Samples
    num_classes: int


def load_dataset(scenario: Scenario) -> Dataset:
    """Load the data a scenario names and hold out its test set.

    Raises
    ------
    ScenarioError
        If a file is not what the scenario says it is.
    """
    try:
        samples, num_classes, num_test = _load_samples(scenario)
    except ScenarioError:
        raise
    except Exception as error:  # a foreign file may fail in as many ways as there are readers
        raise ScenarioError(
            f"data: cannot be used as {scenario.data.source} ({type(error).__name__}: {error})"
        ) from error
    _check_labels(scenario, num_classes)
    _check_values(scenario, samples)
    if samples.inputs.is_floating_point():
        samples = replace(samples, inputs=samples.inputs.to(torch_dtype(scenario.model)))
    if num_test is None:
        generator = torch.Generator().manual_seed(stream_seed(scenario.seed, "test-split"))
        order = torch.randperm(len(samples), generator=generator)
        num_test = max(1, round(scenario.data.test_fraction * len(samples)))
    else:
        order = torch.arange(len(samples)).roll(num_test)  # those of the test set come last
    if num_test >= len(samples):
        raise ScenarioError(f"data: found {len(samples)} samples; the test set alone would take {num_test} of them")
    test = samples.subset(order[:num_test])
    check_scored(scenario, test.labels)
    return Dataset(samples.subset(order[num_test:]), test, num_classes)


def head_size(scenario: Scenario) -> int | None:
    """Return the number of classes of a checkpoint's new head, from the data; None where the model states it."""
    if scenario.model.checkpoint is None or scenario.model.task == "causal-lm":
        return None
    return load_dataset(scenario).num_classes


def states_shapes(scenario: Scenario) -> bool:
    """Whether a scenario states its model's inputs and outputs, so that no data need to be loaded to build it."""
    has_own_head = scenario.model.checkpoint is None or scenario.model.task == "causal-lm"
    return has_own_head and _states_samples(scenario)


def _states_samples(scenario: Scenario) -> bool:
    """Whether model and source state what samples and their labels are like."""
    has_classes = scenario.model.problem_type == SINGLE_LABEL
    return has_classes and scenario.model.python is None and isinstance(scenario.data, (ImageSource, TextSource))


def sample_of(scenario: Scenario, dataset: Dataset | None = None) -> Sample | None:
    """Return what the data's samples are like; None where the scenario's model and source state it.

    Parameters
    ----------
    scenario
        The scenario.
    dataset
        Its data; loaded where they are needed and not given.
    """
    if _states_samples(scenario):
        return None
    dataset = load_dataset(scenario) if dataset is None else dataset
    train, test = dataset.train, dataset.test
    is_tokens = scenario.model.task in TextSource.tasks
    largest = max(int(train.inputs.max()), int(test.inputs.max())) if is_tokens else None
    shape = tuple(train.inputs.shape[1:])
    return Sample(shape, train.inputs.dtype, train.mask_NS is not None, dataset.num_classes, largest)


def model_blocks(scenario: Scenario, *, meta: bool = False, dataset: Dataset | None = None) -> list[Block]:
    """Build the scenario's model for its data, and return its blocks.

    Parameters
    ----------
    scenario
        The scenario.
    meta
        As of :func:`hybridsplit.runtime.models.build.build_blocks`.
    dataset
        Its data; loaded where they are needed and not given.

    Raises
    ------
    ScenarioError, ProfileError
        If the data are not what the scenario says, or the model cannot be built.
    """
    return whole_model(scenario, meta=meta, dataset=dataset)[1]


def whole_model(
    scenario: Scenario, *, meta: bool = False, dataset: Dataset | None = None
) -> tuple[nn.Module, list[Block]]:
    """Build the scenario's model for its data, and its blocks, which hold the model's own modules.

    Parameters
    ----------
    scenario, meta, dataset
        As of :func:`model_blocks`.
    """
    if dataset is None and not states_shapes(scenario):
        dataset = load_dataset(scenario)
    num_labels = None if dataset is None else dataset.num_classes or None
    return build_whole(scenario, num_labels=num_labels, meta=meta, sample=sample_of(scenario, dataset))


def _check_labels(scenario: Scenario, num_classes: int) -> None:
    """Refuse a model by value whose head has fewer outputs than the data has classes, or not one a label or number."""
    if scenario.model.config is None or scenario.model.task == "causal-lm":
        return
    outputs = outputs_stated(scenario.model)
    if scenario.model.problem_type != SINGLE_LABEL and outputs != num_classes:
        what = "numbers to predict" if scenario.model.problem_type == REGRESSION else "labels"
        raise ScenarioError(
            f"model.config.num_labels: found {outputs}; the data has {num_classes} {what}: "
            f"state num_labels: {num_classes}"
        )
    if outputs is not None and outputs < num_classes:
        raise ScenarioError(
            f"model.config.num_labels: found {outputs}; the data has {num_classes} classes: "
            f"state num_labels: {num_classes}"
        )


def _check_values(scenario: Scenario, samples: Samples) -> None:
    """Refuse samples that make a loss that is not finite, whatever source they come from."""
    source = scenario.data.source
    if samples.inputs.is_floating_point() and not torch.isfinite(samples.inputs).all():
        index = torch.nonzero(~torch.isfinite(samples.inputs))[0].tolist()
        raise ScenarioError(
            f"data: {source} gives a value that is not finite in sample {index[0]} (at {index[1:]}); needs finite "
            "numbers"
        )
    if scenario.model.task == "causal-lm":
        lacking = torch.nonzero((samples.labels[:, 1:] < 0).all(1)).flatten()
        if len(lacking):
            raise ScenarioError(
                f"data: {source} gives sample {int(lacking[0])} a single token ({len(lacking)} such samples); needs at "
                "least two, for a language model predicts each token from those before it: raise "
                "training.sequence_length, or remove these samples"
            )


def _load_samples(scenario: Scenario) -> tuple[Samples, int, int | None]:
    """Samples, classes, and how many at the end are the test set; None where that is to be drawn."""
    module, _, name = scenario.data.loader.partition(":")
    load: Callable[[DataSource, Scenario], tuple[Any, ...]] = getattr(importlib.import_module(module), name)
    samples, num_classes, *num_test = load(scenario.data, scenario)
    return samples, num_classes, num_test[0] if num_test else None


def load_digits(data: Digits, scenario: Scenario) -> tuple[Samples, int]:
    """Return the digits, upsampled, and their 10 classes."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).div(16.0).unsqueeze(1)
    labels = torch.tensor(digits.target, dtype=torch.long)
    return prepared_images(images, labels, data.image_size, scenario), 10


def prepared_images(
    images_NCHW: Tensor, labels: Tensor, image_size: int, scenario: Scenario, label_names: tuple[str, ...] = ()
) -> Samples:
    """Standardise, resize and give the images the number of channels that the model reads.

    Parameters
    ----------
    images_NCHW, labels, label_names
        Images, and as of :class:`Samples`.
    image_size
        Height and width to resize to, pixels.
    scenario
        Names the model.

    Raises
    ------
    ScenarioError
        If the model reads another number of channels than the images have.
    """
    scaled = F.interpolate(images_NCHW, size=(image_size, image_size), mode="bilinear", align_corners=False)
    scaled = (scaled - scaled.mean()) / scaled.std().clamp_min(1e-8)
    channels = channels_read(scenario.model, scaled.shape[1])
    if scaled.shape[1] == 1 and channels > 1:
        scaled = scaled.expand(-1, channels, -1, -1).contiguous()
    if scaled.shape[1] != channels:
        raise ScenarioError(
            f"model.config.num_channels: found {channels}; the images have {scaled.shape[1]}: state that number"
        )
    return Samples(scaled, labels, None, keyed_by(labels), label_names)


def keyed_by(labels: Tensor) -> Tensor:
    """Return [N] integers by which samples with equal labels are equal.

    Parameters
    ----------
    labels
        [N] classes, or [N, K] labels or numbers.
    """
    return labels if labels.ndim == 1 else torch.unique(labels, dim=0, return_inverse=True)[1]


_CHAINS = 8
"""Chains, hence natural keys, where no head states a number of classes: of a language model, or one's own model."""


def load_synthetic_tokens(data: SyntheticTokens, scenario: Scenario) -> tuple[Samples, int]:
    """Draw sequences of a few Markov chains; the chain is the class, and the next token mostly follows the chain.

    Every token is above the special ones, so that nothing is padding.

    Raises
    ------
    ScenarioError
        If the model's vocabulary is too small.
    """
    length = scenario.training.sequence_length
    assert length is not None
    is_language = scenario.model.task == "causal-lm"
    num_classes = (None if is_language else outputs_stated(scenario.model)) or _CHAINS
    first_token, alphabet = 4, 64
    vocabulary = vocabulary_read(scenario.model)
    if vocabulary is not None and vocabulary < first_token + alphabet:
        raise ScenarioError(
            f"model.config.vocab_size: found {vocabulary}; synthetic tokens need at least {first_token + alphabet}"
        )
    rng = np.random.default_rng(stream_seed(scenario.seed, "synthetic-tokens"))
    successor = np.stack([rng.permutation(alphabet) for _ in range(num_classes)])
    chain_N = rng.integers(0, num_classes, data.num_samples)
    tokens_NS = np.empty((data.num_samples, length), dtype=np.int64)
    tokens_NS[:, 0] = rng.integers(0, alphabet, data.num_samples)
    for position in range(1, length):
        follows_N = rng.random(data.num_samples) < 0.9
        anything_N = rng.integers(0, alphabet, data.num_samples)
        tokens_NS[:, position] = np.where(follows_N, successor[chain_N, tokens_NS[:, position - 1]], anything_N)
    inputs = torch.from_numpy(tokens_NS + first_token)
    chains = torch.from_numpy(chain_N)
    labels = inputs if scenario.model.task == "causal-lm" else chains
    return Samples(inputs, labels, None, chains), num_classes
