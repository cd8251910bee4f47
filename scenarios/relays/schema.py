"""The scenario of a model that is cut several times: what is run, over which machines, and what is minimised.

Like the scenario of one cut, it is frozen and strict and rejects unknown keys; the attribute docstrings below become
the descriptions of the exported JSON Schema.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from hybridsplit.scenarios.devices import Device
from hybridsplit.scenarios.label_agreement import of_labels
from hybridsplit.scenarios.relays.network import MOST_REPLICAS, Network, is_power_of_two
from hybridsplit.scenarios.schema import Faults
from hybridsplit.scenarios.sections.base import Identifier, PositiveInt, Section
from hybridsplit.scenarios.sections.data import Data
from hybridsplit.scenarios.sections.model import Model
from hybridsplit.scenarios.sections.target import TARGETS, Target
from hybridsplit.scenarios.sections.training import Optimizer, SmallCount, Trainable, TrainAll
from hybridsplit.scenarios.units import Bytes, Seconds

MOST_CUTS = 16
TRAINS = "round-latency"


class Cuts(Section):
    """How often a model may be cut."""

    most: Annotated[int, Field(ge=0, le=MOST_CUTS)] = 3
    """Most cuts: the model runs on at most one machine more."""


class RelayTraining(Section):
    """What every client does with the model: rounds of training, or batches that are only run."""

    trainable: Trainable = TrainAll(method="all")
    """All parameters, or adapters."""
    optimizer: Optimizer | None = None
    """Optimizer on every machine; needed for training, refused for inference."""
    batch_size: SmallCount
    """Samples of a step; always full."""
    micro_batches: Annotated[tuple[SmallCount, ...], Field(min_length=1)] = (1,)
    """Numbers of micro-batches that the planner may choose for a client: a batch passes the machines in so many parts,
    whose gradients are summed before one update."""
    partial_sums: Annotated[int, Field(ge=1, le=MOST_REPLICAS)] = 1
    """Sums that gradients of micro-batches are added to, a power of two: micro-batch i goes to sum i mod
    ``partial_sums``, and the sums are added in pairs after the last. It decides the trained bits, as the number of
    micro-batches does. A node has at most as many ``replicas``."""
    pipeline: Literal["best", "1f1b", "gpipe"] = "best"
    """Order in which machines run micro-batches: ``gpipe`` all forward before the first backward, ``1f1b`` one forward
    and one backward in turn as soon as the machines behind are filled, ``best`` the warm-up depths that make a step
    shortest within memory. It changes memory and time, and no bit."""
    sequence_length: PositiveInt | None = None
    """Tokens a sample; needed for text, refused for images."""
    local_steps: SmallCount = 1
    """Steps between two aggregations; 1 for inference."""
    rounds: SmallCount = 1
    """Rounds of a run; 1 for inference."""
    optimizer_state: Literal["reset", "keep"] = "reset"
    """What happens to momentum and moments between rounds: ``reset`` starts afresh, ``keep`` carries the state of every
    client's blocks to its next round, machine by machine."""
    cuts: Cuts = Cuts()
    """How often the model may be cut."""

    @model_validator(mode="after")
    def _parts_are_whole(self) -> Self:
        for number in self.micro_batches:
            if self.batch_size % number:
                raise ValueError(
                    f"micro_batches: found {number}, which does not divide batch_size ({self.batch_size}); parts of a "
                    "batch are equally large"
                )
        if len(set(self.micro_batches)) != len(self.micro_batches):
            raise ValueError("micro_batches: lists a number twice; state each once")
        if not is_power_of_two(self.partial_sums):
            raise ValueError(f"partial_sums: found {self.partial_sums}; needs a power of two: sums are added in pairs")
        return self


class RelayClients(Section):
    """Clients that are alike."""

    group: Identifier
    """Name of the group, from which links of the network start; clients are called ``group-0``, ``group-1``, ..."""
    device: str
    """A device of the catalogue or of ``devices``."""
    count: Annotated[int, Field(ge=1, le=100_000)] = 1
    """Number of clients."""
    memory_budget_bytes: Bytes
    """What the model may use on each device: a hard limit."""
    min_cut: Annotated[int, Field(ge=0, le=1_000_000)] = 1
    """Fewest blocks on the device, for privacy: 0 lets the samples themselves leave it."""
    ray_resource: Identifier | None = None
    """Custom resource of the real device that runs these clients, as it joined the Ray cluster; any worker emulates
    them when absent, and the ``inline`` executor always does."""


class RelayObjective(Target):
    """What the planner minimises, and what training is to reach."""

    minimise: Literal["round-latency", "inference-latency", "inference-period"] = "round-latency"
    """``round-latency``: seconds of a round of training, all clients at once. ``inference-latency``: seconds until
    every client's batch is through. ``inference-period``: seconds between two batches of every client, in streams."""


