"""Who takes part, and what they share."""

# Annotations are values here and not text (no __future__): of text, pydantic's reading is a third of the import.

import math
from abc import abstractmethod
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field

from hybridsplit.scenarios.registered import OneName, OneOf, section_registry
from hybridsplit.scenarios.registry import Registry
from hybridsplit.scenarios.sections.base import Identifier, PositiveFloat, PositiveInt, Section
from hybridsplit.scenarios.sections.memory import MemoryTrace
from hybridsplit.scenarios.sections.traces import Trace
from hybridsplit.scenarios.units import BitsPerSecond, Bytes, Hertz, Seconds


class AnyLink(Section):
    """What every link states, however its rates come about."""

    trace: Trace | None = None
    """What the link does over time in the replay: a recording, by its path relative to the scenario file or with keys
    that say how it is used. A path alone modulates the planned rates around their mean."""
    latency_s: Seconds = 0.0
    """Propagation delay of every transfer, one way; it takes no band. Half of what ``ping`` shows on an idle link."""
    uplink_latency_s: Seconds | None = None
    """The delay on the way up, where it is another; ``latency_s`` when absent."""
    downlink_latency_s: Seconds | None = None
    """The delay on the way down, where it is another; ``latency_s`` when absent."""

    def delay_s(self, *, is_up: bool) -> float:
        """Return the propagation delay of a transfer, seconds."""
        own = self.uplink_latency_s if is_up else self.downlink_latency_s
        return self.latency_s if own is None else own

    @property
    def is_dedicated(self) -> bool:
        """Whether nobody shares the link: its transfers wait for no other client's."""
        return False


class LinkModel(AnyLink):
    """A client's radio link: how fast it carries at a share of the band. A model of your own derives from this class.

    The rate must be concave and increasing in the share, 0 at 0. Downlinks are linear in the share for every model: the
    base station's power density is constant.
    """

    name: ClassVar[str]
    """Name in ``radio.link_model``."""
    work: ClassVar[str]
    """What gives the solver the uplink's work, ``package.module:function``: called with the radio, the links [N], the
    client index [K] and the bits [K], it returns a :class:`~hybridsplit.solver.problem.links.UplinkWork`."""

    downlink_bps_per_hz: PositiveFloat
    """Downlink spectral efficiency, bit/s per Hz: the power density is constant there, so the rate is linear."""

    @abstractmethod
    def uplink_bps(self, radio: "Radio", share: float) -> float:
        """Rate at a share of the uplink band, bit/s.

        Verification and replay ask it for models of plug-ins; for ours each has a formula of its own. Registration
        refuses a class without it.
        """


def _link_name(link: type[LinkModel]) -> str:
    if ":" not in getattr(link, "work", "") or link.uplink_bps is LinkModel.uplink_bps:
        raise TypeError("its class needs a name, work 'module:function', and a method uplink_bps")
    own = [key for key in link.model_fields if key not in LinkModel.model_fields]
    if not any(link.model_fields[key].is_required() for key in own):
        raise TypeError("it needs a required key of its own, by which a link of this model is recognised")
    return link.name


LINK_MODELS: Registry[Any] = section_registry("link model", "hybridsplit.link_models", (LinkModel,), _link_name)
"""Name to section class, in the order of messages."""


@LINK_MODELS.register
class FixedLink(LinkModel):
    """A link whose rate is proportional to its share of the band."""

    name: ClassVar[str] = "fixed"
    work: ClassVar[str] = "hybridsplit.solver.problem.links:fixed_work"

    uplink_bps_per_hz: PositiveFloat
    """Uplink spectral efficiency, bit/s per Hz (for example a row of 3GPP TS 38.214 table 5.2.2.1-2)."""

    def uplink_bps(self, radio: "Radio", share: float) -> float:
        """Rate at a share of the uplink band, bit/s: ``share·B·η``."""
        return share * radio.uplink_hz * self.uplink_bps_per_hz


