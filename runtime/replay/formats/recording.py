"""What one recording says, before a scenario says what it is used for."""

from __future__ import annotations

from dataclasses import dataclass

from hybridsplit.runtime.replay.traces import BandwidthTrace


@dataclass(frozen=True, eq=False)
class Recording:
    """Rates over time, by direction as far as the recording states one.

    Parameters
    ----------
    name
        Where it comes from, for messages.
    both
        Rates whose direction is not stated; None where it is.
    up, down
        Rates from and to the device; None where they were not recorded.
    notes
        What the reader passed over or completed, in words.
    """

    name: str
    both: BandwidthTrace | None = None
    up: BandwidthTrace | None = None
    down: BandwidthTrace | None = None
    notes: tuple[str, ...] = ()

    @property
    def only(self) -> BandwidthTrace | None:
        """The one series, where there is just one."""
        found = [series for series in (self.both, self.up, self.down) if series is not None]
        return found[0] if len(found) == 1 else None
