"""The link between a client and its server part, in one process: what crosses it is counted, byte by byte.

Bytes are counted on the tensors that cross, so the run's ledger is measured, not computed from a formula.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from hybridsplit.runtime.noise import NoiseKey
from hybridsplit.runtime.split.live_bytes import LiveBytes
from hybridsplit.scenarios.contracts.phases import Phase


@dataclass(frozen=True)
class Batch:
    """One mini-batch.

    Parameters
    ----------
    inputs
        Token ids [B, S], or images [B, C, H, W].
    labels
        [B] classes, or [B, S] token ids for a causal language model.
    mask_BS
        Attention mask, bool; None where nothing is padded.
    """

    inputs: Tensor
    labels: Tensor
    mask_BS: Tensor | None = None


def as_sent(values: Tensor) -> Tensor:
    """Return a tensor as it arrives: in row-major order, in memory of its own size.

    Strides do not cross, and kernels differ by them in bits; nor does the rest of a larger tensor that this one is a
    view of, which would stay in memory with it.

    Parameters
    ----------
    values
        Smashed data or their gradient, of any shape; returned itself where nothing has to change.
    """
    if values.is_contiguous() and values.untyped_storage().nbytes() == values.nbytes:
        return values
    return values.clone(memory_format=torch.contiguous_format)


class ServerLink(Protocol):
    """What a training mode may ask of the other side."""

    def begin_step(self, key: NoiseKey) -> None:
        """Start a step; ``key`` is the client's, from which the other side derives directions of its own."""

    def exact(self, h: Tensor, batch: Batch, *, wants_gradient: bool) -> tuple[Tensor | None, float]:
        """Train the server part on smashed data.

        Parameters
        ----------
        h
            Smashed data, in the shape of the activation at the cut.
        batch
            Labels and mask.
        wants_gradient
            Whether the client needs λ = ∂loss/∂h.

        Returns
        -------
        λ in the shape of ``h`` (None if not wanted), and the loss.
        """

    def probe(self, h: Tensor, batch: Batch, *, keep: bool = False) -> Tensor:
        """Return the loss of smashed data, shape []; trains nothing.

        Parameters
        ----------
        h, batch
            Smashed data, and their labels and mask.
        keep
            Whether to keep the smashed data for :meth:`exact_kept`.
        """

    def exact_kept(self, batch: Batch) -> float:
        """Train the server part once on the smashed data kept in this step; return their mean loss."""

    def share_scalars(self, scalars_P: Tensor, seeds_P: Tensor) -> Tensor:
        """Report the scalar of each direction ([P]); return what all replicas are to apply ([P])."""

    @property
    def trains_server(self) -> bool:
        """False where the whole model is on the device."""


class TimedLink(ServerLink, Protocol):
    """A link that knows how long the other side has worked."""

    @property
    def seconds(self) -> float:
        """Seconds so far."""


@dataclass
class Traffic:
    """Bytes that crossed the air, by phase."""

    bytes_by_phase: Counter[Phase] = field(default_factory=Counter)

    def count(self, phase: Phase, tensors: Iterable[Tensor | None]) -> None:
        """Add the payload of tensors that cross the air in a phase."""
        self.bytes_by_phase[phase] += sum(t.nbytes for t in tensors if t is not None)