@LINK_MODELS.register
class ShannonLink(LinkModel):
    """A link by Shannon's formula with the device's power fixed: a narrower share has a higher SNR."""

    name: ClassVar[str] = "shannon"
    work: ClassVar[str] = "hybridsplit.solver.problem.shannon_link:shannon_work"

    path_gain_db: Annotated[float, Field(lt=0, allow_inf_nan=False)]
    """Channel gain, negative: minus the path loss in dB."""
    transmit_power_dbm: Annotated[float, Field(ge=-30, le=50)] = 23.0
    """Transmit power of the device."""

    def uplink_bps(self, radio: "Radio", share: float) -> float:
        """Rate at a share of the uplink band, bit/s: ``share·B·log2(1 + P·g/(N0·share·B))``."""
        band_hz = share * radio.uplink_hz
        if band_hz <= 0:
            return 0.0
        power_over_noise_hz = 10.0 ** ((self.transmit_power_dbm + self.path_gain_db - radio.noise_dbm_per_hz) / 10.0)
        return band_hz * math.log1p(power_over_noise_hz / band_hz) / math.log(2.0)


class RatedLink(AnyLink):
    """A link by its rates, as a speed test shows them or a contract states them."""

    uplink_bps: Annotated[BitsPerSecond, Field(gt=0)]
    """Rate up: of the link, or of the whole shared medium when this client alone sends."""
    downlink_bps: Annotated[BitsPerSecond, Field(gt=0)]
    """Rate down, likewise."""
    medium: Literal["dedicated", "shared"] = "dedicated"
    """``dedicated``: the link is the client's own, such as a wired line, and no share of the radio. ``shared``: clients
    share the medium, such as one Wi-Fi channel, and a share of it carries that part of the rates; for
    ``radio.link_model: fixed``."""

    @property
    def is_dedicated(self) -> bool:
        """Whether nobody shares the link."""
        return self.medium == "dedicated"

    def times(self, factor: float) -> Self:
        """Return the link with so many times the rates."""
        return self.model_copy(
            update={"uplink_bps": self.uplink_bps * factor, "downlink_bps": self.downlink_bps * factor}
        )


RATED = "rated"
"""Kind of the links that state rates."""
_RATED_KEYS = frozenset(RatedLink.model_fields) - frozenset(AnyLink.model_fields)


def link_kind(value: object) -> str:
    """Return the name of the model whose own keys a link's keys are; the first model where none is named.

    Parameters
    ----------
    value
        A mapping of keys, or a link.
    """
    keys = set(value if isinstance(value, dict) else getattr(value, "__dict__", {}))
    matches = {name: len(keys & _own_keys(kind)) for name, kind in LINK_MODELS.items()}
    best = max(matches, key=lambda name: matches[name])
    return RATED if len(keys & _RATED_KEYS) > matches[best] else best


@cache
def _own_keys(kind: type[LinkModel]) -> frozenset[str]:
    return frozenset(kind.model_fields) - frozenset(LinkModel.model_fields)


Link = Annotated[AnyLink, OneOf(LINK_MODELS, link_kind, {RATED: RatedLink})]
LinkModelName = Annotated[str, OneName(LINK_MODELS)]


class Radio(Section):
    """The spectrum all clients share."""

    link_model: LinkModelName = "fixed"
    """``fixed``: rate proportional to the share; ``shannon``: device power fixed."""
    uplink_hz: Hertz = 0.0
    """Uplink bandwidth, all clients together; needed unless every link states rates of its own."""
    downlink_hz: Hertz = 0.0
    """Downlink bandwidth, all clients together; needed unless every link states rates of its own."""
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
    memory_trace: MemoryTrace | None = None
    """What of that is there over time: a recording, by its path relative to the scenario file or with keys that say how
    it is used. Clients then choose the recompute order of every step by the memory there is. Constant when absent."""
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
