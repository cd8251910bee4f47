"""A recorded or drawn link as a scenario uses it: by direction, relative or absolute."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from hybridsplit.runtime.replay.traces import BandwidthTrace
from hybridsplit.scenarios.errors import ScenarioError

if TYPE_CHECKING:
    from hybridsplit.runtime.replay.formats.recording import Recording
    from hybridsplit.scenarios.sections.traces import LinkOverTime


@dataclass(frozen=True, eq=False)
class LinkTrace(BandwidthTrace):
    """A trace whose directions differ. As a trace it is the downlink, or the uplink where that is all there is.

    Parameters
    ----------
    uplink, downlink
        What each direction goes by; None where it is constant.
    takes_recorded_rates
        Whether rates are the link's own.
    """

    uplink: BandwidthTrace | None = None
    downlink: BandwidthTrace | None = None
    takes_recorded_rates: bool = False

    def towards(self, *, up: bool) -> BandwidthTrace | None:
        """Return what transfers in one direction go by; None where the link is constant."""
        trace = self.uplink if up else self.downlink
        return trace if trace is None or trace.offset_s == self.offset_s else trace.at_offset(self.offset_s)

    @property
    def is_absolute(self) -> bool:
        """Whether rates are the link's own, whatever the plan gives it."""
        return self.takes_recorded_rates

    def at_offset(self, offset_s: float) -> Self:
        """Return the same trace, in both directions, with the clock 0 at a point of the period."""
        found = super().at_offset(offset_s)
        for name in ("uplink", "downlink"):
            trace: BandwidthTrace | None = getattr(self, name)
            object.__setattr__(found, name, None if trace is None else trace.at_offset(offset_s))
        return found


def link_trace(recording: Recording, wanted: LinkOverTime, *, absolute: bool | None = None) -> BandwidthTrace:
    """Return what a link goes by.

    Parameters
    ----------
    recording
        What was recorded.
    wanted
        What is to be taken from it.
    absolute
        Whether recorded rates are the link's own; ``wanted.use`` says it when None.

    Returns
    -------
    BandwidthTrace
        One trace for both directions alike where the recording states none, and nothing else is wanted.

    Raises
    ------
    ScenarioError
        If the recording does not have the direction, or only spectral efficiencies where rates are wanted.
    """
    is_absolute = wanted.use == "absolute" if absolute is None else absolute
    uplink = recording.up or recording.both
    downlink = recording.down or recording.both
    if wanted.direction == "both":
        uplink, downlink = uplink or downlink, downlink or uplink
    else:
        uplink, downlink = (uplink, None) if wanted.direction == "up" else (None, downlink)
    if uplink is None and downlink is None:
        raise ScenarioError(
            f"{recording.name}: has rates {'up' if recording.down is None else 'down'} only, and direction is "
            f"{wanted.direction!r}; needs a recording of that direction, or direction: both, where both follow it"
        )
    if is_absolute and any(trace.is_per_hertz for trace in (uplink, downlink) if trace is not None):
        if wanted.band_hz is None:
            raise ScenarioError(
                f"{recording.name}: has spectral efficiencies (bit/s per Hz), which are rates on a stated band only; "
                "needs band_hz in the link's trace, or use: relative (without --absolute)"
            )
        uplink, downlink = (_on_band(trace, wanted.band_hz) for trace in (uplink, downlink))
    uplink, downlink = (
        trace if trace is None or wanted.past_the_end == trace.past_the_end
        else replace(trace, past_the_end=wanted.past_the_end)
        for trace in (uplink, downlink)
    )  # fmt: skip
    main = downlink or uplink
    assert main is not None
    if recording.both is not None and wanted.direction == "both" and not is_absolute:
        return main
    return LinkTrace(
        main.durations_s, main.rates_bps, main.name, latency_s=main.latency_s, past_the_end=main.past_the_end,
        uplink=uplink, downlink=downlink, is_per_hertz=main.is_per_hertz,
        takes_recorded_rates=is_absolute,
    )  # fmt: skip


def _on_band(trace: BandwidthTrace | None, band_hz: float) -> BandwidthTrace | None:
    return None if trace is None else replace(trace, rates_bps=trace.rates_bps * band_hz, is_per_hertz=False)
