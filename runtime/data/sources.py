"""Datasets of a scenario: samples, labels, a held-out test set, and natural keys."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hybridsplit.runtime.models.configuration import image_channels, model_config, vocabulary_of
from hybridsplit.runtime.models.precision import torch_dtype
from hybridsplit.runtime.split.link import Batch
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.schema import DataSource, Digits, Scenario, SyntheticTokens
from hybridsplit.scenarios.streams import stream_seed


@dataclass(frozen=True)
class Samples:
    """Samples in memory.

    Parameters
    ----------
    inputs
        Token ids [N, S], or images [N, C, H, W].
    labels
        [N] classes, or [N, S] token ids for a causal language model.
    mask_NS
        Attention mask, bool; None where nothing is padded.
    keys_N
        Natural key of each sample as an integer code, for partitioning.
    """

    inputs: Tensor
    labels: Tensor
    mask_NS: Tensor | None
    keys_N: Tensor

    def __len__(self) -> int:
        return len(self.inputs)

    def batch(self, index: Tensor) -> Batch:
        """Return the samples at an index as a batch."""
        return Batch(self.inputs[index], self.labels[index], None if self.mask_NS is None else self.mask_NS[index])

    def subset(self, index: Tensor) -> Samples:
        """Return the samples at an index."""
        mask_NS = None if self.mask_NS is None else self.mask_NS[index]
        return Samples(self.inputs[index], self.labels[index], mask_NS, self.keys_N[index])


@dataclass(frozen=True)
class Dataset:
    """Training and test samples, and the number of classes."""

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
        samples, num_classes = _load_samples(scenario)
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
    generator = torch.Generator().manual_seed(stream_seed(scenario.seed, "test-split"))
    order = torch.randperm(len(samples), generator=generator)
    num_test = max(1, round(scenario.data.test_fraction * len(samples)))
    if num_test >= len(samples):
        raise ScenarioError(f"data: found {len(samples)} samples; the test set alone would take {num_test} of them")
    return Dataset(samples.subset(order[num_test:]), samples.subset(order[:num_test]), num_classes)


def head_size(scenario: Scenario) -> int | None:
    """Return the number of classes of a checkpoint's new head, from the data; None where the model states it."""
    if scenario.model.checkpoint is None or scenario.model.task == "causal-lm":
        return None
    return load_dataset(scenario).num_classes


def _check_labels(scenario: Scenario, num_classes: int) -> None:
    """Refuse a model by value whose head has fewer outputs than the data has classes."""
    if scenario.model.config is None or scenario.model.task == "causal-lm":
        return
    outputs = model_config(scenario.model).num_labels
    if outputs < num_classes:
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


def _load_samples(scenario: Scenario) -> tuple[Samples, int]:
    module, _, name = scenario.data.loader.partition(":")
    load: Callable[[DataSource, Scenario], tuple[Samples, int]] = getattr(importlib.import_module(module), name)
    return load(scenario.data, scenario)


def load_digits(data: Digits, scenario: Scenario) -> tuple[Samples, int]:
    """Return the digits, upsampled, and their 10 classes."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).div(16.0).unsqueeze(1)
    labels = torch.tensor(digits.target, dtype=torch.long)
    return prepared_images(images, labels, data.image_size, scenario), 10


def prepared_images(images_NCHW: Tensor, labels: Tensor, image_size: int, scenario: Scenario) -> Samples:
    """Standardise, resize and give the images the number of channels that the model reads.

    Parameters
    ----------
    images_NCHW, labels
        Images, and [N] their classes.
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
    channels = image_channels(model_config(scenario.model), scaled.shape[1])
    if scaled.shape[1] == 1 and channels > 1:
        scaled = scaled.expand(-1, channels, -1, -1).contiguous()
    if scaled.shape[1] != channels:
        raise ScenarioError(
            f"model.config.num_channels: found {channels}; the images have {scaled.shape[1]}: state that number"
        )
    return Samples(scaled, labels, None, labels)


_LANGUAGE_CHAINS = 8
"""Chains, hence natural keys, of a causal language model's data, whose head states no number of classes."""


def load_synthetic_tokens(data: SyntheticTokens, scenario: Scenario) -> tuple[Samples, int]:
    """Draw sequences of a few Markov chains; the chain is the class, and the next token mostly follows the chain.

    Every token is above the special ones, so that nothing is padding.

    Raises
    ------
    ScenarioError
        If the model's vocabulary is too small.
    """
    config = model_config(scenario.model)
    length = scenario.training.sequence_length
    assert length is not None
    num_classes = _LANGUAGE_CHAINS if scenario.model.task == "causal-lm" else int(config.num_labels)
    first_token, alphabet = 4, 64
    vocabulary = vocabulary_of(config)
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
