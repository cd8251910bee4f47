"""A model as a chain of blocks, and the two parts that a cut makes of it.

Parameter names start with the block's index in the whole model (``blocks.3.layer...``), on either side of any cut, so
that a parameter keeps its name, and its noise, wherever the cut falls. Modes with a local loss put an auxiliary head
behind the cut (``heads.3...`` stands behind block 3), which is trained and exchanged with the client part.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybridsplit.runtime.models.blocks import Block
from hybridsplit.scenarios.errors import ContractError
from hybridsplit.scenarios.modes import MODES
from hybridsplit.scenarios.scores import MULTI_LABEL, REGRESSION

State = dict[str, Tensor]
"""Trainable parameters and floating-point buffers by name: what is aggregated and checkpointed."""


class _Place(NamedTuple):
    """Where a module keeps a tensor: the tensor itself may be replaced there, as by a move to a device."""

    name: str
    owner: Mapping[str, Tensor | None]
    key: str

    @property
    def tensor(self) -> Tensor | None:
        """The tensor that is there now."""
        return self.owner[self.key]


class Part(nn.Module):
    """Consecutive blocks of a model; possibly none.

    Parameters
    ----------
    blocks
        By index in the whole model.
    heads
        Auxiliary heads by the index of the block that they stand behind: their parameters belong to the part, and its
        forward pass ends before them.
    """

    def __init__(self, blocks: Mapping[int, Block], heads: Mapping[int, Block] | None = None) -> None:
        super().__init__()
        self.blocks = nn.ModuleDict({str(index): block for index, block in blocks.items()})
        if heads:
            self.heads = nn.ModuleDict({str(index): head for index, head in heads.items()})

    def forward(self, x: Tensor, mask_BS: Tensor | None = None) -> Tensor:
        """Run the blocks in order.

        The shape is the last block's: the activation at the cut, or logits ([B, K], [B, S, V] for a causal language
        model).
        """
        for block in self.blocks.values():
            x = block(x, mask_BS)
        return x

    @property
    def head(self) -> Block:
        """The auxiliary head of a client part that is trained by a local loss.

        Raises
        ------
        ContractError
            If there is none.
        """
        if not hasattr(self, "heads"):
            raise ContractError("this client part has no auxiliary head; its model was built for other modes")
        return cast("Block", next(iter(self.heads.values())))

    def ordered(self) -> list[Block]:
        """Return the blocks, first to last."""
        return list(self.blocks.values())  # type: ignore[arg-type]

    def trainable(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield the trainable parameters with their names."""
        for place in self._parameter_places:
            parameter = place.tensor
            if parameter is not None and parameter.requires_grad:
                yield place.name, parameter  # type: ignore[misc]

    @property
    def num_trainable(self) -> int:
        """Number of trainable scalars."""
        return sum(parameter.numel() for _, parameter in self.trainable())

    def exchanged(self) -> State:
        """Return what travels between rounds: trainable parameters and floating-point buffers, not copied."""
        return {name: parameter.detach() for name, parameter in self.trainable()} | dict(self._statistics())

    def _statistics(self) -> Iterator[tuple[str, Tensor]]:
        for place in self._buffer_places:
            buffer = place.tensor
            if buffer is not None and buffer.is_floating_point():
                yield place.name, buffer

    # Searching a model's modules takes longer than a small client's step, so the search is done once.

    @cached_property
    def _parameter_places(self) -> list[_Place]:
        seen: set[int] = set()
        places: list[_Place] = []
        for prefix, module in self.named_modules():
            for key, parameter in module._parameters.items():
                if parameter is not None and id(parameter) not in seen:
                    seen.add(id(parameter))
                    places.append(_Place(f"{prefix}.{key}", module._parameters, key))
        return places

    @cached_property
    def _buffer_places(self) -> list[_Place]:
        return [
            _Place(f"{prefix}.{key}", module._buffers, key)
            for prefix, module in self.named_modules()
            for key, buffer in module._buffers.items()
            if buffer is not None and key not in module._non_persistent_buffers_set
        ]

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Copy the entries that belong to this part into it.

        Raises
        ------
        KeyError
            If the state lacks an entry of this part.
        """
        targets = self.exchanged()
        if targets:
            with torch.no_grad():
                torch._foreach_copy_(list(targets.values()), [state[name] for name in targets])

    def snapshot(self) -> State:
        """Return a copy of :meth:`exchanged`."""
        return {name: tensor.clone() for name, tensor in self.exchanged().items()}


class SplitModel:
    """A whole model that can be cut behind any of its blocks.

    Parameters
    ----------
    blocks
        The blocks in order; cut ``c`` puts blocks ``1..c`` on the client and the rest on the server.
    heads
        The auxiliary head behind each cut, for modes with a local loss; none where no mode has one.
    """

    def __init__(self, blocks: Sequence[Block], heads: Mapping[int, Block] | None = None) -> None:
        self._heads = {} if heads is None else {cut - 1: head for cut, head in heads.items()}
        self.whole = Part(dict(enumerate(blocks)), self._heads)
        self._parts: dict[tuple[int, int, bool], Part] = {}

    @property
    def num_blocks(self) -> int:
        """Number of blocks, L; cut L leaves the server nothing."""
        return len(self.whole.blocks)

    def client_part(self, cut: int, mode: str | None = None) -> Part:
        """Return blocks ``1..cut``; the tensors are shared with the whole model.

        Parameters
        ----------
        cut
            Blocks on the client.
        mode
            How it is trained: the auxiliary head behind the cut belongs to it where the mode has one.
        """
        self._check(cut)
        return self._span(0, cut, with_head=mode is not None and MODES[mode].has_local_head)

    def head(self, cut: int) -> Block | None:
        """Return the auxiliary head behind a cut; None where there is none."""
        return self._heads.get(cut - 1)

    @property
    def heads(self) -> list[Block]:
        """All auxiliary heads."""
        return list(self._heads.values())

    def server_part(self, cut: int, head_blocks: int = 0) -> Part:
        """Return the blocks above the cut; the tensors are shared with the whole model.

        Parameters
        ----------
        cut
            Blocks on the client.
        head_blocks
            Last blocks that are on the client as well, and not at the server.
        """
        self._check(cut)
        return self.span(cut, self._begin_of_head(cut, head_blocks))

    def head_part(self, head_blocks: int) -> Part:
        """Return the last blocks; the tensors are shared with the whole model."""
        return self.span(self._begin_of_head(0, head_blocks), self.num_blocks)

    def span(self, start: int, stop: int) -> Part:
        """Return blocks ``start + 1..stop``, possibly none; the tensors are shared with the whole model."""
        return self._span(start, stop, with_head=False)

    def _span(self, start: int, stop: int, *, with_head: bool) -> Part:
        # Kept, since a part remembers where its tensors are.
        key = start, stop, with_head
        if key not in self._parts:
            blocks = enumerate(self.whole.ordered())
            head = {index: self._heads[index] for index in (stop - 1,) if with_head and index in self._heads}
            self._parts[key] = Part({index: block for index, block in blocks if start <= index < stop}, head)
        return self._parts[key]

    def _begin_of_head(self, cut: int, head_blocks: int) -> int:
        if head_blocks and not 0 < head_blocks < self.num_blocks - cut:
            raise ValueError(
                f"a head of {head_blocks} blocks leaves the server nothing behind cut {cut}; this model has "
                f"{self.num_blocks} blocks"
            )
        return self.num_blocks - head_blocks

    def _check(self, cut: int) -> None:
        if not 1 <= cut <= self.num_blocks:
            raise ValueError(f"cut {cut} does not exist; this model has the cuts 1 to {self.num_blocks}")


def block_of(parameter_name: str) -> int:
    """Return the block index that a parameter or buffer name starts with; of a head, that of the block before it."""
    return int(parameter_name.split(".", 2)[1])


def is_of_head(parameter_name: str) -> bool:
    """Whether a name is that of an auxiliary head's parameter, which is no part of the model."""
    return parameter_name.startswith("heads.")


def task_loss(logits: Tensor, labels: Tensor, task: str) -> Tensor:
    """Mean loss of a batch, as transformers defines it for a ``problem_type``.

    Cross-entropy of classes and of next tokens; mean squared error of numbers, and binary cross-entropy of labels that
    do not exclude one another, either a mean over samples and numbers or labels.

    Parameters
    ----------
    logits
        [B, K] for classes, labels or numbers, [B, S, V] for a causal language model.
    labels
        [B] class indices; [B, K] numbers, or 0 and 1; or [B, S] token ids that are shifted by one here, -100 for
        padding.
    task
        The scenario's ``model.loss_kind``.
    """
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    if task == REGRESSION:
        # The same in one operator leaves a scalar in memory as large as the batch's labels, which shapes do not tell.
        return (logits - labels).square().mean()
    if task == MULTI_LABEL:
        return F.binary_cross_entropy_with_logits(logits, labels)
    if task == "causal-lm":
        return F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
    return F.cross_entropy(logits, labels)
