"""What a step of ``zo-loss`` asks for: probes, uploads, clean passes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hybridsplit.scenarios.sections.training import ZerothOrder


@dataclass(frozen=True)
class LossProbes:
    """What one step of ``zo-loss`` does on either side of the cut.

    Parameters
    ----------
    perturbed
        Perturbed forwards of the client, each with its loss at the server.
    clean_for_loss
        Whether the unperturbed loss is asked for: one-sided differences compare with it.
    clean
        Whether the client runs unperturbed at all. One-sided, always: with ``first-plus`` or ``all-plus`` that upload
        serves the loss alone, so that these anchors then save nothing.
    trained
        Smashed data that train the server; 0 without a server part.
    """

    perturbed: int
    clean_for_loss: bool
    clean: bool
    trained: int

    @classmethod
    def of(cls, settings: ZerothOrder, *, on_device: bool) -> LossProbes:
        """Count the passes of a step."""
        one_sided = settings.loss_sides == "one"
        trained = settings.directions if settings.anchor == "all-plus" else 1
        return cls(
            perturbed=settings.directions * num_sides(settings.loss_sides),
            clean_for_loss=one_sided,
            clean=one_sided or (settings.anchor == "clean" and not on_device),
            trained=0 if on_device else trained,
        )

    @property
    def uploads(self) -> int:
        """Smashed data that cross the air where there is a server part."""
        return self.perturbed + self.clean

    @property
    def losses(self) -> int:
        """Losses that are asked for, and come down where there is a server part."""
        return self.perturbed + self.clean_for_loss


def num_sides(sides: str) -> int:
    """Perturbed evaluations a direction: 1 beside an unperturbed one, or 2."""
    return 2 if sides == "two" else 1
