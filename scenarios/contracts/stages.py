"""On which machines the blocks of one client run, where a model is cut several times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from hybridsplit.scenarios.contracts.relay_plan import RelayClientPlan


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
    """

    path: tuple[Stage, ...]
    micro_batches: int = 1

    @property
    def working(self) -> tuple[Stage, ...]:
        """The client, and all others that run blocks."""
        return (self.path[0], *(stage for stage in self.path[1:] if not stage.only_forwards))

    @property
    def crossed(self) -> tuple[Stage, ...]:
        """The machines up to the last that runs a block: those that see activations."""
        last = max(k for k, stage in enumerate(self.path) if k == 0 or not stage.only_forwards)
        return self.path[: last + 1]


def stages_of(client: RelayClientPlan) -> Stages:
    """Return the machines of a client by its plan.

    Parameters
    ----------
    client
        Its plan.
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
    return Stages(tuple(path), client.micro_batches)
