"""The placement with the least lower bound on a step of m micro-batches of training.

Each micro-batch goes up the chain and its gradient comes back down. Whatever the order on every machine,

    T >= max(S + (m - 1)·max_k(u_k, d_k),  max_k(R_k + m_k·n_k))

with S the seconds of one micro-batch alone, u and d those that links are busy, n those that machines are, and R_k what
one micro-batch takes before machine k, both ways, and m_k = m, or m/r rounded up where r replicas share them: a link's
first message comes after what is before it and its last is followed by the rest; machine k starts after the way up and
its last gradient has the way down before it. What is done once a round comes on top of either. Our reconstruction; 1F1B
and deeper warm-ups are compared with it in ``python -m benchmarks.relay_chains``.
"""

from __future__ import annotations

import numpy as np

from hybridsplit.solver.chain.least_sum import least_sum
from hybridsplit.solver.chain.values import NOTHING, Chain, Choice, busy_seconds, node_spans, total_seconds


def training_bound_s(chain: Chain, cuts: tuple[int, ...], repeats: int) -> float:
    """Return the bound of one choice.

    Parameters
    ----------
    chain, cuts
        The chain, and a choice.
    repeats
        Micro-batches m.
    """
    _, up, down = busy_seconds(chain, cuts)
    longest = max(up.max(initial=0.0), down.max(initial=0.0))
    return max(total_seconds(chain, cuts) + (repeats - 1) * float(longest), _latest_node_s(chain, cuts, repeats))


def least_training_bound(chain: Chain, repeats: int) -> Choice:
    """Return the cuts with the least bound.

    For every limit on links that can still improve, the Pareto front of (S, max_k(R_k + m·n_k)) is found: the label
    (R, V) only grows along the chain, so a label that another one of the same machine and cut is below in both cannot
    become better. Where nothing is done once a round, the front is walked from its least S instead, since a limit on V
    leaves the least R the best.

    Parameters
    ----------
    chain
        The chain.
    repeats
        Micro-batches m.
    """
    links = np.unique(np.concatenate([chain.up_s.ravel(), chain.down_s.ravel()]))
    links = links[np.isfinite(links)]
    front = _walk_front if not chain.once_s.any() else _label_front
    best, limit_s = NOTHING, np.inf
    shortest_s = float(links[0]) if len(links) else 0.0
    while True:
        first = least_sum(chain, most_link_s=limit_s)
        if not np.isfinite(first.value_s) or first.value_s + (repeats - 1) * shortest_s >= best.value_s:
            return best
        best, longest_s = front(chain, repeats, limit_s, first, best)
        below = links[links < longest_s]
        if len(below) == 0:
            return best
        limit_s = float(below[-1])


def _walk_front(chain: Chain, repeats: int, limit_s: float, first: Choice, best: Choice) -> tuple[Choice, float]:
    """Walk the front at a limit on links; return the best choice, and the longest link time that was met.

    Choices whose longest link time is at least the longest of those met are no better than these, at any limit above.
    """
    choice, longest_met_s = first, 0.0
    while np.isfinite(choice.value_s):
        value = training_bound_s(chain, choice.cuts, repeats)
        if value < best.value_s:
            best = Choice(value, choice.cuts)
        _, up, down = busy_seconds(chain, choice.cuts)
        longest_s = float(max(up.max(initial=0.0), down.max(initial=0.0)))
        longest_met_s = max(longest_met_s, longest_s)
        end_s = _latest_node_s(chain, choice.cuts, repeats)
        if choice.value_s >= end_s or choice.value_s >= best.value_s:
            break
        choice = least_sum(
            chain, most_link_s=limit_s, repeats=repeats, most_end_s=min(end_s, best.value_s) * (1 - 1e-12)
        )
    return best, longest_met_s


def _label_front(chain: Chain, repeats: int, limit_s: float, first: Choice, best: Choice) -> tuple[Choice, float]:
    """Find the front at a limit on links by labels; as :func:`_walk_front`."""
    value = training_bound_s(chain, first.cuts, repeats)
    if value < best.value_s:
        best = Choice(value, first.cuts)
    longest_met_s = _longest_link_s(chain, first.cuts)
    for cuts in _fronts(chain, repeats, limit_s, best.value_s):
        longest_met_s = max(longest_met_s, _longest_link_s(chain, cuts))
        value = training_bound_s(chain, cuts, repeats)
        if value < best.value_s:
            best = Choice(value, cuts)
    return best, longest_met_s


