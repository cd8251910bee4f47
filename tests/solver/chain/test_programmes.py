"""The programmes of a chain are exact: brute force over all cuts finds nothing better, and nothing worse."""

from __future__ import annotations

import math
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest

from hybridsplit.solver.chain.device_types import shortest_period
from hybridsplit.solver.chain.least_bottleneck import burst_of_items, least_period
from hybridsplit.solver.chain.least_sum import least_sum
from hybridsplit.solver.chain.min_cut import split_of_graph
from hybridsplit.solver.chain.training_bound import least_training_bound, training_bound_s
from hybridsplit.solver.chain.values import NOTHING, Chain, busy_seconds, total_seconds
from tests.solver.chain.chains import all_cuts, burst_s, random_chain


def check_instance(seed: int) -> None:
    """Compare all four programmes with brute force on one random chain."""
    rng = np.random.default_rng(seed)
    num_nodes, num_blocks = int(rng.integers(2, 5)), int(rng.integers(3, 8))
    repeats = int(rng.choice([1, 4, 16]))
    chain = random_chain(rng, num_nodes, num_blocks, int(rng.integers(1, num_nodes + 1)))
    every = list(all_cuts(chain))
    for found, value in (
        (least_sum(chain), total_seconds),
        (burst_of_items(chain, repeats), lambda c, cuts: burst_s(c, cuts, repeats)),
        (least_training_bound(chain, repeats), lambda c, cuts: training_bound_s(c, cuts, repeats)),
        (least_period(chain), lambda c, cuts: max(float(p.max(initial=0.0)) for p in busy_seconds(c, cuts))),
    ):
        if not every:
            assert found == NOTHING
            continue
        assert found.cuts in every
        assert math.isclose(found.value_s, min(value(chain, cuts) for cuts in every), rel_tol=1e-9)
        assert math.isclose(found.value_s, value(chain, found.cuts), rel_tol=1e-9)


@pytest.mark.parametrize("first", range(0, 240, 40))
def test_programmes_equal_brute_force(first: int) -> None:
    for seed in range(first, first + 40):
        check_instance(seed)


@pytest.mark.slow
def test_programmes_equal_brute_force_on_a_thousand_instances() -> None:
    for seed in range(1_000, 2_000):
        check_instance(seed)


def test_more_machines_and_more_parts_are_never_worse() -> None:
    for seed in range(20):
        values = [
            burst_of_items(random_chain(np.random.default_rng(seed), 4, 6, most, limited=False), 8).value_s
            for most in (1, 2, 3, 4)
        ]
        assert all(one >= other * (1 - 1e-12) for one, other in pairwise(values))


def two_machines(rng: np.random.Generator, num_blocks: int) -> tuple[Chain, np.ndarray, np.ndarray, np.ndarray]:
    client, server, sent = (rng.uniform(0.1, 2.0, num_blocks + shift) for shift in (0, 0, 1))
    sent[-1] = 0.0
    node_s = np.full((2, num_blocks + 1, num_blocks + 1), np.inf)
    for a in range(num_blocks + 1):
        for c in range(a, num_blocks + 1):
            node_s[:, a, c] = client[a:c].sum(), server[a:c].sum()
    nothing = np.zeros((1, num_blocks + 1))
    chain = Chain(node_s, sent[None], nothing, nothing, nothing, np.zeros_like(node_s), 2)
    return chain, client, server, sent


def test_a_minimum_cut_of_a_chain_is_the_programme_of_two_machines() -> None:
    for seed in range(60):
        chain, client, server, sent = two_machines(np.random.default_rng(seed), 6)
        graph: nx.DiGraph[int] = nx.path_graph(7, create_using=nx.DiGraph)
        value, near = split_of_graph(
            graph,
            {0: 0.0, **{i + 1: float(s) for i, s in enumerate(client)}},
            {0: math.inf, **{i + 1: float(s) for i, s in enumerate(server)}},
            {i: float(s) for i, s in enumerate(sent)},
        )
        choice = least_sum(chain)
        assert math.isclose(value, choice.value_s, rel_tol=1e-9)
        assert near == frozenset(range(choice.cuts[0] + 1))


def test_a_minimum_cut_of_a_graph_is_the_best_of_all_splits() -> None:
    for seed in range(40):
        rng = np.random.default_rng(seed)
        graph: nx.DiGraph[int] = nx.DiGraph([(0, 1), (0, 2), (1, 3), (2, 3), (3, 4), (1, 4)])
        client, server, sent = (dict(enumerate(rng.uniform(0.1, 2.0, 5).tolist())) for _ in range(3))
        client[0], server[0], sent[4] = 0.0, math.inf, 0.0
        best = math.inf
        for mask in range(16):
            near = {0, *(i + 1 for i in range(4) if mask >> i & 1)}
            if any(v in near and u not in near for u, v in graph.edges):
                continue
            leaving = {u for u, v in graph.edges if u in near and v not in near}
            seconds = sum(client[i] if i in near else server[i] for i in graph) + sum(sent[i] for i in leaving)
            best = min(best, seconds)
        assert math.isclose(split_of_graph(graph, client, server, sent)[0], best, rel_tol=1e-9)


def test_any_order_of_machines_of_few_types_is_the_best_order_of_single_machines() -> None:
    from itertools import permutations

    for seed in range(12):
        rng = np.random.default_rng(seed)
        block_s, link_s = rng.uniform(0.1, 1.0, (2, 5)), rng.uniform(0.0, 0.5, 6)
        kinds = [0, 0, 1]
        best = math.inf
        for order in set(permutations(kinds)):
            node_s = np.full((3, 6, 6), np.inf)
            for k, kind in enumerate(order):
                for a in range(6):
                    for c in range(a, 6):
                        node_s[k, a, c] = block_s[kind, a:c].sum()
            up = np.tile(np.concatenate([[0.0], link_s[1:-1], [0.0]]), (2, 1))
            zero = np.zeros_like(up)
            best = min(best, least_period(Chain(node_s, up, zero, zero, zero, np.zeros_like(node_s), 3)).value_s)
        found = shortest_period(block_s, [2, 1], link_s)
        assert math.isclose(found.period_s, best, rel_tol=1e-9)
        assert found.stages[0][1] == 0
        assert found.stages[-1][2] == 5
