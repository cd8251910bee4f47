"""Where few vertices of a directed acyclic graph separate its source from its sink.

A cut is a set of vertices that contains all predecessors of its members (a down-set): what has been computed below
the cut. What crosses it are the members with a successor outside.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TypeAlias

import networkx as nx

Dag: TypeAlias = "nx.DiGraph[int]"
DownSet: TypeAlias = frozenset[int]


def crossing(graph: Dag, below: DownSet) -> list[int]:
    """Return the members of a down-set that have a successor outside it, in rising order."""
    return sorted(v for v in below if any(u not in below for u in graph.successors(v)))


def down_closure(graph: Dag, vertices: Iterable[int]) -> DownSet:
    """Return the vertices and all their ancestors."""
    found = set(vertices)
    waiting = list(found)
    while waiting:
        fresh = [u for u in graph.predecessors(waiting.pop()) if u not in found]
        found.update(fresh)
        waiting += fresh
    return frozenset(found)


def single_vertex_cuts(graph: Dag, source: int, sink: int) -> list[DownSet]:
    """Return every cut that a single vertex crosses, smallest first.

    The vertex lies on all paths from source to sink, hence dominates the sink, and the cut is the vertex with its
    ancestors. Vertices without predecessors other than the source (values of parameters alone) may add a second
    crossing; such dominators are left out.

    Parameters
    ----------
    graph
        Every vertex reaches the sink.
    source, sink
        The source is below every cut, the sink above.
    """
    dominators = nx.immediate_dominators(graph, source)
    cuts: list[DownSet] = []
    vertex = sink
    while vertex != source:
        vertex = dominators[vertex]
        below = down_closure(graph, [vertex])
        if crossing(graph, below) == [vertex]:
            cuts.append(below)
    return cuts[::-1]


def cheapest_cut(
    graph: Dag, below: Collection[int], above: Collection[int], weight: Callable[[int], int]
) -> DownSet | None:
    """Return the cut whose crossing vertices weigh least, or None if no cut is between the two sets.

    A minimum cut of a flow network (Picard's closure construction): each vertex pays its weight once, however many
    successors are above.

    Parameters
    ----------
    graph
        The graph.
    below, above
        Vertices that must and must not be members.
    weight
        Positive weight of a vertex.
    """
    certain = down_closure(graph, below)
    out_of_reach = down_closure(graph.reverse(copy=False), above)
    if certain & out_of_reach:
        return None
    open_to_choice = set(graph) - certain - out_of_reach
    network: nx.DiGraph[tuple[str, int]] = nx.DiGraph()
    source, sink = ("source", 0), ("sink", 0)
    network.add_nodes_from([source, sink])
    for v in [*crossing(graph, certain), *open_to_choice]:
        # The value of v stays below only if all successors do; otherwise the edge of its weight is cut.
        network.add_edge(("vertex", v), ("value", v), capacity=weight(v))
        for u in graph.successors(v):
            network.add_edge(("value", v), sink if u in out_of_reach else ("vertex", u))
        if v in certain:
            network.add_edge(source, ("vertex", v))
        else:
            for u in graph.predecessors(v):
                network.add_edge(("vertex", v), ("vertex", u))
    _, (reached, _) = nx.minimum_cut(network, source, sink)
    return certain | {v for name, v in reached if name == "vertex"}
