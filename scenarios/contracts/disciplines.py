"""By what disciplines a replay serves clients at the server and on the radio, where it does not go by the plan."""

# Annotations are values here and not text (no __future__): of text, pydantic's reading is a third of the import.

import difflib
import math
from collections.abc import Sequence
from typing import Literal, Self, get_args

from pydantic import model_validator

from hybridsplit.scenarios.contracts.placement import FrozenValue
from hybridsplit.scenarios.errors import UsageError
from hybridsplit.scenarios.units import format_seconds

ServerDiscipline = Literal["plan", "first-come", "processor-sharing"]
RadioDiscipline = Literal["plan", "round-robin", "max-min", "proportional-fair"]
SERVER_DISCIPLINES: tuple[str, ...] = get_args(ServerDiscipline)
RADIO_DISCIPLINES: tuple[str, ...] = get_args(RadioDiscipline)
AVERAGING_S = 1.0
"""Time constant of the average of ``proportional-fair`` where none is stated: a thousand slots of 1 ms."""
SHORTEST_AVERAGING_S = 1e-3


class Disciplines(FrozenValue):
    """How a replay serves at the server and on the radio; ``plan`` is by the plan's shares, turns or priorities."""

    server: ServerDiscipline = "plan"
    """``first-come``: one job after another in the order of arrival, each to its end. ``processor-sharing``: all jobs
    that are there at once, each with an equal part."""
    radio: RadioDiscipline = "plan"
    """Of uplink and downlink, each by itself, among the clients that want it. ``round-robin``: equal parts of the
    blocks. ``max-min``: equal rates. ``proportional-fair``: a block goes to the client with the largest rate of the
    moment over its average rate of the past."""
    averaging_s: float | None = None
    """Time constant of that average; of ``proportional-fair`` alone."""

    @model_validator(mode="after")
    def _averages(self) -> Self:
        is_known = self.averaging_s is not None and SHORTEST_AVERAGING_S <= self.averaging_s < math.inf
        if is_known != (self.radio == "proportional-fair"):
            raise ValueError(
                f"averaging_s: found {self.averaging_s} with radio {self.radio!r}; needs at least "
                f"{SHORTEST_AVERAGING_S:g} s with 'proportional-fair', and none elsewhere"
            )
        return self

    @property
    def are_planned(self) -> bool:
        """Whether everything is served by the plan."""
        return self.server == "plan" == self.radio

    def __str__(self) -> str:
        """Return what is served by what, in words."""
        over = "" if self.averaging_s is None else f" (averaged over {format_seconds(self.averaging_s)})"
        server = "the plan" if self.server == "plan" else self.server
        radio = "the plan" if self.radio == "plan" else f"{self.radio}{over}"
        return f"server by {server}, radio by {radio}"


BY_PLAN = Disciplines()
"""Everything by the plan."""


def disciplines_of(server: str = "plan", radio: str = "plan", averaging_s: float | None = None) -> Disciplines:
    """Return the disciplines of these names.

    Parameters
    ----------
    server, radio
        One of :data:`SERVER_DISCIPLINES`, one of :data:`RADIO_DISCIPLINES`.
    averaging_s
        Time constant of ``proportional-fair``, seconds; :data:`AVERAGING_S` when None.

    Raises
    ------
    UsageError
        If there is no such discipline, or the time is shorter than :data:`SHORTEST_AVERAGING_S` or of another one.
    """
    _check_name("server", server, SERVER_DISCIPLINES)
    _check_name("radio", radio, RADIO_DISCIPLINES)
    if averaging_s is not None and radio != "proportional-fair":
        raise UsageError(
            f"averaging: found {averaging_s:g} s with radio {radio}; only proportional-fair averages past rates: leave "
            "it out, or use radio proportional-fair"
        )
    if averaging_s is not None and not SHORTEST_AVERAGING_S <= averaging_s < math.inf:
        raise UsageError(
            f"averaging: found {averaging_s:g} s; needs a time of at least {format_seconds(SHORTEST_AVERAGING_S)}, "
            f"which is a slot, for example {AVERAGING_S:g} s"
        )
    own_s = None if radio != "proportional-fair" else AVERAGING_S if averaging_s is None else averaging_s
    return Disciplines.model_validate({"server": server, "radio": radio, "averaging_s": own_s})


def _check_name(what: str, found: str, choices: Sequence[str]) -> None:
    if found not in choices:
        near = difflib.get_close_matches(found, choices, n=1, cutoff=0.4)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise UsageError(f"{what}: found {found!r}; needs one of {', '.join(choices)}{hint}")
