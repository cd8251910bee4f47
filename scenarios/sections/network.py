"""Who takes part, and what they share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from hybridsplit.scenarios.sections.base import Identifier, PositiveFloat, PositiveInt, Section
from hybridsplit.scenarios.units import Bytes, Hertz


class FixedLink(Section):
    """A link whose rate is proportional to its share of the band."""

    uplink_bps_per_hz: PositiveFloat
    """Uplink spectral efficiency, bit/s per Hz (for example a row of 3GPP TS 38.214 table 5.2.2.1-2)."""
    downlink_bps_per_hz: PositiveFloat
    """Downlink spectral efficiency, bit/s per Hz."""
    trace: str | None = None
    """A recorded bandwidth trace for the replay, relative to the scenario file; it modulates the planned rate."""


class ShannonLink(Section):
    """A link by Shannon's formula with the device's power fixed: a narrower share has a higher SNR."""

    path_gain_db: Annotated[float, Field(lt=0, allow_inf_nan=False)]
    """Channel gain, negative: minus the path loss in dB."""
    transmit_power_dbm: Annotated[float, Field(ge=-30, le=50)] = 23.0
    """Transmit power of the device."""
    downlink_bps_per_hz: PositiveFloat
    """Downlink spectral efficiency, bit/s per Hz: the power density is constant there, so the rate is linear."""
    trace: str | None = None
    """A recorded bandwidth trace for the replay, relative to the scenario file; it modulates the planned rate."""


def _link_kind(value: object) -> str:
    keys = value if isinstance(value, dict) else getattr(value, "__dict__", {})
    return "shannon" if "path_gain_db" in keys or "transmit_power_dbm" in keys else "fixed"


Link = Annotated[Annotated[FixedLink, Tag("fixed")] | Annotated[ShannonLink, Tag("shannon")], Discriminator(_link_kind)]


class Radio(Section):
    """The spectrum all clients share."""

    link_model: Literal["fixed", "shannon"]
    """``fixed``: rate proportional to the share; ``shannon``: device power fixed."""
    uplink_hz: Hertz
    """Uplink bandwidth, all clients together."""
    downlink_hz: Hertz
    """Downlink bandwidth, all clients together."""
    noise_dbm_per_hz: Annotated[float, Field(ge=-200, le=-100)] = -174.0
    """Noise power density; used by ``shannon``."""


class Server(Section):
    """The edge server that holds the upper blocks."""

    device: str
    """A device of the catalogue or of ``devices``."""
    load: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the server that others use already; the rest is planned."""
    memory_bytes: Bytes | None = None
    """Memory for all server parts together; unlimited when absent."""


class ClientGroup(Section):
    """Clients that are alike."""

    group: Identifier
    """Name of the group; clients are called ``group-0``, ``group-1``, ..."""
    device: str
    """A device of the catalogue or of ``devices``."""
    count: Annotated[int, Field(ge=1, le=100_000)] = 1
    """Number of clients."""
    memory_budget_bytes: Bytes
    """What training may use on each device: a hard limit, enforced in the run."""
    link: Link
    """Radio link of each client."""
    data_share: PositiveFloat = 1.0
    """Samples of each client relative to the others, and its weight in the aggregation; exact for ``iid`` data."""
    min_cut: PositiveInt = 1
    """Shallowest cut allowed, for privacy: a shallow cut reveals the input."""
    energy_cap_j: PositiveFloat | None = None
    """Most energy each device may spend in a round, joules: a hard limit; no limit when absent. Needs a published or
    stated power of the device."""
    drop_price_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """What leaving one of these clients out of the round costs, as seconds added to the round latency in the objective;
    its data are then not trained on. Clients take part always when absent."""
    ray_resource: Identifier | None = None
    """Custom resource of the real device that runs these clients, as it joined the Ray cluster with
    ``ray start --resources``; any worker emulates them when absent, and the ``inline`` executor always does."""
