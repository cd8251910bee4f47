"""The model as a graph of blocks with the tensors between them, and its valid cuts.

Nodes are blocks, edges carry what one block hands to the next. A cut is valid behind a block when the edges that cross
there are a single tensor and its companions (labels, mask), which for the families with a declared block list is
behind every block.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias, cast

import networkx as nx
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from runtime.data import head_size
from runtime.models.build import build_blocks, model_config
from runtime.split import SplitModel
from runtime.wire import Batch
from scenarios.errors import ProfileError
from scenarios.schema import Digits, ImageArchive, Scenario, TextTable

BlockGraph: TypeAlias = "nx.DiGraph[int]"
"""Blocks 1..L after the input, node 0."""


@dataclass(frozen=True)
class TracedModel:
    """A model of fake tensors and one fake batch: shapes and operators without memory.

    Parameters
    ----------
    model
        The split model, on fake tensors.
    batch
        One fake mini-batch of the scenario.
    fake_mode
        The mode that both live in.
    """

    model: SplitModel
    batch: Batch
    fake_mode: FakeTensorMode


def traced_model(scenario: Scenario) -> TracedModel:
    """Build the scenario's model and a mini-batch as fake tensors.

    Raises
    ------
    ScenarioError
        If the model cannot be built.
    """
    model = SplitModel(build_blocks(scenario, num_labels=head_size(scenario), meta=True))
    fake_mode = FakeTensorMode()
    with fake_mode:
        _materialise(model.whole)
        batch = _fake_batch(scenario)
    return TracedModel(model, batch, fake_mode)


def _materialise(module: nn.Module) -> None:
    """Replace meta tensors by fake CPU tensors, which some initialisers refuse to build directly."""
    for child in module.modules():
        for name, parameter in child._parameters.items():
            if parameter is not None:
                fake = torch.empty(parameter.shape, dtype=parameter.dtype)
                child._parameters[name] = nn.Parameter(fake, requires_grad=parameter.requires_grad)
        for name, buffer in child._buffers.items():
            if buffer is not None:
                child._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype)


def _fake_batch(scenario: Scenario) -> Batch:
    batch_size, data = scenario.training.batch_size, scenario.data
    if isinstance(data, (Digits, ImageArchive)):
        channels = int(getattr(model_config(scenario.model), "num_channels", 1))
        images = torch.empty(batch_size, channels, data.image_size, data.image_size)
        return Batch(images, torch.zeros(batch_size, dtype=torch.long))
    length = scenario.training.sequence_length
    assert length is not None
    tokens = torch.zeros(batch_size, length, dtype=torch.long)
    mask_BS = torch.ones(batch_size, length, dtype=torch.bool) if isinstance(data, TextTable) else None
    if scenario.model.task == "causal-lm":
        # A label tensor of its own where padding is masked out, the ids themselves otherwise: both cross the air.
        return Batch(tokens, torch.zeros_like(tokens), mask_BS)
    return Batch(tokens, torch.zeros(batch_size, dtype=torch.long), mask_BS)


def block_graph(traced: TracedModel) -> BlockGraph:
    """Return the chain of blocks.

    Node attributes: ``kind``, ``parameters``, ``trainable`` (counts). Edge attributes: ``shape`` and
    ``activation_bytes`` of the tensor that crosses, per step.

    Raises
    ------
    ProfileError
        If the model cannot be traced with this batch.
    """
    graph: BlockGraph = nx.DiGraph()
    x = traced.batch.inputs
    graph.add_node(0, kind="input", parameters=0, trainable=0)
    with traced.fake_mode, torch.no_grad():
        for position, block in enumerate(traced.model.whole.ordered(), start=1):
            graph.add_node(
                position,
                kind=type(block).__name__,
                parameters=sum(p.numel() for p in block.parameters()),
                trainable=sum(p.numel() for p in block.parameters() if p.requires_grad),
            )
            graph.add_edge(position - 1, position, shape=tuple(x.shape), activation_bytes=x.numel() * x.element_size())
            try:
                x = block(x, traced.batch.mask_BS)
            except Exception as error:  # whatever a model raises for a shape it cannot take
                raise ProfileError(
                    f"block {position} ({type(block).__name__}) cannot be traced with input "
                    f"{tuple(traced.batch.inputs.shape)}: {(str(error) or type(error).__name__).splitlines()[0]}; "
                    "likely image size, sequence length or model configuration do not fit together"
                ) from error
    graph.graph["logits_shape"] = tuple(x.shape)
    return graph


def valid_cuts(graph: BlockGraph) -> list[int]:
    """Return the cuts ``1..L``: behind every block whose removal of outgoing edges separates input from output.

    ``L`` leaves nothing to the server.
    """
    last = graph.number_of_nodes() - 1
    pairs = cast("Iterable[tuple[int, int]]", nx.bridges(graph.to_undirected()))
    bridges = {(min(pair), max(pair)) for pair in pairs}
    inner = [node for node in range(1, last) if (node, node + 1) in bridges]
    return [*inner, last]


def smashed_bytes(graph: BlockGraph, cut: int) -> int:
    """Bytes ``A`` of the activation at a cut, per step; 0 at the last cut, which nothing crosses."""
    if cut == graph.number_of_nodes() - 1:
        return 0
    return int(graph.edges[cut, cut + 1]["activation_bytes"])
