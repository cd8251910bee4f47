"""The plan of models that are cut several times: which blocks of every client run where, and how long a round takes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError

from hybridsplit.scenarios.contracts.display import Shown
from hybridsplit.scenarios.contracts.placement import FrozenValue
from hybridsplit.scenarios.contracts.plan import PlanStatus
from hybridsplit.scenarios.contracts.sealed import Kind, read_sealed, sealed, write_sealed
from hybridsplit.scenarios.errors import ContractError
from hybridsplit.scenarios.units import format_seconds

RELAY_PLAN_SCHEMA_VERSION = 2
RELAY_PLAN_KIND = Kind("a plan that 'hybridsplit plan --out' wrote", RELAY_PLAN_SCHEMA_VERSION, "make the plan again")
RELAYS = "relays"
"""What ``task`` of the plan's document says."""
_MOST_BYTES = 2**62


class PlacedBlocks(FrozenValue):
    """The blocks of one client on one machine, or on its replicas; seconds are at what is planned of each."""

    node: str
    device: str
    first_block: int = Field(ge=1, lt=2**31)
    last_block: int = Field(ge=1, lt=2**31)
    """Blocks ``first_block..last_block``, counted from 1."""
    warm_up: int = Field(ge=1, lt=2**31)
    """Micro-batches that run forward before the first runs backward, and are held at most, by each replica; 1 for
    inference."""
    replicas: int = Field(default=1, ge=1, lt=2**31)
    """Machines that share the micro-batches: micro-batch i runs on replica i mod ``replicas``."""
    forward_s: float = Field(ge=0)
    """Of a micro-batch."""
    backward_s: float = Field(ge=0)
    """Of a micro-batch; 0 for inference."""
    update_s: float = Field(ge=0)
    """Of the optimizer, once a step."""
    reduce_s: float = Field(default=0.0, ge=0)
    """Of adding up the gradients of all replicas, once a step; each sends as many bytes as ``reduced_bytes``."""
    reduced_bytes: int = Field(default=0, ge=0, lt=_MOST_BYTES)
    """What each replica sends to others in a step."""
    peak_bytes: int = Field(ge=0, lt=_MOST_BYTES)
    """Memory of this client's blocks at its peak, on each replica."""
    held_bytes: int = Field(ge=0, lt=_MOST_BYTES)
    """What each micro-batch in flight takes of it."""


class Hop(FrozenValue):
    """What one client sends over one link."""

    source: str
    target: str
    sent_bytes: int = Field(ge=0, lt=_MOST_BYTES)
    """Towards the server, a micro-batch; 0 where no block runs beyond."""
    returned_bytes: int = Field(ge=0, lt=_MOST_BYTES)
    """Back, a micro-batch."""
    exchanged_bytes: int = Field(ge=0, lt=_MOST_BYTES)
    """Parameters of the blocks before the link, before the round and again after it."""


class RelayClientPlan(FrozenValue):
    """The placement of one client."""

    id: str
    group: str
    path: tuple[str, ...] = Field(min_length=2)
    """The client and the nodes on the way to the server, those that only forward too."""
    micro_batches: int = Field(ge=1)
    turn: int = Field(default=0, ge=0, lt=2**31)
    """Of those who arrive at a machine or link at the same moment, as all do when a round begins, the lowest turn is
    served first, and equal ones in the order of the clients."""
    placement: tuple[PlacedBlocks, ...] = Field(min_length=1)
    hops: tuple[Hop, ...]
    """One a link of the path."""
    alone_s: float = Field(ge=0)
    """Seconds of its round, or of its batch, if nobody else used the machines and links."""
    latency_s: float = Field(ge=0)
    """The same beside all others, each machine and link serving in order of arrival."""

    @property
    def num_cuts(self) -> int:
        """How often the model is cut."""
        return len(self.placement) - 1

    def runs(self, part: PlacedBlocks, replica: int) -> int:
        """Return how many micro-batches of a step a replica runs.

        Parameters
        ----------
        part, replica
            Blocks, and which of the machines that hold them, from 0.
        """
        return len(range(replica, self.micro_batches, part.replicas))


class RelayPlan(FrozenValue, Shown):
    """A verified plan.

    ``value_s`` is what the objective minimises: the latest end of all clients, or the period. It is that of the stated
    orders (each machine's warm-up, and service in order of arrival), and ``lower_bound_s`` holds for any placement and
    any order.
    """

    schema_version: int = RELAY_PLAN_SCHEMA_VERSION
    task: Literal["relays"] = "relays"
    scenario: dict[str, Any]
    scenario_hash: str
    strategy: str
    status: PlanStatus
    objective: str
    value_s: float = Field(gt=0)
    lower_bound_s: float = Field(ge=0)
    gap: float = Field(ge=0)
    """Relative to the lower bound."""
    num_blocks: int = Field(ge=1)
    num_columns: int = Field(ge=0)
    """Placements that were looked at."""
    solve_s: float = Field(ge=0)
    notes: tuple[str, ...] = ()
    busy_s: dict[str, float]
    """Seconds of work in a round, or for a batch of every client, by machine and link direction that several share."""
    clients: tuple[RelayClientPlan, ...] = Field(min_length=1)

    def __repr__(self) -> str:
        """Return what the plan is and achieves, in one line."""
        return (
            f"Plan of {self.scenario['name']} by {self.strategy}: {len(self.clients)} clients, up to {self.most_cuts} "
            f"cuts, {self.objective} {format_seconds(self.value_s)}, {self.status} (gap {self.gap:.1e})"
        )

    def __str__(self) -> str:
        """Return the same line, not all figures."""
        return repr(self)

    @property
    def most_cuts(self) -> int:
        """Most cuts of any client."""
        return max(client.num_cuts for client in self.clients)

    def document(self) -> dict[str, Any]:
        """Return the document of ``plan.json``, with its digest."""
        return sealed(self.model_dump(mode="json"))

    def save(self, path: Path) -> None:
        """Write ``plan.json``."""
        write_sealed(path, self.model_dump(mode="json"))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read ``plan.json``.

        Raises
        ------
        AlteredError
            If the file is not as it was written.
        ContractError
            If it is missing, damaged, is not a plan, or has another schema version.
        """
        return cls.of_document(read_sealed(path, RELAY_PLAN_KIND), str(path))

    @classmethod
    def of_document(cls, document: Mapping[str, Any], origin: str) -> Self:
        """Return the plan of a document without its digest.

        Raises
        ------
        ContractError
            If it is not a plan.
        """
        try:
            # Strict as JSON: a number that is written as text is no number.
            return cls.model_validate_json(json.dumps(document), strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ContractError(f"{origin}: {where}: {first['msg']}; {RELAY_PLAN_KIND.remedy}") from error
