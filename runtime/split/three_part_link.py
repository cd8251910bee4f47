"""The link of a split in three parts: what crosses between a client with the head and the server's middle.

No label is among the arguments: the server could not receive one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from hybridsplit.runtime.split.link import Traffic
from hybridsplit.runtime.split.live_bytes import LiveBytes
from hybridsplit.scenarios.contracts.phases import Phase


class MiddleLink(Protocol):
    """What a client with the head may ask of the blocks in between."""

    def features(self, h: Tensor, mask_BS: Tensor | None, *, wants_gradient: bool) -> Tensor:
        """Run the middle forward.

        Parameters
        ----------
        h
            Smashed data, in the shape of the activation at the cut.
        mask_BS
            Attention mask; None where nothing is padded.
        wants_gradient
            Whether the client needs λ = ∂loss/∂h.

        Returns
        -------
        The activation that the head begins with.
        """

    def gradient(self, of_features: Tensor) -> Tensor | None:
        """Run the middle backward and update it.

        Parameters
        ----------
        of_features
            ∂loss/∂features, in their shape.

        Returns
        -------
        λ in the shape of the smashed data; None where it was not wanted.
        """


class TimedMiddle(ABC):
    """A middle in this process, which knows how long it has worked."""

    @property
    @abstractmethod
    def seconds(self) -> float:
        """Seconds spent forward."""

    @property
    @abstractmethod
    def backward_seconds(self) -> float:
        """Seconds spent backward and with the update."""

    @property
    @abstractmethod
    def trains(self) -> bool:
        """Whether it has something to train."""

    @abstractmethod
    def features(self, h: Tensor, mask_BS: Tensor | None, *, wants_gradient: bool) -> Tensor:
        """Return the activation that the head begins with, in its shape; as :meth:`MiddleLink.features`."""

    @abstractmethod
    def gradient(self, of_features: Tensor) -> Tensor | None:
        """Return λ in the shape of the smashed data, if wanted, as :meth:`MiddleLink.gradient`."""


class MovedMiddle(TimedMiddle):
    """A link to a middle on another of torch's devices: what crosses is moved there, and answers are moved here.

    Parameters
    ----------
    middle
        The other side.
    there, here
        Its device, and the client's.
    """

    def __init__(self, middle: TimedMiddle, there: torch.device, here: torch.device) -> None:
        self._middle, self._there, self._here = middle, there, here

    @property
    def seconds(self) -> float:
        """Seconds that the other side has worked forward."""
        return self._middle.seconds

    @property
    def backward_seconds(self) -> float:
        """Seconds that it has worked backward."""
        return self._middle.backward_seconds

    @property
    def trains(self) -> bool:
        """Whether the other side has something to train."""
        return self._middle.trains

    def features(self, h: Tensor, mask_BS: Tensor | None, *, wants_gradient: bool) -> Tensor:
        """Return the activation that the head begins with, where the client is; the mask is [B, S]."""
        mask_BS = None if mask_BS is None else mask_BS.to(self._there)
        features = self._middle.features(h.detach().to(self._there), mask_BS, wants_gradient=wants_gradient)
        return features.to(self._here)

    def gradient(self, of_features: Tensor) -> Tensor | None:
        """Return λ in the shape of the smashed data, if wanted, where the client is."""
        gradient = self._middle.gradient(of_features.to(self._there))
        return None if gradient is None else gradient.to(self._here)


@dataclass(frozen=True)
class CountingMiddle:
    """Counts what crosses between a client and a remote middle.

    Parameters
    ----------
    middle
        The other side.
    traffic
        Where to count.
    """

    middle: MiddleLink
    traffic: Traffic

    def features(self, h: Tensor, mask_BS: Tensor | None, *, wants_gradient: bool) -> Tensor:
        """Send smashed data and the mask [B, S] up, and features down; as :meth:`MiddleLink.features`."""
        self.traffic.count(Phase.UPLINK, [h, mask_BS])
        features = self.middle.features(h, mask_BS, wants_gradient=wants_gradient)
        self.traffic.count(Phase.HEAD_DOWNLINK, [features])
        return features

    def gradient(self, of_features: Tensor) -> Tensor | None:
        """Send the gradient of the features up, and λ, in the shape of the smashed data, down."""
        self.traffic.count(Phase.HEAD_UPLINK, [of_features])
        gradient = self.middle.gradient(of_features)
        self.traffic.count(Phase.DOWNLINK, [gradient])
        return gradient


@dataclass(frozen=True)
class MeteredMiddle:
    """Keeps what the middle computes out of the client's memory, and counts what the client receives.

    Parameters
    ----------
    middle
        The link to the middle.
    meter
        The client's memory meter.
    """

    middle: MiddleLink
    meter: LiveBytes

    def features(self, h: Tensor, mask_BS: Tensor | None, *, wants_gradient: bool) -> Tensor:
        """Receive features, in the shape of the activation that the head begins with; as :meth:`MiddleLink.features`.

        In one process the server may keep their memory for its backward pass: the client holds a copy.
        """
        with self.meter.paused():
            features = self.middle.features(h, mask_BS, wants_gradient=wants_gradient).clone()
        self.meter.track([features])
        return features

    def gradient(self, of_features: Tensor) -> Tensor | None:
        """Receive λ, in the shape of the smashed data; as :meth:`MiddleLink.gradient`."""
        with self.meter.paused():
            gradient = self.middle.gradient(of_features)
        if gradient is not None:
            self.meter.track([gradient])
        return gradient
