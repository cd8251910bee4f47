"""What training is to reach: a test accuracy, a score of the test data, or a training loss."""

# Annotations are values here and not text (no __future__): of text, pydantic's reading is a third of the import.

from typing import Annotated, Self

from pydantic import Field, model_validator

from hybridsplit.scenarios.sections.base import PositiveFloat, Section

TARGETS = ("target_accuracy", "target_score", "target_loss")
"""Keys of a target, of which at most one is stated."""


class Target(Section):
    """What training is to reach, where one of the keys is stated."""

    target_accuracy: Annotated[float, Field(gt=0, le=1)] | None = None
    """Test accuracy to be reached: what ``compare --run --seeds`` states the time to, and pilot runs are made for."""
    target_score: Annotated[float, Field(le=1, allow_inf_nan=False)] | None = None
    """Score of the test data to be reached where it is no accuracy: macro F1 of several labels, R² of regression."""
    target_loss: PositiveFloat | None = None
    """Training loss to be reached, instead of an accuracy or score."""

    @property
    def target(self) -> tuple[float, bool] | None:
        """What is to be reached, and whether more of it is better; None where no target is stated."""
        for name in self.stated_targets:
            return getattr(self, name), name != "target_loss"
        return None

    @property
    def stated_targets(self) -> tuple[str, ...]:
        """Keys of the target that are stated."""
        return tuple(name for name in TARGETS if getattr(self, name) is not None)

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if len(self.stated_targets) > 1:
            raise ValueError(f"{' and '.join(self.stated_targets)}: found both; needs one target: remove the other key")
        return self
