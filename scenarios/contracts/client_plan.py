"""What a plan says of one client: its placement, its shares, and what a round costs it."""

# Annotations are values here and not text (no __future__): of text, pydantic's reading is a third of the import.

from collections.abc import Sequence

from pydantic import Field

from hybridsplit.scenarios.contracts.ladder import LadderLevel
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.placement import Placement
from hybridsplit.scenarios.contracts.three_part import HeadCosts
from hybridsplit.scenarios.contracts.updates import UpdateCosts

MOST_BYTES = 2**63
"""Sizes are below it, as in the columns of every table."""

# Names of an enumeration are looked up in it, which takes longer than to compare with them.
_UPLINK, _DOWNLINK = Phase.UPLINK, Phase.DOWNLINK
_MODEL_UPLOAD, _MODEL_DOWNLOAD = Phase.MODEL_UPLOAD, Phase.MODEL_DOWNLOAD
_HEAD_UPLINK, _HEAD_DOWNLINK = Phase.HEAD_UPLINK, Phase.HEAD_DOWNLINK


class ClientPlan(Placement):
    """The placement and the shares of one client; costs are per round."""

    id: str
    device: str
    uplink_share: float = Field(ge=0, le=1)
    downlink_share: float = Field(ge=0, le=1)
    server_share: float = Field(ge=0, le=1)
    latency_s: float = Field(ge=0)
    """From the start of the round to this client's end: the seconds of its phases, and what it waited in between."""
    phases_s: dict[Phase, float]
    """Seconds being served, by phase."""
    waiting_s: dict[Phase, float] = Field(default_factory=dict)
    """Seconds waited for a turn, by the phase waited for; ``barrier`` is the wait for the slowest between two steps of
    a shared server model. Empty where nobody waits before the round's end."""
    client_compute_s: float = Field(ge=0)
    server_compute_s: float = Field(ge=0)
    """At the whole server: a share of one half takes twice as long."""
    uplink_bytes: int = Field(ge=0, lt=MOST_BYTES)
    downlink_bytes: int = Field(ge=0, lt=MOST_BYTES)
    model_upload_bytes: int = Field(ge=0, lt=MOST_BYTES)
    """Part of ``uplink_bytes``."""
    model_download_bytes: int = Field(ge=0, lt=MOST_BYTES)
    """Part of ``downlink_bytes``."""
    head_compute_s: float = Field(default=0.0, ge=0)
    """Part of ``client_compute_s``: what the head on the client takes; 0 where there is none, as the next three are."""
    head_features_bytes: int = Field(default=0, ge=0, lt=MOST_BYTES)
    """Part of ``downlink_bytes``."""
    head_gradient_bytes: int = Field(default=0, ge=0, lt=MOST_BYTES)
    """Part of ``uplink_bytes``."""
    server_backward_s: float = Field(default=0.0, ge=0)
    """Part of ``server_compute_s``, after the head."""
    client_update_s: float = Field(default=0.0, ge=0)
    """Part of ``client_compute_s``, after the last of several micro-batches; 0 without them, as the next one is."""
    server_update_s: float = Field(default=0.0, ge=0)
    """Part of ``server_compute_s``."""
    client_peak_bytes: int = Field(ge=0, lt=MOST_BYTES)
    memory_budget_bytes: int = Field(ge=0, lt=MOST_BYTES)
    server_state_bytes: int = Field(ge=0, lt=MOST_BYTES)
    client_energy_j: float | None = None
    """None where no power figure is published for the device."""
    progress: float = Field(ge=0)
    gain: float | None = None
    """Share of the way to the target that this client adds in a round, below 0 where it costs more than it adds; None
    where the target is not the objective."""
    data_weight: float = Field(ge=0)
    confidence: str
    levels: tuple[LadderLevel, ...] = ()
    """Recompute orders that the client chooses from in every step, the fastest first, where ``recompute`` is
    ``ladder``: then ``client_peak_bytes`` is the leanest one's, and ``client_compute_s`` the mean over the recorded
    memory with the expected wait for it. Empty elsewhere."""
    reason: str = ""
    """What decided this client's option, in words."""

    @property
    def has_dedicated_link(self) -> bool:
        """Whether the client's link is its own: it sends or receives without a share of the radio."""
        return self.uplink_share == 0 == self.downlink_share and self.uplink_bytes + self.downlink_bytes > 0

    @property
    def head(self) -> HeadCosts:
        """What of these costs the head on the client causes."""
        return HeadCosts.of(self)

    @property
    def updates(self) -> UpdateCosts:
        """What of these costs updates cause, with micro-batches."""
        return UpdateCosts(self.client_update_s, self.server_update_s)

    def phase_bytes(self, phase: Phase) -> int:
        """Bytes this client sends or receives in a phase of one round."""
        if phase is _UPLINK:
            return self.uplink_bytes - self.model_upload_bytes - self.head_gradient_bytes
        if phase is _DOWNLINK:
            return self.downlink_bytes - self.model_download_bytes - self.head_features_bytes
        if phase is _MODEL_UPLOAD:
            return self.model_upload_bytes
        if phase is _MODEL_DOWNLOAD:
            return self.model_download_bytes
        of_head = {_HEAD_UPLINK: self.head_gradient_bytes, _HEAD_DOWNLINK: self.head_features_bytes}
        return of_head.get(phase, 0)

    def bytes_by_phase(self) -> dict[Phase, int]:
        """Bytes this client sends or receives in one round, by the phases that carry any."""
        phases = (_UPLINK, _DOWNLINK, _MODEL_UPLOAD, _MODEL_DOWNLOAD)
        of_head = (_HEAD_DOWNLINK, _HEAD_UPLINK) if self.head_blocks else ()
        return {phase: self.phase_bytes(phase) for phase in (*phases, *of_head)}


def for_alike_clients(plans: Sequence[ClientPlan], kind: Sequence[int], ids: Sequence[str]) -> list[ClientPlan]:
    """Return a plan for every client, equal to that of its kind in all but the id.

    Parameters
    ----------
    plans
        One of every kind.
    kind, ids
        [N] kind and id of every client.
    """
    states = [(plan.__getstate__(), vars(plan)) for plan in plans]
    found: list[ClientPlan] = []
    for one, name in zip(kind, ids, strict=True):
        state, values = states[one]
        # As pydantic copies a value, without asking it anew a hundred thousand times what that takes.
        client = ClientPlan.__new__(ClientPlan)
        client.__setstate__({**state, "__dict__": {**values, "id": name}})
        found.append(client)
    return found
