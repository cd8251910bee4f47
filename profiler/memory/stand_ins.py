"""Client parts that take the memory of their blocks without running them, for passes without a graph.

A zeroth-order step runs the whole part many times. In its place a block stands that takes what the blocks took when
each was recorded, all at once; the mode itself runs as it is.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hybridsplit.profiler.memory.activations import Activation
from hybridsplit.profiler.memory.event_log import EventLog, NotComposableError
from hybridsplit.profiler.memory.exact_walk import rise
from hybridsplit.profiler.memory.links import Links, Reads, standing_bytes
from hybridsplit.profiler.memory.passages import Link, Passage
from hybridsplit.profiler.models import TracedModel
from hybridsplit.runtime.models.blocks import Block
from hybridsplit.runtime.noise import NoiseKey, Perturbed, descend
from hybridsplit.runtime.noise.substitution import substitution_of
from hybridsplit.runtime.split.optimizers import is_plain
from hybridsplit.runtime.split.parts import Part
from hybridsplit.scenarios.schema import Training


class StandIn(Block):
    """Takes the memory of consecutive blocks without running them.

    Parameters
    ----------
    x
        What comes in.
    passages
        How it passes the blocks, by how these read their parameters.
    moved
        Parameters that a step of the mode moves in place of the blocks'.
    whole_bytes
        Parameters and buffers of the blocks.
    """

    def __init__(
        self, x: Activation, passages: Mapping[Reads, Passage], moved: Sequence[nn.Parameter], whole_bytes: int
    ) -> None:
        super().__init__()
        self._x, self._passages = x, dict(passages)
        self._moved = list(moved)
        for position, parameter in enumerate(moved):
            self.register_parameter(f"moved_{position}", parameter)
        rest = whole_bytes - sum(parameter.untyped_storage().nbytes() for parameter in moved)
        self.register_buffer("rest", torch.empty(rest, dtype=torch.uint8, device="meta"), persistent=False)

    def forward(self, x: Tensor, mask_BS: Tensor | None) -> Tensor:
        """Refuse an activation of any shape: only a :class:`StandInPart` can free the input in time.

        Raises
        ------
        NotComposableError
            Always.
        """
        raise NotComposableError

    def taken(self, x: Tensor) -> Passage:
        """Take for a moment the most that the blocks take beside their input, and return how it passes them.

        Raises
        ------
        NotComposableError
            If the input is not the one that the blocks were recorded with.
        """
        if Activation.of(x) != self._x:
            raise NotComposableError
        passage = self._passages[self._reads()]
        torch.empty(passage.excess_bytes, dtype=torch.uint8, device="meta")
        return passage

    def _reads(self) -> Reads:
        around = substitution_of(self._moved[0]) if self._moved else None
        if around is None:
            return Reads.PLAIN
        if not isinstance(around, Perturbed):
            raise NotComposableError
        return Reads.NAMED if around.scale == 0.0 else Reads.PERTURBED


class StandInPart(Part):
    """A part some of whose blocks are stand-ins."""

    def forward(self, x: Tensor, mask_BS: Tensor | None = None) -> Tensor:
        """Run the blocks in order; the shape is the last block's.

        The input of a stand-in is freed as if its first block had run.
        """
        for block in self.blocks.values():
            if not isinstance(block, StandIn):
                x = block(x, mask_BS)
                continue
            passage = block.taken(x)
            if passage.is_alias:
                x = x.as_strided(passage.output.shape, passage.output.stride, passage.output.offset)
            else:
                del x
                x = passage.output.make()
        return x


def passage_of(
    links: Links, chain: Sequence[Link], x: Activation, reads: Reads, *, training: bool, frees_input: bool = False
) -> Passage:
    """Compose the way up of consecutive links without a graph."""
    passages: list[Passage] = []
    inputs: list[Activation] = []
    for link in chain:
        own = reads if link.num_trained > 0 else Reads.PLAIN
        inputs.append(x)
        passages.append(links.plainly(link, x, own, training=training))
        x = passages[-1].output
    risen = rise(passages, inputs, frees_input=frees_input)
    return Passage(risen.peak_bytes, x, is_alias=risen.memory[-1] == 0)


@dataclass(frozen=True)
class _Moving:
    """What a step of the mode does with the parameters of blocks that stand-ins replace."""

    training: Training

    def of(self, parameters: Sequence[nn.Parameter], known: dict[Hashable, int]) -> list[nn.Parameter]:
        """Return parameters whose update has the peak of all: one, where nothing is kept from one to the next."""
        settings = self.training.zeroth_order
        if not parameters or not is_plain(settings.optimizer):
            return list(parameters)
        most, found = -1, parameters[0]
        for parameter in parameters:
            key = tuple(parameter.shape), parameter.stride(), parameter.dtype
            if key not in known:
                known[key] = self._excess_bytes(parameter)
            if known[key] > most:
                most, found = known[key], parameter
        return [found]

    def _excess_bytes(self, parameter: nn.Parameter) -> int:
        settings = self.training.zeroth_order
        log = EventLog()
        log.track([parameter])
        start_bytes = log.live_bytes
        log.start_afresh()
        key = NoiseKey(0, "client", "", 0, 0, settings.distribution)
        with log, torch.no_grad():
            descend([("", parameter)], key, [0.0] * settings.directions, {})
        return log.peak_bytes - start_bytes


class StandInParts:
    """Client parts in which stand-ins take the places of all blocks that can be composed.

    Parameters
    ----------
    traced, training
        The model as shapes, and how it is trained.
    links
        Its blocks, as they were recorded.
    """

    def __init__(self, traced: TracedModel, training: Training, links: Links) -> None:
        self._links, self._training = links, training
        self._whole = traced.model.whole.ordered()
        self._known: dict[Hashable, int] = {}
        self._inputs: list[Activation] = []
        self._composable = self._which()

    def part(self, cut: int, *, training: bool) -> StandInPart:
        """Return a part that takes as much memory as blocks ``1..cut``, in training or in evaluation mode."""
        blocks: dict[int, Block] = {}
        index = 0
        while index < cut:
            stop = index
            while stop < cut and self._composable[stop]:
                stop += 1
            if stop > index:
                blocks[index] = self._stand_in(index, stop, training=training)
            else:
                blocks[index] = self._whole[index]
            index = max(stop, index + 1)
        return StandInPart(blocks)

    def _stand_in(self, start: int, stop: int, *, training: bool) -> StandIn:
        links, x = self._links, self._inputs[start]
        chain = links.blocks[start:stop]
        parameters = [parameter for link in chain for _, parameter in link.part.trainable()]
        moved = _Moving(self._training).of(parameters, self._known)
        passages = {
            reads: passage_of(links, chain, x, reads, training=training, frees_input=start > 0)
            for reads in (Reads if moved and not training else (Reads.PLAIN,))
        }
        return StandIn(x, passages, moved, standing_bytes(chain))

    def _which(self) -> list[bool]:
        """Find the blocks that leave nothing behind, however their parameters are read."""
        found: list[bool] = []
        x = self._links.batch
        for link in self._links.blocks:
            self._inputs.append(x)
            plain = self._links.plainly(link, x)
            try:
                ways = [self._links.plainly(link, x, reads) for reads in Reads] if link.num_trained else [plain]
                found.append(all(way.output == plain.output and way.is_alias == plain.is_alias for way in ways))
            except NotComposableError:
                found.append(False)
            x = plain.output
        return found
