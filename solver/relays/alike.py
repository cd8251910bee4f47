"""Groups that differ in nothing but the names of the machines and links that they alone use."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hybridsplit.solver.chain.values import FloatArray
from hybridsplit.solver.relays.routes import Route


def users_of(routes: Sequence[Route]) -> dict[str, set[str]]:
    """Return the groups on whose way every shared machine and link is.

    Parameters
    ----------
    routes
        Routes of all groups.
    """
    users: dict[str, set[str]] = {}
    for route in routes:
        for name in _names(route):
            users.setdefault(name, set()).add(route.group)
    users.pop("", None)
    return users


def alike_groups(routes: Sequence[Route], counts: dict[str, int]) -> list[tuple[str, ...]]:
    """Return the groups in tuples of those that are alike; their routes are in the same order.

    Parameters
    ----------
    routes
        Routes of all groups.
    counts
        Clients of every group.
    """
    users = users_of(routes)
    found: dict[tuple[object, ...], list[str]] = {}
    for group, count in counts.items():
        own: dict[str, int] = {}
        facts: list[object] = [count]
        for route in routes:
            if route.group == group:
                # A name that no other group uses is only the n-th of its own.
                facts += [own.setdefault(n, len(own)) if users.get(n) == {group} else n for n in _names(route)]
                facts += [route.micro_batches, route.steps, route.replicas, route.chain.most_parts]
                facts += [np.ascontiguousarray(array).tobytes() for array in _arrays(route)]
        found.setdefault(tuple(facts), []).append(group)
    return [tuple(groups) for groups in found.values()]


def _names(route: Route) -> tuple[str, ...]:
    return (*route.node_resources, *route.up_resources, *route.down_resources)


def _arrays(route: Route) -> tuple[FloatArray, ...]:
    return (
        route.chain.node_s, route.chain.up_s, route.chain.down_s, route.forward_s, route.update_s, route.reduce_s,
        route.exchange_s, route.exchange_delay_s, route.up_delay_s, route.down_delay_s, route.memory_bytes,
        route.held_bytes, route.most_memory_bytes,
    )  # fmt: skip
