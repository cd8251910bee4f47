"""What a client's link does over time: by a recording, or drawn from a model of fading."""

# Annotations are values here and not text (no __future__): of text, pydantic's reading is a third of the import.

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from hybridsplit.scenarios.sections.base import Section
from hybridsplit.scenarios.units import Hertz, Seconds

PastTheEnd = Literal["loop", "hold", "fail"]
Distance = Annotated[float, Field(ge=0.1, le=1e6)]
MOST_BLOCKS = 1_000_000
"""Of one generated trace."""


class LinkOverTime(Section):
    """How a link follows a trace."""

    use: Literal["relative", "absolute"] = "relative"
    """``relative``: the trace says when the link is good, and the plan how good it is on average; ``absolute``: its
    rates are the link's own, whatever the client's share."""
    direction: Literal["up", "down", "both"] = "both"
    """Which direction follows the trace; the other one is constant. With ``both`` each follows its own rates, or both
    follow the one direction that there is."""
    past_the_end: PastTheEnd = "loop"
    """After the last sample: ``loop`` begins again, ``hold`` keeps its rate, ``fail`` stops the replay."""
    band_hz: Hertz | None = None
    """Band on which ``use: absolute`` makes rates of spectral efficiencies, where the trace has these."""


class RecordedTrace(LinkOverTime):
    """A recording, and what is taken from it."""

    path: Annotated[str, Field(min_length=1)]
    """The recording, relative to the scenario file. A Mahimahi file is read with its other direction (``.up``,
    ``.down``) where both lie side by side."""
    index_table: Literal["cqi-1", "cqi-2", "mcs-1", "mcs-2", "mcs-3"] | None = None
    """Read recorded channel quality (CQI) or modulation (MCS) indices instead of rates, by this table of 3GPP TS 38.214
    (``cqi-1`` is also LTE's)."""


class GeneratedTrace(LinkOverTime):
    """A link without a recording: block fading over path loss and shadowing, drawn for each client by itself."""

    fading: Literal["none", "rayleigh", "rician"]
    """Fading from block to block: none, without line of sight (``rayleigh``) or with it (``rician``)."""
    mean_snr_db: Annotated[float, Field(ge=-30, le=60)]
    """Signal-to-noise ratio, before fading and shadowing, at the first distance."""
    rician_k_db: Annotated[float, Field(ge=-30, le=40)] | None = None
    """Power of the line of sight over that of all other paths; needed for ``rician``, and for nothing else."""
    block_s: Seconds = 0.1
    """How long the channel stays as it is: its coherence time."""
    duration_s: Seconds = 600.0
    """Length of the trace."""
    shadowing_db: Annotated[float, Field(ge=0, le=20)] = 0.0
    """Standard deviation of log-normal shadowing."""
    shadowing_coherence_s: Seconds = 10.0
    """Time after which shadowing keeps a correlation of 1/e (Gudmundson, 1991)."""
    distances_m: Annotated[tuple[Distance, ...], Field(min_length=1, max_length=100)] = (1.0,)
    """Distances from the base station that the client moves through at even pace, and back again: the mean moves."""
    path_loss_exponent: Annotated[float, Field(ge=1, le=6)] = 3.76
    """Path loss grows by ten times this in dB for ten times the distance (3GPP's macro cells: 3.76)."""

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if (self.fading == "rician") != (self.rician_k_db is not None):
            raise ValueError(
                "rician_k_db: needed for fading: rician, for example 6" if self.fading == "rician"
                else f"rician_k_db: belongs to fading: rician, and fading is {self.fading!r}; remove the key"
            )  # fmt: skip
        if not 0 < self.block_s <= self.duration_s:
            raise ValueError("block_s: needs a time above zero, and no longer than duration_s")
        if self.shadowing_coherence_s <= 0:
            raise ValueError("shadowing_coherence_s: needs a time above zero")
        if self.duration_s / self.block_s > MOST_BLOCKS:
            raise ValueError(
                f"duration_s: found {self.duration_s / self.block_s:,.0f} blocks of block_s; needs at most "
                f"{MOST_BLOCKS:,}: a shorter duration_s, which repeats, or longer blocks"
            )
        return self

    @property
    def num_blocks(self) -> int:
        """Number of blocks."""
        return max(1, round(self.duration_s / self.block_s))


def _trace_kind(value: object) -> str:
    if isinstance(value, str):
        return "trace-file"
    keys = set(value if isinstance(value, Mapping) else getattr(value, "__dict__", {}))
    of_model = keys & (set(GeneratedTrace.model_fields) - set(LinkOverTime.model_fields))
    return "trace-drawn" if of_model and "path" not in keys else "trace-section"


Trace = Annotated[
    Annotated[str, Tag("trace-file")]
    | Annotated[RecordedTrace, Tag("trace-section")]
    | Annotated[GeneratedTrace, Tag("trace-drawn")],
    Discriminator(_trace_kind),
]
"""A path alone is a recording with every key at its default."""


def over_time(trace: str | RecordedTrace | GeneratedTrace) -> RecordedTrace | GeneratedTrace:
    """Return the section that a path alone stands for, or the section itself.

    Parameters
    ----------
    trace
        Value of ``link.trace``.
    """
    return RecordedTrace(path=trace) if isinstance(trace, str) else trace
