"""Auxiliary heads: what a client part ends in whose loss is its own (CSE-FSL, arXiv 2307.11532; HERON-SFL, 2601.09076).

The head is small, and the same for every family: activations are averaged over positions, normalised without
parameters, and mapped to the classes by one linear layer. A language model needs logits at every position, and a matrix
of low rank stands for the projection on its vocabulary. Weights are drawn from a stream of the seed that the cut names.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybridsplit.runtime.models.blocks import Block
from hybridsplit.runtime.split.link import Batch
from hybridsplit.runtime.split.parts import task_loss
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.streams import stream_seed


class LocalHead(Block):
    """The head behind one cut.

    Parameters
    ----------
    num_features, num_outputs
        Features of the activation at the cut, and classes or tokens.
    task
        The scenario's ``model.loss_kind``.
    rank
        Rank of the projection on a vocabulary.
    """

    def __init__(self, num_features: int, num_outputs: int, task: str, rank: int) -> None:
        super().__init__()
        self.task = task
        self.narrow = nn.Linear(num_features, rank, bias=False) if task == "causal-lm" else None
        self.project = nn.Linear(num_features if self.narrow is None else rank, num_outputs)

    @property
    def kind(self) -> str:
        """Heads for different tasks differ with the same shapes."""
        return f"{type(self).__name__} {self.task}"

    def forward(self, x: Tensor, mask_BS: Tensor | None) -> Tensor:
        """Map the activation at the cut to logits: [B, K], or [B, S, V] for a causal language model."""
        features = x.to(self.project.weight.dtype)
        if self.narrow is not None:
            return self.project(self.narrow(F.layer_norm(features, features.shape[-1:])))  # type: ignore[no-any-return]
        pooled_BD = pooled(features, mask_BS)
        return self.project(F.layer_norm(pooled_BD, pooled_BD.shape[-1:]))  # type: ignore[no-any-return]

    def loss(self, x: Tensor, batch: Batch) -> Tensor:
        """Return the local loss of an activation at the cut, shape [].

        Parameters
        ----------
        x
            The activation, in the shape in which it crosses.
        batch
            Its labels and mask.
        """
        return task_loss(self(x, batch.mask_BS), batch.labels, self.task)


def pooled(x: Tensor, mask_BS: Tensor | None) -> Tensor:
    """Return the mean of an activation over its positions, shape [B, D].

    Parameters
    ----------
    x
        [B, C, H, W] of images, [B, S, D] of tokens, or [B, D].
    mask_BS
        Positions that count; all where it is None.
    """
    if x.dim() == 4:
        return x.flatten(2).mean(-1)
    if x.dim() == 3 and mask_BS is not None and mask_BS.shape == x.shape[:2]:
        weights_BS1 = mask_BS.to(x.dtype).unsqueeze(-1)
        return (x * weights_BS1).sum(1) / weights_BS1.sum(1).clamp(min=1.0)
    return x.mean(1) if x.dim() == 3 else x


def local_heads(blocks: Sequence[Block], batch: Batch, scenario: Scenario) -> dict[int, Block]:
    """Return the head behind every cut at which a server part is left, by cut.

    Parameters
    ----------
    blocks
        The whole model; it is run forward once for the shapes at the cuts, and left in evaluation mode.
    batch
        A mini-batch of any size, on the model's device.
    scenario
        Its seed draws the weights.

    Raises
    ------
    ScenarioError
        If an activation has a shape that no head is known for.
    """
    features: list[int] = []
    x = batch.inputs
    with torch.no_grad():
        for block in blocks:
            block.eval()
            x = block(x, batch.mask_BS)
            features.append(_num_features(x, scenario, cut=len(features) + 1))
    rank = scenario.training.local_loss.rank
    heads: dict[int, Block] = {}
    for cut in range(1, len(blocks)):
        with torch.random.fork_rng(devices=[]), torch.device(x.device):
            head = LocalHead(features[cut - 1], features[-1], scenario.model.loss_kind, rank)
        _draw(head, stream_seed(scenario.seed, "local-head", cut))
        heads[cut] = head
    return heads


def _num_features(x: Tensor, scenario: Scenario, *, cut: int) -> int:
    is_known = x.dim() == 3 or (scenario.model.task != "causal-lm" and x.dim() in (2, 4))
    if not (is_known and x.is_floating_point()):
        raise ScenarioError(
            f"training.modes: a local loss at cut {cut} would need an auxiliary head on activations of shape "
            f"{tuple(x.shape)} for {scenario.model.task} (one dimension is several tensors packed, which traced models "
            "may have); heads are known for [B, D], [B, S, D] and [B, C, H, W], and for causal-lm for [B, S, D]: "
            "leave fo-local and zo-local out"
        )
    return x.shape[1] if x.dim() == 4 else x.shape[-1]


def _draw(head: LocalHead, seed: int) -> None:
    """Draw weights uniformly within one over the root of the inputs, as linear layers have them; biases begin at 0."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in (head.narrow, head.project):
            if layer is None or layer.weight.is_meta:
                continue
            limit = 1.0 / math.sqrt(layer.in_features)
            layer.weight.uniform_(-limit, limit, generator=generator)
            if layer.bias is not None:
                layer.bias.zero_()
