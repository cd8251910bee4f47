"""When a plan is made again while a run goes on."""

# Annotations are values here and not text (no __future__): of text, pydantic's reading is a third of the import.

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from hybridsplit.scenarios.sections.base import PositiveFloat, Section

Rounds = Annotated[int, Field(ge=1, le=1_000_000)]
Fraction = Annotated[float, Field(ge=0, lt=1)]

_NEEDED = {"static": (), "every-n": ("every_rounds",), "on-change": ("change", "hysteresis_rounds"), "oracle": ()}
_OWN = ("every_rounds", "change", "hysteresis_rounds")


class Replanning(Section):
    """Plans that follow the links and the memory that finished rounds have shown."""

    policy: Literal["static", "every-n", "on-change", "oracle"]
    """``static`` keeps the plan. ``every-n`` plans again after every so many rounds, ``on-change`` when links or memory
    have changed for several rounds in a row. ``oracle`` knows the recordings: it shows what there is to gain, in
    replays only."""
    every_rounds: Rounds | None = None
    """``every-n``: rounds from one plan to the next."""
    change: PositiveFloat | None = None
    """``on-change``: relative change of a client's rate, or of the memory it has, that counts; 0.25 is by a quarter."""
    hysteresis_rounds: Rounds | None = None
    """``on-change``: rounds in a row in which something must have changed, and in each of which the new plan would have
    been better than the present one."""
    gain: Fraction = 0.02
    """Least relative saving, as expected, for which the plan is changed."""
    window_rounds: Rounds = 1
    """Finished rounds over which rates are averaged."""
    horizon_rounds: Rounds = 5
    """Rounds in which a change has to save what it costs to move."""

    @property
    def changes_plans(self) -> bool:
        """Whether the plan may change at all."""
        return self.policy != "static"

    @model_validator(mode="after")
    def _keys_fit_the_policy(self) -> Self:
        needed = _NEEDED[self.policy]
        absent = [key for key in needed if getattr(self, key) is None]
        foreign = [key for key in _OWN if key not in needed and getattr(self, key) is not None]
        if absent or foreign:
            raise ValueError(
                f"policy: found {self.policy!r}"
                + (
                    f", which needs {', '.join(absent)} as well; add {'it' if len(absent) == 1 else 'them'}"
                    * bool(absent)
                )
                + (
                    f"{';' if absent else ','} {', '.join(foreign)} belongs to another policy; remove it"
                    * bool(foreign)
                )
            )
        return self
