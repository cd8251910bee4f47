"""Steps that overlap: later batches go forward before the gradient of an earlier one is applied.

With staleness ``D`` the order is fixed: ``F_0 ... F_D, B_0, F_{D+1}, B_1, ...``, so that the forward pass of batch
``t`` runs at the weights after ``max(0, t - D)`` updates, whatever takes how long (split learning with delayed
gradients, arXiv 2209.02428; the order, and both rules below, are our reconstruction).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from hybridsplit.runtime.estimators.base import GradientEstimator, StepResult
from hybridsplit.runtime.estimators.fo_recompute import statistics_untouched
from hybridsplit.runtime.noise import NoiseKey
from hybridsplit.runtime.noise.kept_version import KeptVersion
from hybridsplit.runtime.split.link import Batch, ServerLink
from hybridsplit.scenarios.errors import ContractError
from hybridsplit.scenarios.modes import MODES


@dataclass
class InFlight:
    """A batch that has gone forward.

    Parameters
    ----------
    again, key
        Reads the batch again from the client's data, and the noise key of its step.
    gradient, loss
        λ in the shape of the smashed data, None where the client trains nothing, and the loss. The memory of λ stands
        for that of whichever of the two is on the device: the smashed data until they are sent, or λ once it is there.
    smashed, version
        The smashed data with their graph, and the weights that they were computed at, where these are kept.
    """

    again: Callable[[], Batch]
    key: NoiseKey
    gradient: Tensor | None
    loss: float
    smashed: Tensor | None = None
    version: KeptVersion | None = None


class OverlappingSteps(ABC):
    """The steps of a mode in the fixed order of a staleness.

    Parameters
    ----------
    estimator
        The mode.
    staleness
        ``D``; with 0 every batch goes backward before the next goes forward.
    """

    def __init__(self, estimator: GradientEstimator, staleness: int) -> None:
        self._estimator, self._staleness = estimator, staleness
        self._in_flight: deque[InFlight] = deque()
        self._link: ServerLink | None = None

    @property
    def is_full(self) -> bool:
        """Whether the oldest batch must go backward before another may go forward."""
        return len(self._in_flight) > self._staleness

    @property
    def num_in_flight(self) -> int:
        """Batches that have gone forward and not backward."""
        return len(self._in_flight)

    def forward(self, batch: Batch, link: ServerLink, key: NoiseKey, again: Callable[[], Batch]) -> float:
        """Let a batch go forward, and the server train on it; return the loss.

        Parameters
        ----------
        batch, key
            The batch, which is not kept, and its step's noise key.
        link
            The link to the server part, which processes batches in the order of their forward passes.
        again
            Reads the batch again from the client's data.
        """
        flight = self._forward(batch, link, key, again)
        self._link = link
        self._in_flight.append(flight)
        return flight.loss

    def backward(self) -> StepResult:
        """Let the oldest batch in flight go backward, and update."""
        return self._backward(self._in_flight.popleft())

    @abstractmethod
    def _forward(self, batch: Batch, link: ServerLink, key: NoiseKey, again: Callable[[], Batch]) -> InFlight: ...

    @abstractmethod
    def _backward(self, flight: InFlight) -> StepResult: ...


class StashedSteps(OverlappingSteps):
    """``stash``: activations and weights of the forward pass are kept, and the gradient is exact at those."""

    _now: KeptVersion | None = None

    def _forward(self, batch: Batch, link: ServerLink, key: NoiseKey, again: Callable[[], Batch]) -> InFlight:
        if self._now is None:
            self._now = KeptVersion(list(self._estimator.part.trainable()))
        with self._now, torch.enable_grad():
            smashed = self._estimator.part(batch.inputs, batch.mask_BS)
        gradient, loss = link.exact(smashed.detach(), batch, wants_gradient=True)
        return InFlight(again, key, gradient, loss, smashed, self._now)

    def _backward(self, flight: InFlight) -> StepResult:
        version, smashed = flight.version, flight.smashed
        assert version is not None
        assert smashed is not None
        smashed.backward(flight.gradient)  # type: ignore[no-untyped-call]
        version.hand_over_gradients()
        flight.smashed = flight.version = flight.gradient = None
        del smashed, version
        now, self._now = self._now, None
        if now is not None and any(other.version is now for other in self._in_flight):
            now.part_from()
        del now
        self._estimator.update()
        return StepResult(flight.loss)


class CurrentSteps(OverlappingSteps):
    """``current``: nothing is kept; backward runs forward again at today's weights: ``J(θ_t)ᵀ λ(θ_{t-D})``.

    The batch is read again, and the mode's own step does the rest, with the gradient that is there already in place of
    the server's answer.
    """

    def _forward(self, batch: Batch, link: ServerLink, key: NoiseKey, again: Callable[[], Batch]) -> InFlight:
        with torch.no_grad():
            smashed = self._estimator.part(batch.inputs, batch.mask_BS)
        gradient, loss = link.exact(smashed, batch, wants_gradient=True)
        return InFlight(again, key, gradient, loss)

    def _backward(self, flight: InFlight) -> StepResult:
        assert self._link is not None
        with statistics_untouched(self._estimator.part):
            return self._estimator.step(flight.again(), _Answered(flight, self._link), flight.key)


@dataclass(frozen=True)
class _Answered:
    """The other side of a batch that the server has trained on already.

    Parameters
    ----------
    flight
        The batch.
    link
        Takes the scalars of a zeroth-order client, for which it waits for nothing.
    """

    flight: InFlight
    link: ServerLink

    @property
    def trains_server(self) -> bool:
        """True: the server part is remote."""
        return True

    def begin_step(self, key: NoiseKey) -> None:
        """The server has begun it before."""

    def exact(self, h: Tensor, batch: Batch, *, wants_gradient: bool) -> tuple[Tensor | None, float]:
        """Return the gradient that the server gave at the smashed data of then, in the shape of ``h``."""
        gradient, self.flight.gradient = self.flight.gradient, None
        return gradient, self.flight.loss

    def probe(self, h: Tensor, batch: Batch, *, keep: bool = False) -> Tensor:
        """Nothing can be asked any more."""
        raise _asked_again()

    def exact_kept(self, batch: Batch) -> float:
        """As :meth:`probe`."""
        raise _asked_again()

    def share_scalars(self, scalars_P: Tensor, seeds_P: Tensor) -> Tensor:
        """Report the scalar of each direction, [P]; directions are this client's own."""
        return self.link.share_scalars(scalars_P, seeds_P)


def _asked_again() -> ContractError:
    return ContractError(
        "a step that overlaps with others asked the server twice; needs a mode that asks once, for the gradient at the "
        "cut: its class must not name this rule in 'overlaps'"
    )


_STEPS: dict[str, type[OverlappingSteps]] = {"stash": StashedSteps, "current": CurrentSteps}


def overlapping(estimator: GradientEstimator, mode: str, staleness: int, rule: str) -> OverlappingSteps:
    """Return the steps of a mode in the order of a staleness.

    Parameters
    ----------
    estimator, mode
        What carries the mode out, and its name.
    staleness
        ``D``.
    rule
        ``training.overlap.gradient``.

    Raises
    ------
    ContractError
        If the mode's steps cannot overlap by this rule, or the client part has nothing to train.
    """
    if rule not in MODES[mode].overlaps or not estimator.trains:
        raise ContractError(
            f"{mode} with staleness {staleness} and gradient {rule!r}: its steps cannot overlap here; make the plan "
            "again for this scenario"
        )
    return _STEPS[rule](estimator, staleness)
