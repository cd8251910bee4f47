"""The best two-way split of a model whose blocks are a graph: a minimum cut (as DADS, arXiv 2005.02638, builds it).

On a chain of blocks it is the programme of two machines.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import networkx as nx

_Block = TypeVar("_Block", bound=Hashable)
_CLIENT, _SERVER, _OUTPUT = "client", "server", "output"


def split_of_graph(
    blocks: nx.DiGraph[_Block],
    client_s: Mapping[_Block, float],
    server_s: Mapping[_Block, float],
    sent_s: Mapping[_Block, float],
) -> tuple[float, frozenset[_Block]]:
    """Return the least seconds of computing and sending, and the blocks on the client.

    Parameters
    ----------
    blocks
        An edge from every block to those that read its output; a block without an edge into it reads the samples.
    client_s, server_s
        Seconds of every block on either machine; infinite where it may not run.
    sent_s
        Seconds of sending a block's output, once, whoever reads it. A block that stands for the samples has no seconds
        on the client and infinitely many on the server.
    """
    import networkx as nx

    flow: nx.DiGraph[tuple[str, object]] = nx.DiGraph()
    source, sink = (_CLIENT, None), (_SERVER, None)
    for block in blocks:
        here, output = ("block", block), (_OUTPUT, block)
        _add(flow, source, here, server_s[block])
        _add(flow, here, sink, client_s[block])
        _add(flow, here, output, sent_s[block])
        for reader in blocks.successors(block):
            flow.add_edge(output, ("block", reader))
            flow.add_edge(("block", reader), here)  # nothing comes back from the server
    value, (near, _) = nx.minimum_cut(flow, source, sink)
    return float(value), frozenset(block for block in blocks if ("block", block) in near)


def _add(flow: nx.DiGraph[tuple[str, object]], start: tuple[str, object], end: tuple[str, object], s: float) -> None:
    """Add an edge; networkx takes one without a capacity as unlimited."""
    if s < float("inf"):
        flow.add_edge(start, end, capacity=s)
    else:
        flow.add_edge(start, end)
