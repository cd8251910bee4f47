"""Memory of an optimizer's step over any run of consecutive parameters, from one step over all of them.

Tensor by tensor, as our optimizers work, a step over some consecutive parameters does what the step over all does while
it is at these; temporaries of the parameter before, which the last line of a loop leaves alive, are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from hybridsplit.profiler.memory.event_log import EventLog
from hybridsplit.runtime.split.optimizers import PartOptimizer
from hybridsplit.scenarios.schema import AdamW, GradientClip, Optimizer


@dataclass(frozen=True)
class UpdatePeaks:
    """An optimizer's step over parameters that all have gradients.

    Parameters
    ----------
    first_bytes, later_bytes
        Largest excess of the first step, in which state is born, and of later ones.
    state_bytes
        What is kept from then on.
    """

    first_bytes: int
    later_bytes: int
    state_bytes: int


class Updates:
    """Steps of one optimizer over runs of a model's parameters.

    Parameters
    ----------
    settings, clip
        The optimizer, and how gradients are clipped.
    parameters
        All that are trained, in order.
    """

    def __init__(self, settings: Optimizer, clip: GradientClip | None, parameters: Sequence[nn.Parameter]) -> None:
        self._settings, self._clip, self._parameters = settings, clip, list(parameters)
        self._whole: tuple[_Step, _Step, list[int]] | None = None

    def of(self, start: int, stop: int, trained: Sequence[bool]) -> UpdatePeaks:
        """Return what a step over some of the parameters takes.

        Parameters
        ----------
        start, stop
            The parameters, by position.
        trained
            Which of them have a gradient.
        """
        if self._clip is None and all(trained):
            found = self._from_whole(start, stop)
            if found is not None:
                return found
        own = [p for p, has in zip(self._parameters[start:stop], trained, strict=True) if has]
        first, later, sizes = _two_steps(self._settings, self._clip, own)
        return UpdatePeaks(first.peak_bytes, later.peak_bytes, sum(sizes))

    def _from_whole(self, start: int, stop: int) -> UpdatePeaks | None:
        if self._whole is None:
            self._whole = _two_steps(self._settings, None, self._parameters)
        first, later, sizes = self._whole
        if sum(sizes) != first.kept_bytes:
            return None
        state_bytes, later_bytes = sum(sizes[start:stop]), later.peak_between(start, stop)
        # AdamW's moments are all born before the first parameter moves; momentum, when its parameter does.
        born_before = isinstance(self._settings, AdamW)
        first_bytes = state_bytes + later_bytes if born_before else first.peak_between(start, stop)
        return UpdatePeaks(first_bytes, later_bytes, state_bytes)


@dataclass(frozen=True)
class _Step:
    """What a step did: its events, where it began, and where it was done with each parameter.

    Places are a number of events, and how many storages had been born by then.
    """

    events: tuple[tuple[int, int], ...]
    begin: tuple[int, int]
    ends: tuple[tuple[int, int], ...]
    peak_bytes: int
    kept_bytes: int

    def peak_between(self, start: int, stop: int) -> int:
        """Largest excess while the step is at some of the parameters, with nothing left of those before."""
        if start == stop:
            return 0
        first_event, num_born = self.ends[start - 1] if start > 0 else self.begin
        live = peak = 0
        for number, change in self.events[first_event : self.ends[stop - 1][0]]:
            if number > num_born:
                live += change
                peak = max(peak, live)
        return peak


class _StepLog(EventLog):  # type: ignore[no-untyped-call]
    """Notes where in the events a step is done with each parameter: behind the last operator that writes into it."""

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        super().__init__()
        self._parameters = list(parameters)
        self._positions = {id(parameter): position for position, parameter in enumerate(parameters)}
        self._ends: list[tuple[int, int]] = []
        self.track(parameters)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = super().__torch_dispatch__(func, types, args, kwargs)
        position = self._positions.get(id(args[0])) if args and func._schema.is_mutable else None
        if position is not None:
            self._ends[position] = len(self.events), self.num_born
        return result

    def step(self, optimizer: PartOptimizer) -> _Step:
        """Follow a step along gradients, which are there before and gone after."""
        before_bytes = self.live_bytes
        for parameter in self._parameters:
            parameter.grad = torch.empty_like(parameter)
            self.track([parameter.grad])
        begin, start_bytes = (len(self.events), self.num_born), self.live_bytes
        self._ends = [begin] * len(self._parameters)
        self.start_afresh()
        with self:
            optimizer.step()
        return _Step(
            tuple(self.events), begin, tuple(self._ends), self.peak_bytes - start_bytes, self.live_bytes - before_bytes
        )


def _two_steps(
    settings: Optimizer, clip: GradientClip | None, parameters: Sequence[nn.Parameter]
) -> tuple[_Step, _Step, list[int]]:
    """Take a step while the state is born and another one; give both, and bytes of the state by parameter."""
    named = [(str(position), parameter) for position, parameter in enumerate(parameters)]
    optimizer = PartOptimizer(settings, named, clip)
    log = _StepLog(parameters)
    first, later = log.step(optimizer), log.step(optimizer)
    sizes = [0] * len(parameters)
    for key, value in optimizer.state().items():
        sizes[int(key.partition("/")[0])] += value.untyped_storage().nbytes()
    return first, later, sizes
