"""The links of a model's chain, and what each was seen to do to memory."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Iterable
from enum import StrEnum
from typing import TypeVar

from torch import Tensor

from hybridsplit.profiler.memory.activations import Activation
from hybridsplit.profiler.memory.event_log import NotComposableError
from hybridsplit.profiler.memory.passages import Below, Descent, Held, Link, Passage
from hybridsplit.profiler.memory.recordings import Context, run_down, run_plainly, run_up
from hybridsplit.profiler.models import TracedModel
from hybridsplit.runtime.models.blocks import Block
from hybridsplit.runtime.noise import NoiseKey, Perturbed
from hybridsplit.runtime.split.parts import Part, task_loss
from hybridsplit.scenarios.errors import HybridSplitError
from hybridsplit.scenarios.schema import Scenario

_T = TypeVar("_T")
_RADIUS = 1.0


class Reads(StrEnum):
    """How operators read parameters in a pass without a graph."""

    PLAIN = "plain"
    NAMED = "named"
    """The rows of embeddings that are read are noted."""
    PERTURBED = "perturbed"


class Links:
    """The blocks of a model and its loss, with what they were seen to do; each is recorded when first asked for.

    Parameters
    ----------
    traced
        The model as shapes.
    scenario
        Its settings.

    Attributes
    ----------
    blocks, loss
        First to last, and what comes behind them.
    batch
        The inputs of the first block.
    are_apart
        Whether no two blocks share memory of parameters or buffers.
    """

    def __init__(self, traced: TracedModel, scenario: Scenario) -> None:
        batch = traced.batch
        mask = () if batch.mask_BS is None else (batch.mask_BS,)
        self._noise = NoiseKey(0, "client", "", 0, 0, scenario.training.zeroth_order.distribution)
        self._known: dict[Hashable, object] = {}
        self.batch = Activation.of(batch.inputs)
        keys: dict[Hashable, int] = {}

        def link_of(index: int, block: Block) -> Link:
            part = Part({index: block})
            key = keys.setdefault(_key_of(block), len(keys))
            return Link(key, lambda given: block(given[0], batch.mask_BS), part, mask, sum(1 for _ in part.trainable()))

        self.blocks = [link_of(index, block) for index, block in enumerate(traced.model.whole.ordered())]
        kind = scenario.model.loss_kind
        self.loss = Link(-1, lambda given: task_loss(given.pop(), batch.labels, kind), Part({}), (batch.labels,), 0)
        own = [{id(t.untyped_storage()) for t in storages_of(link.part)} for link in self.blocks]
        self.are_apart = len(set[int]().union(*own)) == sum(map(len, own))

    def plainly(
        self, link: Link, x: Activation, reads: Reads = Reads.PLAIN, *, training: bool = False, grad: bool = False
    ) -> Passage:
        """Return what a link does on the way up without a graph."""

        def context() -> contextlib.AbstractContextManager[object]:
            scale = _RADIUS if reads is Reads.PERTURBED else 0.0
            return Perturbed(link.part.trainable(), self._noise, 0, scale)

        around: Context = contextlib.nullcontext if reads is Reads.PLAIN else context
        key = "plainly", link.key, x, reads, training, grad
        return self._once(key, lambda: run_plainly(link, x, around, training=training, grad=grad))

    def up(self, link: Link, x: Activation, below: Below) -> Passage:
        """Return what a link does on the way up with a graph."""
        return self._once(("up", link.key, x, below), lambda: run_up(link, x, below))

    def down(self, link: Link, x: Activation, below: Below, gradient: Activation, held: Held) -> Descent:
        """Return what a link does on the way down."""
        key = "down", link.key, x, below, gradient, held
        return self._once(key, lambda: run_down(link, x, below, gradient, held))

    def _once(self, key: Hashable, record: Callable[[], _T]) -> _T:
        if key not in self._known:
            try:
                self._known[key] = record()
            except (NotComposableError, HybridSplitError, RuntimeError, TypeError, ValueError):
                # What cannot run by itself is for a full trace, which says what is wrong.
                self._known[key] = NotComposableError()
        found = self._known[key]
        if isinstance(found, NotComposableError):
            raise found
        return found  # type: ignore[return-value]


def storages_of(part: Part) -> list[Tensor]:
    """Return parameters and buffers, each in its own shape."""
    return [*part.parameters(), *part.buffers()]


def standing_bytes(chain: Iterable[Link]) -> int:
    """Bytes of parameters and buffers of links."""
    storages = (tensor.untyped_storage() for link in chain for tensor in storages_of(link.part))
    return sum({id(storage): storage.nbytes() for storage in storages}.values())


def _key_of(block: Block) -> Hashable:
    """Return what blocks share that do the same to memory, given the same input."""
    parameters = tuple((n, tuple(p.shape), p.stride(), p.dtype, p.requires_grad) for n, p in block.named_parameters())
    buffers = tuple((n, tuple(b.shape), b.dtype) for n, b in block.named_buffers())
    return block.kind, repr(block), block.reads_in, parameters, buffers
