"""A ladder: the recompute orders of one placement from the fastest to the leanest, for memory that moves.

At the boundary of two steps no activation lives, so that every step may run in an order of its own. While a step's
smashed data is on its way the client may also free part of what it keeps and finish the step in less memory: a fall.
Orders move no bit of what is trained. Dynamic checkpointing to a budget at run time is SmartSplit's idea (Wu et al.,
arXiv 2410.11577); levels and falls are a reconstruction of ours.
"""

# Annotations are values here and not text (no __future__): of text, pydantic's reading is a third of the import.

import json
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field, TypeAdapter, ValidationError

from hybridsplit.scenarios.contracts.placement import FrozenValue
from hybridsplit.scenarios.contracts.recompute import LADDER
from hybridsplit.scenarios.errors import ContractError


class Fall(FrozenValue):
    """A way to finish a step in less memory than its level takes, from what the level keeps at the exchange.

    Seconds are those of the whole step, what was done before the fall included.
    """

    recompute: str
    """Recompute order of the whole step, with what is dropped in it."""
    peak_bytes: int = Field(ge=0, lt=2**63)
    """Peak from the drop to the end of the step."""
    step_s: float = Field(ge=0)
    """Seconds of the client's compute in such a step."""


class LadderLevel(FrozenValue):
    """One level of a ladder."""

    recompute: str
    """Recompute order of a step."""
    peak_bytes: int = Field(ge=0, lt=2**63)
    """Peak of a step."""
    step_s: float = Field(ge=0)
    """Seconds of the client's compute in a step."""
    falls: tuple[Fall, ...] = ()
    """Ways down from it within a step, the fastest first."""


_LEVELS = TypeAdapter(tuple[LadderLevel, ...])


@dataclass(frozen=True)
class StepMemory:
    """In which order a client runs a step, and what it may take.

    Parameters
    ----------
    recompute
        The recompute order.
    before_bytes, after_bytes
        Budget up to the exchange, and from then on.
    """

    recompute: str
    before_bytes: int
    after_bytes: int


def ladder_of(levels: Sequence[LadderLevel]) -> tuple[LadderLevel, ...]:
    """Return the levels of which none is worse than another in both memory and seconds, the fastest first.

    Parameters
    ----------
    levels
        In any order.
    """
    found: list[LadderLevel] = []
    for level in sorted(levels, key=lambda one: (one.step_s, one.peak_bytes)):
        if not found or level.peak_bytes < found[-1].peak_bytes:
            found.append(level)
    return tuple(found)


def ladder_text(levels: Sequence[LadderLevel]) -> str:
    """Write levels as text, for a column of the option table."""
    return json.dumps([level.model_dump(mode="json") for level in levels], separators=(",", ":")) if levels else "[]"


def parse_ladder(text: str) -> tuple[LadderLevel, ...]:
    """Read levels from text.

    Raises
    ------
    ContractError
        If it is not what :func:`ladder_text` writes.
    """
    try:
        return _LEVELS.validate_json(text)
    except ValidationError as error:
        why = error.errors(include_url=False)[0]["msg"]
        raise ContractError(f"the levels of a ladder cannot be read ({why}): make the plan again") from error


__all__ = ["LADDER", "Fall", "LadderLevel", "StepMemory", "ladder_of", "ladder_text", "parse_ladder"]
