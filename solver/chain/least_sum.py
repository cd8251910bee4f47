"""The cuts with the least sum over machines and links, among those that keep every machine and link below a limit.

A dynamic programme over (machine, cut), O(K·L²); with a limit on the number of machines that run blocks, over (machine,
machines in use, cut).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hybridsplit.solver.chain.values import NOTHING, Chain, Choice


def least_sum(
    chain: Chain,
    *,
    most_node_s: float = np.inf,
    most_link_s: float = np.inf,
    repeats: int = 1,
    most_end_s: float = np.inf,
) -> Choice:
    """Return the cuts whose micro-batch takes the least time, alone.

    Parameters
    ----------
    chain
        The chain.
    most_node_s, most_link_s
        Machines, and directions of links, may not be busy for longer with a micro-batch.
    repeats, most_end_s
        What runs before a machine plus ``repeats`` times what it is busy, shared by its replicas, may not be longer
        than ``most_end_s``. Since both only grow along the chain, the least sum up to a machine is also the one that
        keeps this best.

    Returns
    -------
    Choice
        With the sum as its value.
    """
    num_nodes, size = chain.num_nodes, chain.num_blocks + 1
    parts = chain.most_parts if chain.counts_parts else 1
    link_s = chain.up_s + chain.down_s + chain.delay_s + chain.once_s
    link_s = np.where(np.maximum(chain.up_s, chain.down_s) <= most_link_s, link_s, np.inf)
    step = 1 if chain.counts_parts else 0
    # reach[q, a]: least sum with q machines in use and the first a blocks done.
    reach = np.full((parts + step, size), np.inf)
    reach[0, 0] = 0.0
    came: list[tuple[NDArray[np.int64], NDArray[np.bool_]]] = []
    for k in range(num_nodes):
        busy = np.where(chain.node_s[k] <= most_node_s, chain.node_s[k], np.inf)
        cost = busy + chain.node_delay_s[k]
        ends = reach[:, :, None] + cost
        if most_end_s < np.inf:
            ends = np.where(reach[:, :, None] + chain.repeats_at(k, repeats) * busy <= most_end_s, ends, np.inf)
        stays = np.full_like(reach, np.inf)
        if step:
            index = np.arange(size)
            stays = ends[:, index, index].copy()
            ends[:, index, index] = np.inf
        origin = ends.argmin(axis=1)
        moved = np.take_along_axis(ends, origin[:, None, :], axis=1)[:, 0, :]
        if step:
            shifted = np.full_like(moved, np.inf)
            shifted[1:] = moved[:-1]
            came.append((origin, stays <= shifted))
            reach = np.minimum(stays, shifted)
        else:
            came.append((origin, np.zeros_like(reach, dtype=bool)))
            reach = moved
        if k < num_nodes - 1:
            reach = reach + link_s[k]
    used = int(reach[:, -1].argmin())
    if not np.isfinite(reach[used, -1]):
        return NOTHING
    value, cut, cuts = float(reach[used, -1]), size - 1, []
    for k in range(num_nodes - 1, 0, -1):
        origin, stayed = came[k]
        if not stayed[used, cut]:
            used -= step
            cut = int(origin[used, cut])
        cuts.append(cut)
    return Choice(value, tuple(reversed(cuts)))
