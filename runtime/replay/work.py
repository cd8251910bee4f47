"""What a simulated client has to do in a round."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hybridsplit.runtime.replay.transfer import Transfer
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.errors import RunError
from hybridsplit.scenarios.units import bits

if TYPE_CHECKING:
    from hybridsplit.runtime.replay.traces import BandwidthTrace


@dataclass(frozen=True)
class ClientWork:
    """What one client has to do in a round, per-round amounts, with the rates its shares give it.

    Parameters
    ----------
    client_id
        Its id.
    local_steps
        Steps of a round.
    client_compute_s
        Seconds of device compute.
    server_s
        Seconds of server compute at the client's share of the server.
    phase_bytes
        Bytes by phase, for the four phases that carry any.
    uplink_bps, downlink_bps
        Rates at the client's shares; 0 where it has none.
    trace
        Modulates both rates around their planned value; None for constant links.
    start_offset_s
        How long after the first round's start the client joins.
    windows_s
        By round, the point of the trace that the round's start falls on; the trace runs on from round to round when
        None.
    uses_recorded_rates
        Whether the trace's rates are those of the link, instead of modulating the planned ones.
    """

    client_id: str
    local_steps: int
    client_compute_s: float
    server_s: float
    phase_bytes: dict[Phase, int]
    uplink_bps: float
    downlink_bps: float
    trace: BandwidthTrace | None = None
    start_offset_s: float = 0.0
    windows_s: tuple[float, ...] | None = None
    uses_recorded_rates: bool = False

    def trace_origin_s(self, round_index: int, began_s: float) -> float:
        """Return the clock at which the trace stands at its beginning, in a round that began at ``began_s``."""
        return 0.0 if self.windows_s is None else began_s - self.windows_s[round_index]

    def transfer(self, phase: Phase, size_bytes: int, start_s: float) -> Transfer:
        """Return how long bytes take, from a point of the trace on.

        Raises
        ------
        RunError
            If the client has no share of the link, or one that never ends.
        """
        is_up = phase in (Phase.UPLINK, Phase.MODEL_UPLOAD)
        rate_bps = self.uplink_bps if is_up else self.downlink_bps
        size_bits = bits(size_bytes)
        if not (rate_bps > 0 and math.isfinite(rate_bps) and math.isfinite(size_bits / rate_bps)):
            raise RunError(
                f"client {self.client_id}, phase {phase}: has {size_bytes} bytes to carry at {rate_bps} bit/s, which "
                f"never ends; needs a share of the {'uplink' if is_up else 'downlink'} above zero and a link that "
                "carries something: the plan gives this client no share, or its link is out of reach; make the plan "
                "again or correct the link"
            )
        trace = None if self.trace is None else self.trace.towards(up=is_up)
        if self.trace is None or trace is None:
            return Transfer(size_bits / rate_bps, 0.0)
        is_absolute = self.uses_recorded_rates or self.trace.is_absolute
        return trace.transfer(size_bits, start_s, None if is_absolute else rate_bps)
