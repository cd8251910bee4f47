"""Links that stay at a fraction of what the plan's shares give: what somebody expects who has seen a mean rate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hybridsplit.runtime.replay.link_trace import LinkTrace
from hybridsplit.runtime.replay.traces import BandwidthTrace


@dataclass(frozen=True, eq=False)
class _OfPlanned(BandwidthTrace):
    """A rate relative to the planned one, whatever its own mean is."""

    @property
    def mean_bps(self) -> float:
        """The planned rate."""
        return 1.0


def steady_link(uplink: float, downlink: float) -> BandwidthTrace:
    """Return a link whose rates are fractions of the planned ones.

    Parameters
    ----------
    uplink, downlink
        The fractions, above 0; 1 is as planned.
    """
    up, down = (_OfPlanned(np.ones(1), np.array([fraction]), "expected link") for fraction in (uplink, downlink))
    return LinkTrace(np.ones(1), np.ones(1), "expected link", uplink=up, downlink=down)
