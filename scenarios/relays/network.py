"""The machines between clients and server, and the links that join them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from hybridsplit.scenarios.contracts.stages import machine_name
from hybridsplit.scenarios.sections.base import Identifier, Section
from hybridsplit.scenarios.units import BitsPerSecond, Bytes, Seconds

if TYPE_CHECKING:
    import networkx as nx

PositiveLink = Annotated[BitsPerSecond, Field(gt=0)]
MOST_REPLICAS = 64


def is_power_of_two(number: int) -> bool:
    """Return whether a positive number is a power of two."""
    return number & (number - 1) == 0


class RelayNode(Section):
    """A machine that relays, runs blocks of the model, or both."""

    node: Identifier
    """Its name."""
    device: str | None = None
    """A device of the catalogue or of ``devices``; the node only forwards when absent."""
    memory_bytes: Bytes | None = None
    """Memory for the blocks of all clients together; unlimited when absent."""
    load: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the machine that others use already; the rest is planned."""
    replicas: Annotated[int, Field(ge=1, le=MOST_REPLICAS)] = 1
    """Machines of this kind that hold the same blocks and share the micro-batches of a step (data parallelism): a power
    of two. ``memory_bytes`` and ``load`` are those of each. Their gradients are summed before every update, in an order
    that ``training.partial_sums`` states, so that their number changes no bit of the training."""
    replica_bps: PositiveLink | None = None
    """Rate between two replicas, each way at the same time; needed where there are several."""
    ray_resource: Identifier | None = None
    """Custom resource of the real machine that this node is, as it joined the Ray cluster with ``ray start
    --resources``; emulated when absent, and always by the ``inline`` executor."""

    @model_validator(mode="after")
    def _forwards_or_runs(self) -> Self:
        if self.device is None and (self.memory_bytes is not None or self.load):
            raise ValueError(
                "memory_bytes and load belong to a node that runs blocks; state its device, or remove them"
            )
        return self

    @model_validator(mode="after")
    def _replicas_are_joined(self) -> Self:
        if not is_power_of_two(self.replicas):
            raise ValueError(
                f"replicas: found {self.replicas}; needs a power of two, since their gradients are summed in pairs"
            )
        if self.replicas > 1 and self.device is None:
            raise ValueError("replicas: belong to a node that runs blocks; state its device, or remove them")
        if (self.replicas > 1) != (self.replica_bps is not None):
            raise ValueError(
                "replica_bps: is the rate between replicas; state it where replicas is above 1, and only there"
            )
        return self


class RelayLink(Section):
    """A link towards the server, and back. Both directions carry at the same time."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", defer_build=True, validate_by_name=True, validate_by_alias=True
    )

    origin: Identifier = Field(alias="from", description="A client group, or the node further from the server.")
    to: Identifier
    """The node nearer to the server."""
    uplink_bps: PositiveLink
    """Rate towards the server."""
    downlink_bps: PositiveLink
    """Rate back."""
    latency_s: Seconds = 0.0
    """Propagation delay of every message, one way; it occupies nothing."""
    shared: bool = False
    """Whether the clients of a group share one link, as a radio cell; each has a link of its own when false. A link
    between two nodes is always one for all who cross it."""


class Network(Section):
    """Nodes and links; a node that no link leaves is a server, where every path ends."""

    nodes: Annotated[tuple[RelayNode, ...], Field(min_length=1, max_length=256)]
    """The machines beside the clients."""
    links: Annotated[tuple[RelayLink, ...], Field(min_length=1, max_length=4096)]
    """What joins them."""

    @model_validator(mode="after")
    def _links_join_nodes(self) -> Self:
        names = [one.node for one in self.nodes]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"nodes: the names {', '.join(twice)} occur twice; each needs its own")
        pairs = [(one.origin, one.to) for one in self.links]
        if repeated := sorted({f"{a} to {b}" for a, b in pairs if pairs.count((a, b)) > 1}):
            raise ValueError(f"links: {', '.join(repeated)} is stated twice; state it once")
        for index, link in enumerate(self.links):
            if link.to not in names:
                raise ValueError(f"links.{index}.to: found {link.to!r}; needs one of the nodes {', '.join(names[:12])}")
            if link.origin == link.to:
                raise ValueError(f"links.{index}.to: found {link.to!r}, where the link starts; needs another node")
            if link.shared and link.origin in names:
                raise ValueError(
                    f"links.{index}.shared: is about the clients of a group, and {link.origin!r} is a node, whose "
                    "links all clients share; remove it"
                )
        if not self.servers():
            raise ValueError("links: every node has a link that leaves it, so no path ends; the server needs none")
        return self

    def servers(self) -> tuple[str, ...]:
        """Return the nodes that no link leaves."""
        left = {link.origin for link in self.links}
        return tuple(one.node for one in self.nodes if one.node not in left)

    def machines(self) -> dict[str, str | None]:
        """Return all machines by name, replicas one by one, with the custom resource of those that are real ones."""
        return {
            machine_name(one.node, replica): one.ray_resource for one in self.nodes for replica in range(one.replicas)
        }

    def graph(self) -> nx.DiGraph[str]:
        """Return the network as a graph: nodes by name, client groups too, and links towards the server."""
        import networkx as nx  # late: only plans need it

        graph: nx.DiGraph[str] = nx.DiGraph()
        graph.add_nodes_from(one.node for one in self.nodes)
        graph.add_edges_from((link.origin, link.to, {"link": link}) for link in self.links)
        return graph