class RelaySearch(Section):
    """How long plans are searched for."""

    gap: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Gap to the lower bound at which the search ends."""
    time_limit_s: Annotated[Seconds, Field(gt=0)] = 30.0
    """Seconds after which the best verified plan is taken."""


@dataclass(frozen=True)
class RelayClient:
    """One client of an expanded scenario."""

    id: str
    group: str


class RelayScenario(Section):
    """One scenario: model, data, training, network, clients and objective."""

    schema_version: Literal[1] = 1
    """Version of this schema."""
    name: Identifier
    """Short name, used for folders and titles."""
    description: str = ""
    """What this scenario shows, for people."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """The one seed all random streams are derived from."""
    model: Model
    """What is cut."""
    data: Data
    """What it is run on; it decides the shapes of samples."""
    training: RelayTraining
    """What every client does with it."""
    network: Network
    """The machines beside the clients, and the links."""
    clients: Annotated[tuple[RelayClients, ...], Field(min_length=1)]
    """Who takes part."""
    objective: RelayObjective = RelayObjective()
    """What is minimised."""
    search: RelaySearch = RelaySearch()
    """How long plans are searched for."""
    faults: Faults = Faults()
    """What happens when a client, a worker or a relay fails during a run."""
    devices: dict[Identifier, Device] = Field(default_factory=dict)
    """Devices of your own, beside the catalogue; same keys as ``scenarios/devices.yaml``."""

    @model_validator(mode="after")
    def _network_serves_clients(self) -> Self:
        groups = [one.group for one in self.clients]
        nodes = [one.node for one in self.network.nodes]
        if twice := sorted({name for name in groups if groups.count(name) > 1 or name in nodes}):
            raise ValueError(f"clients: the names {', '.join(twice)} occur twice; groups and nodes need their own")
        for index, link in enumerate(self.network.links):
            if link.origin not in (*groups, *nodes):
                raise ValueError(
                    f"network.links.{index}.from: found {link.origin!r}; needs a client group or a node: "
                    f"{', '.join((*groups, *nodes)[:12])}"
                )
        left = {link.origin for link in self.network.links}
        for index, group in enumerate(groups):
            if group not in left:
                raise ValueError(f"clients.{index}.group: no link of the network starts at {group!r}; add one")
        servers = self.network.servers()
        for group in groups:
            if not _reached(group, self.network) & set(servers):
                raise ValueError(
                    f"network.links: no way leads from {group} to the server {', '.join(servers)}; add links on the way"
                )
        if self.trains and len(self.network.servers()) > 1:
            raise ValueError(
                f"network.links: found the servers {', '.join(self.network.servers())}; the parts of all clients are "
                "averaged at one: join them by a link, or leave one out"
            )
        return self

    @model_validator(mode="after")
    def _work_fits_the_objective(self) -> Self:
        if self.trains and self.training.optimizer is None:
            raise ValueError("training.optimizer: is needed for minimise: round-latency, which is about training")
        training = self.training
        about_training = training.local_steps != 1 or training.rounds != 1 or training.optimizer_state != "reset"
        for index, node in enumerate(self.network.nodes):
            if node.replicas > 1 and not self.trains:
                raise ValueError(
                    f"network.nodes.{index}.replicas: share the steps of training; remove them for minimise: "
                    f"{self.objective.minimise}, or state nodes side by side"
                )
            if node.replicas > training.partial_sums:
                raise ValueError(
                    f"training.partial_sums: found {training.partial_sums}, and node {node.node} has {node.replicas} "
                    f"replicas, each of which adds up sums of its own: state at least {node.replicas}"
                )
        if not self.trains and self.objective.stated_targets:
            raise ValueError(
                f"objective.{self.objective.stated_targets[0]}: is about training; remove it for minimise: "
                f"{self.objective.minimise}, or state minimise: round-latency"
            )
        if not self.trains and (training.partial_sums != 1 or training.pipeline != "best"):
            raise ValueError(
                f"training: partial_sums and pipeline are about training; remove them for minimise: "
                f"{self.objective.minimise}"
            )
        if not self.trains and (training.optimizer is not None or about_training):
            raise ValueError(
                f"training: optimizer, optimizer_state, local_steps and rounds are about training; remove them for "
                f"minimise: {self.objective.minimise}, or state minimise: round-latency"
            )
        return self

    @model_validator(mode="after")
    def _labels_fit(self) -> Self:
        if found := list(of_labels({"model": self.model, "data": self.data})):
            raise ValueError("\n".join(found))
        return self

    @property
    def trains(self) -> bool:
        """Whether clients train; they only run the model otherwise."""
        return self.objective.minimise == TRAINS

    @property
    def num_clients(self) -> int:
        """Number of clients over all groups."""
        return sum(group.count for group in self.clients)

    def expanded_clients(self) -> tuple[RelayClient, ...]:
        """Return every client of every group, in order."""
        return tuple(
            RelayClient(f"{one.group}-{index:0{len(str(one.count - 1))}d}", one.group)
            for one in self.clients
            for index in range(one.count)
        )

    def resolved(self) -> dict[str, Any]:
        """Return the scenario as plain JSON values, defaults filled in."""
        return self.model_dump(mode="json", by_alias=True)

    def content_hash(self) -> str:
        """SHA-256 of what is planned and trained: of all values but ``search``, ``faults`` and a target."""
        facts = {key: value for key, value in self.resolved().items() if key not in ("search", "faults")}
        facts["objective"] = {key: value for key, value in facts["objective"].items() if key not in TARGETS}
        canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


def _reached(start: str, network: Network) -> set[str]:
    """Return the nodes that links lead to from a group."""
    found, pending = {start}, [start]
    while pending:
        here = pending.pop()
        new = {link.to for link in network.links if link.origin == here} - found
        found |= new
        pending += new
    return found
