"""``log-distance``: Shannon's formula with the path loss of a distance."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from hybridsplit.plugins import LinkModel, Radio

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from hybridsplit.plugins import UplinkWork


class LogDistance(LinkModel):
    """A device at a distance from an urban macro cell: 128.1 + 37.6·log10(km) dB (3GPP TR 36.942), power fixed."""

    name: ClassVar[str] = "log-distance"
    work: ClassVar[str] = "hybridsplit_example.log_distance:uplink_work"

    distance_m: Annotated[float, Field(ge=35, le=5000)]
    """Distance to the base station, metres."""
    transmit_power_dbm: float = 23.0
    """Transmit power of the device."""

    def power_over_noise_hz(self, radio: Radio) -> float:
        """Bandwidth at which the signal-to-noise ratio is one."""
        loss_db = 128.1 + 37.6 * math.log10(self.distance_m / 1000.0)
        return float(10.0 ** ((self.transmit_power_dbm - loss_db - radio.noise_dbm_per_hz) / 10.0))

    def uplink_bps(self, radio: Radio, share: float) -> float:
        """Rate at a share of the uplink band, bit/s."""
        band_hz = share * radio.uplink_hz
        return band_hz * math.log1p(self.power_over_noise_hz(radio) / band_hz) / math.log(2.0) if band_hz > 0 else 0.0


def uplink_work(
    radio: Radio, links: Sequence[LogDistance], client_index: NDArray[np.int64], uplink_bits: NDArray[np.float64]
) -> UplinkWork:
    """Return [K] transfers; the solver's own class for Shannon's formula does the rest."""
    import numpy as np

    from hybridsplit.plugins import ShannonUplink

    reach_hz = np.array([link.power_over_noise_hz(radio) for link in links])[client_index]
    return ShannonUplink(uplink_bits * math.log(2.0) / reach_hz, reach_hz / (radio.uplink_hz or 1.0))
