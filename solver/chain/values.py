"""A chain of machines, and what a choice of cuts on it takes.

Machine ``k`` of K runs the blocks after cut ``c_{k-1}`` up to cut ``c_k``, with ``c_0 = 0`` and ``c_K = L``: possibly
none, when it only forwards. Link ``k`` joins machines ``k`` and ``k + 1`` and carries what crosses cut ``c_k``; its two
directions are two resources.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Cuts = tuple[int, ...]
"""[K - 1] cuts between the machines, rising."""


@dataclass(frozen=True)
class Chain:
    """What each choice takes of a micro-batch, seconds.

    Parameters
    ----------
    node_s
        [K, L + 1, L + 1] how long a machine is busy with the blocks after cut ``a`` up to cut ``c``, both directions;
        infinite where it may not, or has not the memory for it.
    up_s, down_s
        [K - 1, L + 1] how long a link is busy at a cut, by direction.
    delay_s
        [K - 1, L + 1] what a step takes longer at a cut and occupies nothing: propagation, both ways.
    once_s
        [K - 1, L + 1] a step's part of what a link carries once a round, before and after all steps.
    node_delay_s
        [K, L + 1, L + 1] the same of machines: what a machine does once a step, counted only where nothing runs beside
        it.
    most_parts
        Most machines that run blocks.
    replicas
        [K] machines that share a machine's micro-batches, itself counted; one each when empty.
    """

    node_s: FloatArray
    up_s: FloatArray
    down_s: FloatArray
    delay_s: FloatArray
    once_s: FloatArray
    node_delay_s: FloatArray
    most_parts: int
    replicas: tuple[int, ...] = ()

    def repeats_at(self, k: int, repeats: int) -> int:
        """Return how many of the micro-batches the busiest of a machine's replicas runs."""
        return -(-repeats // self.replicas[k]) if self.replicas else repeats

    @property
    def num_nodes(self) -> int:
        """Number of machines K."""
        return len(self.node_s)

    @property
    def num_blocks(self) -> int:
        """Number of blocks L."""
        return int(self.node_s.shape[-1]) - 1

    @property
    def counts_parts(self) -> bool:
        """Whether fewer machines may run blocks than there are."""
        return self.most_parts < min(self.num_nodes, self.num_blocks)


@dataclass(frozen=True)
class Choice:
    """Cuts, and their value.

    Parameters
    ----------
    value_s
        What was minimised; infinite where no cuts are possible.
    cuts
        [K - 1].
    """

    value_s: float
    cuts: Cuts


NOTHING = Choice(float("inf"), ())
"""No cuts are possible."""


def node_spans(cuts: Cuts, num_blocks: int) -> list[tuple[int, int]]:
    """Return the cuts before and behind the blocks of every machine.

    Parameters
    ----------
    cuts
        [K - 1] cuts.
    num_blocks
        Number of blocks L.
    """
    ends = [*cuts, num_blocks]
    return list(zip([0, *ends[:-1]], ends, strict=True))


def busy_seconds(chain: Chain, cuts: Cuts) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return how long machines [K], and links upwards and downwards [K - 1], are busy with a micro-batch.

    Parameters
    ----------
    chain, cuts
        The chain, and a choice.
    """
    spans = node_spans(cuts, chain.num_blocks)
    nodes = np.array([chain.node_s[k, a, c] for k, (a, c) in enumerate(spans)])
    places = np.arange(len(cuts))
    at = np.array(cuts, dtype=np.int64)
    return nodes, chain.up_s[places, at], chain.down_s[places, at]


def total_seconds(chain: Chain, cuts: Cuts) -> float:
    """Return the seconds of one micro-batch alone, with all delays of a step.

    Parameters
    ----------
    chain, cuts
        The chain, and a choice.
    """
    nodes, up, down = busy_seconds(chain, cuts)
    spans = node_spans(cuts, chain.num_blocks)
    delays = sum(float(chain.node_delay_s[k, a, c]) for k, (a, c) in enumerate(spans))
    delays += sum(float(chain.delay_s[k, c] + chain.once_s[k, c]) for k, c in enumerate(cuts))
    return float(nodes.sum() + up.sum() + down.sum()) + delays
