"""Peak of a forward and backward pass through a chain of unlike blocks, composed from recordings of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hybridsplit.profiler.memory.activations import Activation
from hybridsplit.profiler.memory.event_log import NotComposableError
from hybridsplit.profiler.memory.links import Links
from hybridsplit.profiler.memory.passages import Below, Held, Link, Passage

_IN = 0
"""The memory of the chain's input, which is held throughout."""


@dataclass(frozen=True)
class Top:
    """What happens between the ways up and down.

    Parameters
    ----------
    excess_bytes
        Largest excess over the chain's output, the gradient included.
    gradient
        The gradient of the output, which whoever starts the way down holds.
    """

    excess_bytes: int
    gradient: Activation


@dataclass(frozen=True)
class Walked:
    """A pass through a chain.

    Parameters
    ----------
    peak_bytes
        Largest excess over what stands and the chain's input.
    gradients_bytes
        Gradients of parameters, at the end.
    received
        The gradient of the chain's input; None where there is none.
    trained
        Whether each trainable parameter got a gradient, link by link from the lowest that has a graph.
    """

    peak_bytes: int
    gradients_bytes: int
    received: Activation | None
    trained: tuple[tuple[bool, ...], ...]


@dataclass(frozen=True)
class Risen:
    """The way up: a passage for each link, and where its input and output lie.

    Parameters
    ----------
    passages, inputs
        By link.
    memory
        By activation, the chain's input first: activations with the same number lie in the same memory.
    live_bytes, peak_bytes
        At the end, the output included, and the most on the way.
    """

    passages: tuple[Passage, ...]
    inputs: tuple[Activation, ...]
    memory: tuple[int, ...]
    live_bytes: int
    peak_bytes: int

    @property
    def output(self) -> Activation:
        """What comes out at the top."""
        return self.passages[-1].output


def rise(passages: Sequence[Passage], inputs: Sequence[Activation], *, frees_input: bool = False) -> Risen:
    """Compose the way up; every input lives until its block has run, and as long as a graph keeps it.

    Parameters
    ----------
    passages, inputs
        By link.
    frees_input
        Whether nobody else holds the first input.

    Raises
    ------
    NotComposableError
        If a block writes into what another one has made a view for autograd, or keeps.
    """
    memory = [_IN]
    size = {_IN: inputs[0].storage_bytes}
    kept: set[int] = set()
    live = peak = 0
    for number, passage in enumerate(passages, 1):
        below = memory[-1]
        is_view = number > 1 and (below == _IN or passages[number - 2].is_view)
        if passage.writes_input and (is_view or below in kept):
            raise NotComposableError
        peak = max(peak, live + passage.excess_bytes)
        above = below if passage.is_alias else number
        size.setdefault(above, passage.output.storage_bytes)
        memory.append(above)
        live += passage.saved_bytes + (0 if passage.is_alias else passage.output.storage_bytes)
        kept |= {below} if passage.keeps_input else set()
        kept |= {above} if passage.keeps_output else set()
        if below != above and below not in kept and (below != _IN or frees_input):
            live -= size[below]
    return Risen(tuple(passages), tuple(inputs), tuple(memory), live, peak)


def chain_up(links: Links, chain: Sequence[Link], x: Activation, below: Below) -> tuple[Risen, list[Below]]:
    """Record and compose the way up of a chain, and say what is below each link."""
    passages: list[Passage] = []
    inputs: list[Activation] = []
    belows: list[Below] = []
    for link in chain:
        inputs.append(x)
        belows.append(below)
        passages.append(links.up(link, x, below))
        x = passages[-1].output
        below = Below.TRAINED if passages[-1].has_graph else below
    return rise(passages, inputs), belows


def walk(links: Links, chain: Sequence[Link], risen: Risen, belows: Sequence[Below], top: Top) -> Walked:
    """Compose the way down behind a way up.

    Raises
    ------
    NotComposableError
        If a block's memory does not follow from its own.
    """
    live, memory = risen.live_bytes, risen.memory
    peak = max(risen.peak_bytes, live + top.excess_bytes)
    live += top.gradient.storage_bytes
    first = next((i for i, passage in enumerate(risen.passages) if passage.has_graph), None)
    if first is None:
        raise NotComposableError
    gradient: Activation | None = top.gradient
    held = Held.TENSOR
    gradients_bytes = 0
    trained: list[tuple[bool, ...]] = []
    outside = _held_outside(risen)
    for i in reversed(range(first, len(chain))):
        if gradient is None:
            raise NotComposableError
        descent = links.down(chain[i], risen.inputs[i], belows[i], gradient, held)
        excess, change = descent.played(holds_x=outside[i][0], holds_y=outside[i][1])
        peak = max(peak, live + excess)
        live += change
        gradients_bytes += descent.gradients_bytes
        trained.append(descent.trained)
        gradient = descent.gradient
        held = Held.MEMORY if descent.in_place and held is not Held.NO else Held.NO
    received = gradient
    own_bytes = 0 if memory[-1] == _IN else risen.output.storage_bytes
    left = own_bytes + top.gradient.storage_bytes + gradients_bytes
    if received is not None and held is Held.NO:
        left += received.storage_bytes
    if live != left:
        raise NotComposableError
    return Walked(peak, gradients_bytes, received, tuple(reversed(trained)))


def _held_outside(risen: Risen) -> list[tuple[bool, bool]]:
    """By link, whether its input and its output are held by graphs of lower links, or by whoever runs the chain."""
    held: list[tuple[bool, bool]] = []
    kept = {_IN, risen.memory[-1]}
    for i, passage in enumerate(risen.passages):
        below, above = risen.memory[i], risen.memory[i + 1]
        held.append((below in kept, above in kept))
        kept |= {below} if passage.keeps_input else set()
        kept |= {above} if passage.keeps_output else set()
    return held