@dataclass
class CountingLink:
    """Counts what crosses between a client and a remote server part.

    Parameters
    ----------
    server
        The other side.
    traffic
        Where to count.
    row_ids_cross
        True when a zeroth-order client trains an embedding whose rows the labels do not name: the server then needs the
        token ids to replay the update.
    labels_cross
        False where the server holds the labels; the mask crosses all the same.
    """

    server: ServerLink
    traffic: Traffic
    row_ids_cross: bool = False
    labels_cross: bool = True
    _sent: weakref.ref[Batch] | None = None

    @property
    def trains_server(self) -> bool:
        """True: the server part is remote."""
        return True

    def begin_step(self, key: NoiseKey) -> None:
        """Start a step: its labels have not crossed yet."""
        self._sent = None
        self.server.begin_step(key)

    def exact(self, h: Tensor, batch: Batch, *, wants_gradient: bool) -> tuple[Tensor | None, float]:
        """Send smashed data up and λ, in their shape, down; as :meth:`ServerLink.exact`."""
        self._send_up(h, batch)
        gradient, loss = self.server.exact(h, batch, wants_gradient=wants_gradient)
        self.traffic.count(Phase.DOWNLINK, [gradient])
        return gradient, loss

    def probe(self, h: Tensor, batch: Batch, *, keep: bool = False) -> Tensor:
        """Send smashed data up and their loss, shape [], down; as :meth:`ServerLink.probe`."""
        self._send_up(h, batch)
        loss = self.server.probe(h, batch, keep=keep)
        self.traffic.count(Phase.DOWNLINK, [loss])
        return loss

    def exact_kept(self, batch: Batch) -> float:
        """Let the server train on what it has; nothing crosses again."""
        return self.server.exact_kept(batch)

    def share_scalars(self, scalars_P: Tensor, seeds_P: Tensor) -> Tensor:
        """Send scalars up; seeds and the scalars to apply come down, all [P] (HO-SFL, arXiv 2603.14773)."""
        self.traffic.count(Phase.UPLINK, [scalars_P])
        applied_P = self.server.share_scalars(scalars_P, seeds_P)
        self.traffic.count(Phase.DOWNLINK, [applied_P, seeds_P])
        return applied_P

    def _send_up(self, h: Tensor, batch: Batch) -> None:
        payload: list[Tensor | None] = [h]
        if self._sent is None or self._sent() is not batch:
            # Labels and mask go with the first smashed data of a batch or micro-batch, not with every probe.
            payload += [batch.labels if self.labels_cross else None, batch.mask_BS]
            if self.row_ids_cross:
                payload.append(batch.inputs.to(torch.int32))
            self._sent = weakref.ref(batch)
        self.traffic.count(Phase.UPLINK, payload)


@dataclass(frozen=True)
class MeteredLink:
    """Keeps what the other side computes out of the client's memory, and counts what the client receives.

    Parameters
    ----------
    link
        The link to the other side.
    meter
        The client's memory meter.
    """

    link: ServerLink
    meter: LiveBytes

    @property
    def trains_server(self) -> bool:
        """Whether there is a server part."""
        return self.link.trains_server

    def begin_step(self, key: NoiseKey) -> None:
        """Start a step."""
        self.link.begin_step(key)

    def exact(self, h: Tensor, batch: Batch, *, wants_gradient: bool) -> tuple[Tensor | None, float]:
        """Let the server train; the client holds λ, in the shape of ``h``. As :meth:`ServerLink.exact`."""
        self.meter.end_segment()
        with self.meter.paused():
            gradient, loss = self.link.exact(h, batch, wants_gradient=wants_gradient)
        if gradient is not None:
            self.meter.track([gradient])
        return gradient, loss

    def probe(self, h: Tensor, batch: Batch, *, keep: bool = False) -> Tensor:
        """Let the server evaluate a probe, as :meth:`ServerLink.probe`.

        The client holds the loss, shape []; smashed data that the server keeps are not the client's memory.
        """
        with self.meter.paused():
            loss = self.link.probe(h.clone() if keep else h, batch, keep=keep)
        self.meter.track([loss])
        return loss

    def exact_kept(self, batch: Batch) -> float:
        """Let the server train on what it has."""
        with self.meter.paused():
            return self.link.exact_kept(batch)

    def share_scalars(self, scalars_P: Tensor, seeds_P: Tensor) -> Tensor:
        """Exchange scalars; the client holds those to apply, [P]."""
        with self.meter.paused():
            applied_P = self.link.share_scalars(scalars_P, seeds_P)
        self.meter.track([applied_P])
        return applied_P
