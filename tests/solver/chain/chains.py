"""Random chains, and every choice of cuts on them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hybridsplit.solver.chain.values import Chain, Cuts, busy_seconds, node_spans, total_seconds


def random_chain(
    rng: np.random.Generator, num_nodes: int, num_blocks: int, most_parts: int | None = None, *, limited: bool = True
) -> Chain:
    """Machines of unequal speed, blocks of unequal work, links of unequal rates; some ranges are impossible."""
    before = np.concatenate([[0.0], np.cumsum(rng.uniform(0.1, 1.0, num_blocks))])
    work = np.maximum(before[None, :] - before[:, None], 0.0)
    node_s = work[None] / rng.uniform(0.2, 3.0, num_nodes)[:, None, None]
    node_s[:, np.tril(np.ones(work.shape, dtype=bool), -1)] = np.inf
    if limited:
        away = rng.random(node_s.shape) < 0.1
        away[:, np.arange(num_blocks + 1), np.arange(num_blocks + 1)] = False
        node_s[away] = np.inf
    shape = (num_nodes - 1, num_blocks + 1)
    up, down, delay, once = (rng.uniform(0.0, most, shape) for most in (1.0, 1.0, 0.2, 0.3))
    once *= rng.random() < 0.5
    for part in (up, down, delay):
        part[:, -1] = 0.0
    node_delay = np.zeros_like(node_s)
    node_delay[0] = np.where(np.isfinite(node_s[0]), 0.01 * work, 0.0)
    return Chain(node_s, up, down, delay, once, node_delay, num_nodes if most_parts is None else most_parts)


def all_cuts(chain: Chain) -> Iterator[Cuts]:
    """Every choice that is possible, found without any code of the programmes."""

    def extend(cuts: Cuts, first: int) -> Iterator[Cuts]:
        if len(cuts) == chain.num_nodes - 1:
            spans = node_spans(cuts, chain.num_blocks)
            busy = [chain.node_s[k, a, c] for k, (a, c) in enumerate(spans)]
            if np.isfinite(busy).all() and sum(a < c for a, c in spans) <= chain.most_parts:
                yield cuts
            return
        for cut in range(first, chain.num_blocks + 1):
            yield from extend((*cuts, cut), cut)

    yield from extend((), 0)


def burst_s(chain: Chain, cuts: Cuts, repeats: int) -> float:
    """Seconds of alike items, one after another, by playing each through every machine and link in turn."""
    nodes, up, down = busy_seconds(chain, cuts)
    longest = max(nodes.max(), up.max(initial=0.0), down.max(initial=0.0))
    return total_seconds(chain, cuts) + (repeats - 1) * float(longest)
