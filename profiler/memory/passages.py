"""How one block of a chain is passed: what that does to memory on the way up and on the way down.

What lives on in other blocks is left out and put back by whoever composes: a way down is kept as its events, so that it
can be played with the block's input or output held from outside.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from torch import Tensor

from hybridsplit.profiler.memory.activations import Activation
from hybridsplit.runtime.split.parts import Part


class Below(StrEnum):
    """What is below a block that runs with a graph."""

    TRAINED = "trained"
    """A block with a graph, to which a gradient goes on."""
    NOTHING = "nothing"
    """Nothing that is trained: the block's input has no gradient."""
    RECEIVED = "received"
    """Smashed data, whose gradient is sent back."""


class Held(StrEnum):
    """Who else holds the gradient of a block's output while the block runs backward."""

    NO = "no"
    TENSOR = "tensor"
    """The tensor is held by whoever started the backward pass."""
    MEMORY = "memory"
    """Another view of its memory is."""


@dataclass(frozen=True)
class Link:
    """A block of a chain, or the loss at its end.

    Parameters
    ----------
    key
        What links share that do the same to memory, given the same input.
    run
        Maps the input, the only tensor of a list, to the output; takes it out of the list where whoever runs the chain
        does not hold it meanwhile.
    part
        Its parameters and buffers.
    beside
        Further tensors that it reads.
    num_trained
        Trainable parameters.
    """

    key: int
    run: Callable[[list[Tensor]], Tensor]
    part: Part
    beside: tuple[Tensor, ...]
    num_trained: int

    def standing(self) -> list[Tensor]:
        """Return all tensors that are there throughout, each in its own shape."""
        return [*self.part.parameters(), *self.part.buffers(), *self.beside]


@dataclass(frozen=True)
class Passage:
    """A way up.

    Parameters
    ----------
    excess_bytes
        Largest excess over what is there before, the input included; the output counts.
    output
        What comes out.
    is_alias
        Whether the output is in the memory of the input.
    saved_bytes
        What the graph keeps beside input and output.
    keeps_input, keeps_output
        Whether the graph keeps these.
    writes_input, is_view
        Whether the input is changed in place, and whether the output is a view to autograd.
    has_graph
        Whether a gradient can come down.
    """

    excess_bytes: int
    output: Activation
    is_alias: bool
    saved_bytes: int = 0
    keeps_input: bool = False
    keeps_output: bool = False
    writes_input: bool = False
    is_view: bool = False
    has_graph: bool = False


@dataclass(frozen=True)
class Descent:
    """A way down.

    Parameters
    ----------
    events
        Changes of live bytes, from when the output's gradient is there until the input's is, with the place whose
        memory it is: ``x`` for the input, ``y`` for the output, ``""`` for all other.
    gradient
        The input's gradient; None where there is none.
    in_place
        Whether that is in the memory of the output's gradient.
    gradients_bytes
        Gradients of parameters.
    trained
        Whether each trainable parameter, in order, got one.
    """

    events: tuple[tuple[int, str], ...]
    gradient: Activation | None
    in_place: bool
    gradients_bytes: int
    trained: tuple[bool, ...]

    def played(self, *, holds_x: bool, holds_y: bool) -> tuple[int, int]:
        """Return the largest excess and the change of live bytes, with input or output held from outside."""
        live = peak = 0
        for change, place in self.events:
            if (place == "x" and holds_x) or (place == "y" and holds_y):
                continue
            live += change
            peak = max(peak, live)
        return peak, live
