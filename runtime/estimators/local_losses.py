"""What modes with a local loss share: the loss of the auxiliary head, and which steps send smashed data."""

from __future__ import annotations

import math

from torch import Tensor

from hybridsplit.runtime.noise import NoiseKey
from hybridsplit.runtime.split.link import Batch, ServerLink
from hybridsplit.runtime.split.local_heads import LocalHead
from hybridsplit.runtime.split.parts import Part
from hybridsplit.scenarios.errors import ContractError


class LocalLosses:
    """The client's own loss, and the model's loss as far as the server knows it.

    Parameters
    ----------
    part
        A client part with an auxiliary head.
    upload_every
        Steps from one upload to the next.

    Raises
    ------
    ContractError
        If the part has no such head.
    """

    def __init__(self, part: Part, upload_every: int) -> None:
        head = part.head
        if not isinstance(head, LocalHead):
            raise ContractError(f"a local loss needs an auxiliary head; the client part ends in a {head.kind}")
        self._head, self._upload_every = head, upload_every
        self._server_loss = math.nan

    def of(self, h: Tensor, batch: Batch) -> Tensor:
        """Return the local loss, shape [], of the activation at the cut."""
        return self._head.loss(h, batch)

    def sends(self, key: NoiseKey) -> bool:
        """Whether smashed data go up in the step of a key."""
        return key.step % self._upload_every == 0

    def send(self, h: Tensor, batch: Batch, link: ServerLink, key: NoiseKey) -> None:
        """Let the server train on smashed data, of any shape, where it is their turn."""
        if self.sends(key):
            _, self._server_loss = link.exact(h, batch, wants_gradient=False)

    def reported(self, local_loss: float) -> float:
        """Return the loss of a step: the model's, at the last upload; NaN where the local loss is not finite."""
        return self._server_loss if math.isfinite(local_loss) else math.nan
