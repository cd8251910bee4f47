"""Record what one block of a chain, or the loss at its end, does to memory by itself."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from hybridsplit.profiler.memory.activations import Activation
from hybridsplit.profiler.memory.event_log import EventLog, NotComposableError
from hybridsplit.profiler.memory.passages import Below, Descent, Held, Link, Passage

Context = Callable[[], contextlib.AbstractContextManager[object]]


def run_plainly(link: Link, x: Activation, context: Context, *, training: bool, grad: bool = False) -> Passage:
    """Record a way up without a graph.

    Raises
    ------
    NotComposableError
        If it leaves anything behind but its output.
    """
    link.part.train(training)
    log = EventLog()
    given = [x.make()]
    version = given[0]._version
    log.track([*link.standing(), *given])
    num_standing, start_bytes, x_number = log.num_born, log.live_bytes, log.number_of(given[0])
    log.start_afresh()
    with torch.set_grad_enabled(grad), log, context() as kept:
        y = link.run(given)
    output, number = Activation.of(y), log.number_of(y)
    is_alias, writes_input = number == x_number, any(x_in._version != version for x_in in given)
    del given
    own_bytes = 0 if is_alias else output.storage_bytes - x.storage_bytes
    if y.requires_grad or not (is_alias or number > num_standing) or log.live_bytes != start_bytes + own_bytes:
        raise NotComposableError
    del kept
    return Passage(log.peak_bytes - start_bytes, output, is_alias, writes_input=writes_input)


def run_up(link: Link, x: Activation, below: Below) -> Passage:
    """Record a way up in training; a block with nothing trained below, and that uses none of its own, has no graph.

    Raises
    ------
    NotComposableError
        If the output belongs to what stands, or a gradient stops in the block.
    """
    if below is Below.NOTHING:
        with contextlib.suppress(NotComposableError):
            return run_plainly(link, x, contextlib.nullcontext, training=True, grad=True)
    recording = _Recording(link, x, below)
    recording.forget()
    return recording.up


def run_down(link: Link, x: Activation, below: Below, gradient: Activation, held: Held) -> Descent:
    """Record a way down.

    Parameters
    ----------
    link, x, below
        The block, its input, and what is below.
    gradient, held
        The gradient of its output, and who else holds it.

    Raises
    ------
    NotComposableError
        If memory is shared or left behind in a way that another block could see.
    """
    return _Recording(link, x, below).down(gradient, held)


class _Recording:
    """A block that has run up with a graph; input and output live on only in the graph."""

    def __init__(self, link: Link, x: Activation, below: Below) -> None:
        link.part.train(True)
        self.log = log = EventLog()
        self._link, self._x, self._below = link, x, below
        log.track(link.standing())
        self._received = x.make() if below is Below.RECEIVED else None
        self._end = self._arrived_number = 0
        self._arrived: Activation | None = None
        self._kept: Tensor | None = None
        given = [self._input()]
        self._leaf = given[0] if below is Below.RECEIVED else None
        version = given[0]._version
        log.track(given)
        num_standing, start_bytes, self._x_number = log.num_born, log.live_bytes, log.number_of(given[0])
        log.start_afresh()
        with log, torch.enable_grad():
            y = link.run(given)
        excess_bytes, output, self._y_number = log.peak_bytes - start_bytes, Activation.of(y), log.number_of(y)
        is_alias = self._x_number == self._y_number
        if not y.requires_grad or not (is_alias or self._y_number > num_standing):
            raise NotComposableError
        writes_input, is_view = any(x_in._version != version for x_in in given), y._is_view()
        del given
        self._births = range(num_standing + 1, log.num_born + 1)
        with log, torch.enable_grad():
            self._root: Tensor | None = _Sink.apply(y, self)  # type: ignore[no-untyped-call]
            assert self._root is not None
            root_bytes = self._root.untyped_storage().nbytes()
        del y
        keeps_input, keeps_output = log.is_live(self._x_number), log.is_live(self._y_number)
        kept_bytes = x.storage_bytes * keeps_input + output.storage_bytes * (keeps_output and not is_alias)
        saved_bytes = log.live_bytes - root_bytes - (start_bytes - x.storage_bytes) - kept_bytes
        self.up = Passage(
            excess_bytes, output, is_alias, saved_bytes, keeps_input=keeps_input, keeps_output=keeps_output,
            writes_input=writes_input, is_view=is_view, has_graph=True,
        )  # fmt: skip

    def _input(self) -> Tensor:
        if self._below is Below.TRAINED:
            seed = torch.empty((), device="meta", requires_grad=True)
            with torch.enable_grad():
                return _Source.apply(seed, self, self._x)  # type: ignore[no-any-return, no-untyped-call]
        return self._x.make() if self._received is None else self._received.detach().requires_grad_()

    def down(self, gradient: Activation, held: Held) -> Descent:
        """Run backward."""
        self._gradient, self._held = gradient, held
        parameters = [parameter for _, parameter in self._link.part.trainable()]
        assert self._root is not None
        try:
            with self.log:
                self._root.backward()  # type: ignore[no-untyped-call]
            if self._leaf is not None and self._leaf.grad is not None:
                self.arrive(self._leaf.grad)
            elif self._below is Below.NOTHING:
                self._end = len(self.log.events)
            return self._descent([parameter.grad for parameter in parameters])
        finally:
            self.forget()
            for parameter in parameters:
                parameter.grad = None

    def forget(self) -> None:
        """Let go of the graph, which knows this recording: otherwise each would wait for the collector of cycles."""
        self._root = self._leaf = self._received = self._kept = None

    def begin(self) -> Tensor:
        """Give the gradient of the output, and note where the way down begins."""
        gradient = self._gradient.make()
        with self.log.paused():
            self._kept = {Held.NO: None, Held.TENSOR: gradient, Held.MEMORY: gradient.detach()}[self._held]
        self._g_number, self._start = self.log.number_of(gradient), len(self.log.events)
        return gradient

    def arrive(self, gradient: Tensor) -> None:
        """Take the gradient of the input: the way down has ended."""
        self._end, self._arrived = len(self.log.events), Activation.of(gradient)
        self._arrived_number = self.log.number_of(gradient)

    def _descent(self, grads: Sequence[Tensor | None]) -> Descent:
        log, x, y, g, end = self.log, self._x_number, self._y_number, self._g_number, self._arrived_number
        sizes = {log.number_of(grad): grad.untyped_storage().nbytes() for grad in grads if grad is not None}
        # A gradient that is a parameter's as well, or lies where an activation does, outlives what one block shows.
        shared = sizes.keys() & {0, x, y, g, end} or (end == 0) != (self._below is Below.NOTHING) or end in (x, y)
        mine = {*self._births, x}
        lives_on = {*sizes, *([end] if end else []), *([g] if self._held is not Held.NO else [])}
        lives_on |= {x} if self._below is Below.RECEIVED else set()
        left = {n for n in log.live_after(self._end) if (n in mine or n >= g) and n not in lives_on}
        if shared or left or self._end == 0:
            raise NotComposableError
        places = {y: "y", x: "x"}
        events = tuple(
            (change, places.get(number, ""))
            for number, change in log.events[self._start : self._end]
            if number in mine or number >= g
        )
        trained = tuple(grad is not None for grad in grads)
        return Descent(events, self._arrived, end != 0 and end == g, sum(sizes.values()), trained)


class _Source(torch.autograd.Function):
    """Gives a block's input as an activation, not a leaf, and takes its gradient."""

    @staticmethod
    def forward(ctx: Any, _: Tensor, recording: _Recording, x: Activation) -> Tensor:
        ctx.recording = recording
        return x.make()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, None, None]:
        ctx.recording.arrive(gradients[0])
        return None, None, None


class _Sink(torch.autograd.Function):
    """Takes a block's output without keeping it, and gives its gradient."""

    @staticmethod
    def forward(ctx: Any, _: Tensor, recording: _Recording) -> Tensor:
        ctx.recording = recording
        return torch.empty((), device="meta")

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor, None]:
        return ctx.recording.begin(), None
