"""The block: smallest unit a cut may fall behind.

Shape legend: B batch, S sequence, D hidden size, V vocabulary, K classes, C channels, H height, W width.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, Self, cast

import torch
from torch import Tensor, nn

from hybridsplit.runtime.models.master_weights import RoundedReads
from hybridsplit.scenarios.registry import Registry


class Block(nn.Module):
    """One link of the chain: takes the activation of the block before, gives its own.

    The attention mask travels beside the activation; blocks that do not need it ignore it.
    """

    reads_in: torch.dtype | None = None
    """Precision in which operators read trained parameters; None for the one that these are kept in."""
    _training_everywhere: bool | None = None

    def __call__(self, x: Tensor, mask_BS: Tensor | None) -> Tensor:
        """Run the block, as :meth:`forward`; trained parameters are read in the block's precision."""
        if self.reads_in is None:
            return cast("Tensor", super().__call__(x, mask_BS))
        trained = [(name, p) for name, p in self.named_parameters() if p.requires_grad]
        with RoundedReads(trained, self.reads_in):
            return cast("Tensor", super().__call__(x, mask_BS))

    def train(self, mode: bool = True) -> Self:
        """Set training or evaluation mode, which is done once: a small block computes faster than it is searched.

        Parameters
        ----------
        mode
            True for training. Modules inside must not be set on their own.
        """
        if self._training_everywhere is not mode:
            super().train(mode)
            self._training_everywhere = mode
        return self

    @property
    def kind(self) -> str:
        """What blocks with parameters of the same names and shapes share if they compute the same."""
        return type(self).__name__

    @abstractmethod
    def forward(self, x: Tensor, mask_BS: Tensor | None) -> Tensor:
        """Map the activation of the previous block (or the input batch) to this block's activation.

        The first dimension of both is the batch; the others are the family's, such as [B, S, D] or [B, C, H, W].
        """


class PooledHead(Block):
    """A pooler, and the classifier on what it gives."""

    def __init__(self, pooler: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.pooler = pooler
        self.classifier = classifier

    def forward(self, x: Tensor, mask_BS: Tensor | None) -> Tensor:
        """Map activations or feature maps to logits [B, K]."""
        return cast("Tensor", self.classifier(self.pooler(x)))


class Decompose(Protocol):
    """Turn a transformers model into its blocks, first to last, sharing its modules."""

    def __call__(self, model: nn.Module, task: str) -> list[Block]:
        """Return the blocks; calling them in order equals calling the model."""


@dataclass(frozen=True)
class Family:
    """A model family with a declared list of blocks.

    Parameters
    ----------
    model_type
        The ``model_type`` of its transformers configuration.
    decompose
        Turns a model into its blocks.
    attention
        Kernel of its attention, by transformers' name; None where it has no attention, or transformers is to choose.
    tasks
        Tasks whose models it decomposes; None for all. Models for other tasks are traced.
    """

    model_type: str
    decompose: Decompose
    attention: str | None = "sdpa"
    tasks: tuple[str, ...] | None = None


def _made(thing: object) -> Family:
    """Return a family as it is, or the one that a function was registered as: an entry point may name either."""
    for family in MODEL_FAMILIES.registered():
        if family.decompose is thing:
            return family
    return cast("Family", thing)


def _type_of(family: Family) -> str:
    if not isinstance(family, Family):
        raise TypeError("it is no hybridsplit.plugins.Family")
    return family.model_type


MODEL_FAMILIES: Registry[Family] = Registry(
    "model family",
    "hybridsplit.families",
    _type_of,
    _made,
    ours=tuple(f"hybridsplit.runtime.models.{name}" for name in ("bert", "decoder", "opt", "resnet", "vit")),
)
"""Declared families by ``model_type``; all others are traced."""


def declared_family(model_type: str, task: str) -> Family | None:
    """Return the family that decomposes models of a type for a task; None where they are traced.

    Parameters
    ----------
    model_type, task
        The type by transformers' name, and the scenario's task.
    """
    if model_type not in MODEL_FAMILIES:
        return None
    family = MODEL_FAMILIES[model_type]
    return family if family.tasks is None or task in family.tasks else None


def register_family(
    model_type: str, *, attention: str | None = "sdpa", tasks: tuple[str, ...] | None = None
) -> Callable[[Decompose], Decompose]:
    """Register the decomposition of a transformers ``model_type``; use it as a decorator.

    Parameters
    ----------
    model_type, attention, tasks
        As of :class:`Family`.

    Raises
    ------
    RegistrationError
        If the family is declared already.
    """

    def register(decompose: Decompose) -> Decompose:
        MODEL_FAMILIES.register(Family(model_type, decompose, attention, tasks))
        return decompose

    return register


def last_token(h_BSD: Tensor, mask_BS: Tensor | None) -> Tensor:
    """Return the activation of each sample's last token that is not padding, shape [B, D]."""
    if mask_BS is None:
        return h_BSD[:, -1]
    positions_S = torch.arange(h_BSD.shape[1], device=h_BSD.device)
    last_B = (positions_S * mask_BS.long()).argmax(-1)
    return h_BSD[torch.arange(h_BSD.shape[0], device=h_BSD.device), last_B]
