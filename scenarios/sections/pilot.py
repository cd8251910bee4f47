"""What short pilot runs taught about rounds to a target: the constants of a stated model.

``hybridsplit pilot`` writes them to a file, ``objective.pilot_file`` names it, and the loader reads it in here.
"""

# Annotations are values here and not text (no __future__): of text, pydantic's reading is a third of the import.

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from hybridsplit.scenarios.sections.base import NonNegativeFloat, PositiveFloat, Section
from hybridsplit.scenarios.sections.target import TARGETS

CONSTANTS = (
    "batch_noise", "untrained_clients", "untrained_blocks", "estimate_noise", "drift", "untrained_skew",
    "untrained_noise",
)  # fmt: skip
"""Constants of the model but for ``rounds``, in the order of its terms."""
ConstantName = Literal[
    "batch_noise",
    "untrained_clients",
    "untrained_blocks",
    "estimate_noise",
    "drift",
    "untrained_skew",
    "untrained_noise",
]
_ROUNDING = 1e-6


class PilotConstants(Section):
    """Constants of ``R = rounds · (1 + Σ constant · term)``, the rounds to a target (docs/methods/progress.md)."""

    formula: Literal[2]
    """Version of the formula; constants of the first, which divided ``rounds`` by ``1 - Σ``, are refused."""
    target_accuracy: Annotated[float, Field(gt=0, le=1)] | None = None
    """Test accuracy that the rounds lead to."""
    target_score: Annotated[float, Field(le=1, allow_inf_nan=False)] | None = None
    """Score of the test data that they lead to where it is no accuracy."""
    target_loss: PositiveFloat | None = None
    """Training loss that they lead to, instead."""
    rounds: PositiveFloat
    """Rounds to the target with exact gradients everywhere, batches without noise and clients with the same data."""
    batch_noise: NonNegativeFloat = 0.0
    """Of ``Σ w² / B``: noise of the batches."""
    untrained_clients: NonNegativeFloat = 0.0
    """Of ``Σ w s``, over clients whose part is not trained exactly; ``s`` is its share of the trainable parameters."""
    untrained_blocks: NonNegativeFloat = 0.0
    """Of the share of the blocks that no client trains exactly."""
    estimate_noise: NonNegativeFloat = 0.0
    """Of ``Σ w² s / ρ``, over zeroth-order clients, where no client trains their blocks exactly."""
    drift: NonNegativeFloat = 0.0
    """Of ``Σ w ζ² q``: clients drift apart where their data differ, in the part of the model that is their own."""
    untrained_skew: NonNegativeFloat = 0.0
    """Of ``Σ w s δ``, over clients whose part is not trained exactly: labels missing behind the lower blocks."""
    untrained_noise: NonNegativeFloat = 0.0
    """Of ``Σ w² / B`` times the share of the blocks that no client trains exactly: noise weighs more above them."""
    not_identified: tuple[ConstantName, ...] = ()
    """Constants that the pilots say nothing about; they are 0."""
    held_out_error: Annotated[float, Field(ge=0)] | None = None
    """Median relative error of the rounds of pilots left out of the fit as checks; None where it cannot be taken."""
    num_pilots: Annotated[int, Field(ge=1)]
    """Pilots behind the constants."""
    num_seeds: Annotated[int, Field(ge=1)] = 1
    """Seeds that every pilot was run at."""
    block_share: Annotated[tuple[NonNegativeFloat, ...], Field(min_length=1)]
    """By block, its share of the blocks that have something to train."""
    client_drift: dict[str, NonNegativeFloat] = Field(default_factory=dict)
    """By client, ``ζ²``: how far its mean gradient is from that of all, relative to it, squared."""
    client_skew: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(default_factory=dict)
    """By client, ``δ``: distance in total variation of its labels from those of all, beyond chance."""
    fitted_for: dict[str, str] = Field(default_factory=dict)
    """Digests of the sections of the scenario that the constants depend on."""

    @property
    def is_usable(self) -> bool:
        """Whether the held-out error is small enough to plan by: up to 30 %."""
        return self.held_out_error is not None and self.held_out_error <= MOST_HELD_OUT_ERROR

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if sum(getattr(self, name) is not None for name in TARGETS) != 1:
            raise ValueError("needs target_accuracy, target_score or target_loss, one of them")
        if abs(sum(self.block_share) - 1.0) > _ROUNDING:
            raise ValueError(f"block_share: found a sum of {sum(self.block_share):.6g}; needs shares that sum to 1")
        return self

    def untrained_share(self, depth: int) -> float:
        """Share of the blocks that are the lowest ones; 0 where the constants are not planned by.

        Parameters
        ----------
        depth
            How many of the lowest blocks.
        """
        return float(sum(self.block_share[:depth])) if self.is_usable else 0.0

    def delay_of_untrained(self, depth: int) -> float:
        """What is in the way where no client trains the lowest blocks exactly, in the unit of a table's ``delay``.

        Parameters
        ----------
        depth
            How many blocks.

        Returns
        -------
        float
            Of all data together, at least 0; 0 where the constants are not planned by.
        """
        return self.untrained_blocks * self.untrained_share(depth) / self.rounds


MOST_HELD_OUT_ERROR = 0.3
"""Held-out error above which constants are not planned by."""
