"""Which clients of a round are carried out together.

The groups depend on the clients alone, never on the number of workers: states are averaged within a group first, so
that only one state a group travels, and the trained bits are the same however many workers there are.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.errors import ScenarioError

MAX_GROUPS = 32
"""Most groups of a round: enough to keep a pool of workers busy to the end, few enough to hold a state of each."""


@dataclass(frozen=True)
class Group:
    """Clients that one worker trains one after another.

    Parameters
    ----------
    members
        Their assignments, in the order of the scenario, or of the chain.
    chained
        Whether each starts from the weights that the one before it ended with (sequential split learning), instead of
        all from the global ones.
    resource
        Custom Ray resource that the worker must have; None for any worker.
    """

    members: tuple[Assignment, ...]
    chained: bool = False
    resource: str | None = None

    def without(self, clients: frozenset[str]) -> Group:
        """Return the group without some clients."""
        return Group(tuple(a for a in self.members if a.client not in clients), self.chained, self.resource)

    def emulated(self) -> Group:
        """Return the group with no client bound to a real device."""
        return Group(tuple(replace(a, resource=None) for a in self.members), self.chained)


def groups_of(assignments: Sequence[Assignment], chain: Sequence[str] = ()) -> tuple[Group, ...]:
    """Return the groups of a round.

    Parameters
    ----------
    assignments
        Those who take part, in the order of the scenario.
    chain
        Clients that train one after another on the same weights; they are one group, the first.

    Raises
    ------
    ScenarioError
        If members of the chain are bound to different devices.
    """
    by_client = {a.client: a for a in assignments}
    chained = tuple(by_client[client] for client in chain if client in by_client)
    groups = [Group(chained, chained=True, resource=_common_resource(chained))] if chained else []
    others = [a for a in assignments if a.client not in set(chain)]
    size = -(-len(others) // MAX_GROUPS)
    for resource, members in itertools.groupby(others, key=lambda a: a.resource):
        alike = tuple(members)
        groups += [Group(alike[at : at + size], resource=resource) for at in range(0, len(alike), size)]
    return tuple(groups)


def _common_resource(chained: Sequence[Assignment]) -> str | None:
    """Return the device of a chain: one worker carries all of it out."""
    first, *others = dict.fromkeys(a.resource for a in chained)
    if others:
        named = ", ".join(f"{a.client}: {a.resource or 'any'}" for a in chained)
        raise ScenarioError(
            f"clients.ray_resource: a chain of clients runs on one worker, and this one is bound to several ({named}); "
            "give all its clients the same ray_resource or none, or use a strategy without a chain"
        )
    return first
