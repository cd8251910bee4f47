"""On which machines the blocks of one client run, where a model is cut several times."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from hybridsplit.scenarios.contracts.relay_plan import RelayClientPlan


def machine_name(node: str, replica: int) -> str:
    """Return the name of one of the machines that a node is: the first has the node's own.

    Parameters
    ----------
    node
        The node; no name of a node holds a slash.
    replica
        Which of its machines, from 0.
    """
    return node if replica == 0 else f"{node}/{replica}"


def replicas_in_use(replicas: int, micro_batches: int) -> int:
    """Return how many replicas have work: the largest power of two with a micro-batch for each.

    Parameters
    ----------
    replicas
        How many there are, a power of two.
    micro_batches
        Micro-batches of a step.
    """
    while replicas > micro_batches:
        replicas //= 2
    return replicas


class Stage(NamedTuple):
    """A machine on the way of a client's samples.

    Parameters
    ----------
    node
        Its name; the client's own is the client's id.
    start, stop
        It runs the blocks ``start + 1 .. stop``; equal where it only forwards.
    warm_up
        Micro-batches that it runs forward before the first runs backward. It decides memory and time, and no bit.
    """

    node: str
    start: int
    stop: int
    warm_up: int

    @property
    def only_forwards(self) -> bool:
        """Whether it runs no block."""
        return self.start == self.stop


@dataclass(frozen=True)
class Stages:
    """All machines of a client, and in how many parts a batch passes them.

    Parameters
    ----------
    path
        The machines from the client to the server, the client first; those that only forward too.
    micro_batches
        Parts of a batch; their gradients are added in ascending order and divided once, so that the number decides the
        trained bits.
    partial_sums
        Sums that gradients are added to before these are added in pairs: micro-batch i goes to sum i mod
        ``partial_sums``. It decides bits, too.
    replicas
        Nodes whose blocks several machines hold, with their number; it decides no bit. Micro-batch i runs on machine i
        mod that number.
    """

    path: tuple[Stage, ...]
    micro_batches: int = 1
    partial_sums: int = field(default=1, repr=False)
    replicas: tuple[tuple[str, int], ...] = field(default=(), repr=False)

    def replicas_of(self, stage: Stage) -> int:
        """Return how many machines hold the blocks of a stage."""
        return dict(self.replicas).get(stage.node, 1)

    @property
    def working(self) -> tuple[Stage, ...]:
        """The client, and all others that run blocks."""
        return (self.path[0], *(stage for stage in self.path[1:] if not stage.only_forwards))

    @property
    def crossed(self) -> tuple[Stage, ...]:
        """The machines up to the last that runs a block: those that see activations."""
        last = max(k for k, stage in enumerate(self.path) if k == 0 or not stage.only_forwards)
        return self.path[: last + 1]


def stages_of(client: RelayClientPlan, partial_sums: int = 1) -> Stages:
    """Return the machines of a client by its plan.

    Parameters
    ----------
    client
        Its plan.
    partial_sums
        Sums that gradients are added to.
    """
    parts = {part.node: part for part in client.placement}
    path: list[Stage] = []
    done = 0
    for node in client.path:
        part = parts.get(node)
        # Who runs no block holds nothing back: the client's samples are there from the start.
        stop, warm_up = (done, client.micro_batches) if part is None else (part.last_block, part.warm_up)
        path.append(Stage(node, done, stop, warm_up))
        done = stop
    replicas = tuple((part.node, part.replicas) for part in client.placement if part.replicas > 1)
    return Stages(tuple(path), client.micro_batches, partial_sums, replicas)
