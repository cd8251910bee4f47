"""What a client wants from a shared resource, served in pieces: so many seconds, or so many bits of a recorded link."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hybridsplit.runtime.replay.kernels.links import LAST_PART

if TYPE_CHECKING:
    from hybridsplit.runtime.replay.fades import Fades
    from hybridsplit.runtime.replay.traces import BandwidthTrace


class ConstantService:
    """Seconds of a resource whose speed does not change.

    Parameters
    ----------
    seconds
        All that is wanted.
    """

    __slots__ = ("_owed_s", "served_s")

    def __init__(self, seconds: float) -> None:
        self._owed_s = self.served_s = seconds

    def end_s(self, start_s: float) -> float:
        """Return when what is left would be done."""
        return start_s + self._owed_s

    def went_on(self, start_s: float, end_s: float) -> None:
        """Note that it went on between two times."""
        self._owed_s -= end_s - start_s

    def fade(self, now_s: float) -> tuple[bool, float]:
        """There are no fades."""
        return False, math.inf


class RecordedService:
    """Bits over a recorded link.

    Parameters
    ----------
    size_bits
        All that has to be carried.
    trace, fading
        The recording and its fades.
    mean_bps
        Mean to which the recording is scaled; its own when None.
    origin_s
        Clock at which the recording stands at its beginning.
    """

    __slots__ = (
        "_fading",
        "_last_served_s",
        "_left_bits",
        "_mean_bps",
        "_origin_s",
        "_served_s",
        "_size_bits",
        "_trace",
    )

    def __init__(
        self, size_bits: float, trace: BandwidthTrace, fading: Fades, mean_bps: float | None, origin_s: float
    ) -> None:
        self._size_bits = self._left_bits = size_bits
        self._trace, self._fading = trace, fading
        self._mean_bps, self._origin_s = mean_bps, origin_s
        self._served_s = self._last_served_s = 0.0

    @property
    def served_s(self) -> float:
        """Seconds in which bits were carried, once all are."""
        return self._served_s + self._last_served_s

    def end_s(self, start_s: float) -> float:
        """Return when what is left would be done."""
        taken = self._trace.transfer(self._left_bits, start_s - self._origin_s, self._mean_bps)
        self._last_served_s = taken.served_s
        return start_s + taken.elapsed_s

    def went_on(self, start_s: float, end_s: float) -> None:
        """Note that it went on between two times."""
        carried = self._fading.carried(start_s - self._origin_s, end_s - self._origin_s, self._mean_bps)
        left_bits = self._left_bits - carried.bits
        self._left_bits = left_bits if left_bits > LAST_PART * self._size_bits else 0.0
        self._served_s += carried.served_s

    def fade(self, now_s: float) -> tuple[bool, float]:
        """Return whether there is a fade, and when that changes."""
        fades, changes_s = self._fading.at(now_s - self._origin_s)
        return fades, changes_s + self._origin_s
