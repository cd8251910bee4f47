"""What a client's link does over time, by a recording."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from hybridsplit.scenarios.sections.base import Section
from hybridsplit.scenarios.units import Hertz

PastTheEnd = Literal["loop", "hold", "fail"]


class RecordedTrace(Section):
    """A recording, and what is taken from it."""

    path: Annotated[str, Field(min_length=1)]
    """The recording, relative to the scenario file. A Mahimahi file is read with its other direction (``.up``,
    ``.down``) where both lie side by side."""
    use: Literal["relative", "absolute"] = "relative"
    """``relative``: the recording says when the link is good, and the plan how good it is on average; ``absolute``: its
    rates are the link's own, whatever the client's share."""
    direction: Literal["up", "down", "both"] = "both"
    """Which direction follows the recording; the other one is constant. With ``both`` each follows its own rates, or
    both follow the one direction that was recorded."""
    past_the_end: PastTheEnd = "loop"
    """After the last sample: ``loop`` begins again, ``hold`` keeps its rate, ``fail`` stops the replay."""
    index_table: Literal["cqi-1", "cqi-2", "mcs-1", "mcs-2", "mcs-3"] | None = None
    """Read recorded channel quality (CQI) or modulation (MCS) indices instead of rates, by this table of 3GPP TS 38.214
    (``cqi-1`` is also LTE's)."""
    band_hz: Hertz | None = None
    """Band that the indices were recorded on, which makes rates of them for ``use: absolute``."""


def _trace_kind(value: object) -> str:
    return "trace-file" if isinstance(value, str) else "trace-section"


Trace = Annotated[
    Annotated[str, Tag("trace-file")] | Annotated[RecordedTrace, Tag("trace-section")],
    Discriminator(_trace_kind),
]
"""A path alone is a recording with every key at its default."""


def as_recorded(trace: Any) -> RecordedTrace:
    """Return the section that a path alone stands for, or the section itself.

    Parameters
    ----------
    trace
        Value of ``link.trace``.
    """
    return RecordedTrace(path=trace) if isinstance(trace, str) else trace