def _longest_link_s(chain: Chain, cuts: tuple[int, ...]) -> float:
    _, up, down = busy_seconds(chain, cuts)
    return float(max(up.max(initial=0.0), down.max(initial=0.0)))


def _fronts(chain: Chain, repeats: int, limit_s: float, below_s: float) -> list[tuple[int, ...]]:
    """Return the cuts of the Pareto front of (R, V) at the chain's end, those that cannot be below a value left out."""
    size, counted = chain.num_blocks + 1, chain.counts_parts
    # Labels of a machine by (machines in use, cut): R, V, and the place of the label that each came from.
    reached: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = {(0, 0): (np.zeros(1), np.zeros(1))}
    trail: list[dict[tuple[int, int], list[tuple[int, int, int]]]] = []
    for k in range(chain.num_nodes):
        gathered: dict[tuple[int, int], list[tuple[np.ndarray, np.ndarray, tuple[int, int]]]] = {}
        for (used, a), (r, v) in reached.items():
            for c in range(a, size) if k < chain.num_nodes - 1 else (size - 1,):
                busy = float(chain.node_s[k, a, c])
                now = used + (counted and a < c)
                if busy == np.inf or now > chain.most_parts:
                    continue
                more, once = busy + float(chain.node_delay_s[k, a, c]), 0.0
                if k < chain.num_nodes - 1:
                    if max(chain.up_s[k, c], chain.down_s[k, c]) > limit_s:
                        continue
                    once = float(chain.once_s[k, c])
                    more += float(chain.up_s[k, c] + chain.down_s[k, c] + chain.delay_s[k, c]) + once
                label = (r + more, np.maximum(v, r + chain.repeats_at(k, repeats) * busy) + once, (used, a))
                gathered.setdefault((now, c), []).append(label)
        reached, came = {}, {}
        for state, labels in gathered.items():
            r = np.concatenate([one[0] for one in labels])
            v = np.concatenate([one[1] for one in labels])
            origin = [(*one[2], i) for one in labels for i in range(len(one[0]))]
            keep = _undominated(r, v, below_s)
            if len(keep):
                reached[state] = r[keep], v[keep]
                came[state] = [origin[i] for i in keep]
        trail.append(came)
    return [
        _cuts_of(trail, state, i) for state in trail[-1] if state[1] == size - 1 for i in range(len(trail[-1][state]))
    ]


def _undominated(r: np.ndarray, v: np.ndarray, below_s: float) -> np.ndarray:
    order = np.lexsort((v, r))
    order = order[np.maximum(r, v)[order] < below_s]
    least = np.concatenate([[np.inf], np.minimum.accumulate(v[order])[:-1]])
    return np.asarray(order[v[order] < least])


def _cuts_of(
    trail: list[dict[tuple[int, int], list[tuple[int, int, int]]]], state: tuple[int, int], place: int
) -> tuple[int, ...]:
    cuts: list[int] = []
    for came in reversed(trail):
        used, cut, place = came[state][place]
        state = used, cut
        cuts.append(cut)
    return tuple(reversed(cuts[:-1]))


def _latest_node_s(chain: Chain, cuts: tuple[int, ...], repeats: int) -> float:
    """Return max_k(R_k + m_k·n_k), with what is done once."""
    before, latest, once = 0.0, 0.0, 0.0
    for k, (a, c) in enumerate(node_spans(cuts, chain.num_blocks)):
        busy = float(chain.node_s[k, a, c])
        latest = max(latest, before + chain.repeats_at(k, repeats) * busy)
        before += busy + float(chain.node_delay_s[k, a, c])
        if k < len(cuts):
            before += float(chain.up_s[k, c] + chain.down_s[k, c] + chain.delay_s[k, c])
            once += float(chain.once_s[k, c])
    return latest + once
