"""The separator finder against brute force over every down-set of small graphs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridsplit.runtime.models.traced.separators import (
    Dag,
    DownSet,
    cheapest_cut,
    crossing,
    down_closure,
    single_vertex_cuts,
)


@st.composite
def dags(draw: st.DrawFn) -> Dag:
    """A graph in topological order whose last vertex is the sink that all others reach; 0 is the source.

    Further vertices may have no predecessor, as values of parameters have none.
    """
    size = draw(st.integers(3, 9))
    graph: Dag = nx.DiGraph()
    graph.add_nodes_from(range(size))
    for v in range(1, size):
        graph.add_edges_from((u, v) for u in draw(st.sets(st.integers(0, v - 1), max_size=3)))
    for v in range(size - 1):
        if graph.out_degree(v) == 0:
            graph.add_edge(v, draw(st.integers(v + 1, size - 1)))
    if not nx.has_path(graph, 0, size - 1):
        graph.add_edge(0, size - 1)
    return graph


def down_sets(graph: Dag) -> Iterator[DownSet]:
    for chosen in itertools.product([False, True], repeat=len(graph)):
        below = frozenset(v for v in graph if chosen[v])
        if all(u in below for v in below for u in graph.predecessors(v)):
            yield below


@given(dags())
def test_single_vertex_cuts_are_all_there_are(graph: Dag) -> None:
    sink = len(graph) - 1
    expected = {
        below for below in down_sets(graph) if 0 in below and sink not in below and len(crossing(graph, below)) == 1
    }
    found = single_vertex_cuts(graph, 0, sink)
    assert set(found) == expected
    assert all(a < b for a, b in itertools.pairwise(found))


@given(dags(), st.data())
def test_the_cheapest_cut_is_the_cheapest(graph: Dag, data: st.DataObject) -> None:
    sink = len(graph) - 1
    weights = [data.draw(st.integers(1, 9)) for _ in graph]
    lower = data.draw(st.sets(st.integers(0, sink - 1), min_size=1, max_size=3)) | {0}
    upper = data.draw(st.sets(st.integers(1, sink), max_size=2)) | {sink}

    def weight(below: DownSet) -> int:
        return sum(weights[v] for v in crossing(graph, below))

    possible = [below for below in down_sets(graph) if lower <= below and not upper & below]
    found = cheapest_cut(graph, lower, upper, weights.__getitem__)
    if not possible:
        assert found is None
        return
    assert found in possible
    assert weight(found) == min(map(weight, possible))


def test_a_residual_connection_has_no_cut_inside() -> None:
    graph: Dag = nx.DiGraph([(0, 1), (1, 2), (2, 3), (1, 3), (3, 4)])
    assert single_vertex_cuts(graph, 0, 4) == [frozenset({0}), frozenset({0, 1}), frozenset({0, 1, 2, 3})]


def test_a_cut_needs_all_that_came_before() -> None:
    graph: Dag = nx.DiGraph([(0, 2), (1, 2), (2, 3)])
    assert down_closure(graph, [2]) == {0, 1, 2}
    with pytest.raises(nx.NetworkXError):
        down_closure(graph, [7])
