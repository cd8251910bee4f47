"""The model as a graph of blocks with the tensors between them, and its valid cuts.

Nodes are blocks, edges carry what one block passes to the next. A cut is valid behind a block when the edges that cross
there are a single tensor and its companions (labels, mask), which is so behind every block: blocks are declared, or cut
out of a recorded forward pass, such that one tensor crosses (several are packed into one,
``hybridsplit.runtime.models.traced``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TypeAlias, cast

import networkx as nx
import torch

from hybridsplit.profiler.kernels import CPU_KERNELS
from hybridsplit.profiler.shapes import ShapeMemo, shapes_only
from hybridsplit.runtime.data.sources import load_dataset, model_blocks, sample_of, states_shapes
from hybridsplit.runtime.data.split_models import batch_like
from hybridsplit.runtime.models.configuration import is_of_shapes
from hybridsplit.runtime.models.facts import Sample
from hybridsplit.runtime.split.link import Batch
from hybridsplit.runtime.split.local_heads import local_heads
from hybridsplit.runtime.split.parts import SplitModel
from hybridsplit.scenarios.errors import ProfileError, ScenarioError
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.sections.local_loss import local_modes

BlockGraph: TypeAlias = "nx.DiGraph[int]"
"""Blocks 1..L after the input, node 0."""


@dataclass(frozen=True)
class TracedModel:
    """A model of shapes and one batch of shapes, both on the meta device: operators without memory.

    Parameters
    ----------
    model
        The split model.
    batch
        One mini-batch.
    memo
        Shapes of operators met so far. Attention is not among them, so that one serves all kernels.
    sample
        What the data's samples are like, where the scenario does not state it.
    """

    model: SplitModel
    batch: Batch
    memo: ShapeMemo = field(default_factory=ShapeMemo)
    sample: Sample | None = None


def traced_model(scenario: Scenario) -> TracedModel:
    """Build the scenario's model and a mini-batch of ``training.batch_size`` as shapes.

    Raises
    ------
    ScenarioError
        If the model cannot be built.
    """
    dataset = None if states_shapes(scenario) else load_dataset(scenario)
    blocks = model_blocks(scenario, meta=True, dataset=dataset)
    sample = sample_of(scenario, dataset)
    traced = TracedModel(SplitModel(blocks), _batch(scenario, scenario.training.batch_size, sample), sample=sample)
    if not local_modes(scenario.training.modes):
        return traced
    block_graph(traced)  # says what is wrong where the model does not run on these shapes
    with shapes_only(CPU_KERNELS, traced.memo):
        heads = local_heads(blocks, traced.batch, scenario)
    return replace(traced, model=SplitModel(blocks, heads))


def with_batch_size(traced: TracedModel, scenario: Scenario, batch_size: int) -> TracedModel:
    """Return the same model with a mini-batch of another size; shapes that are known already are kept.

    Parameters
    ----------
    traced, scenario
        The model as shapes, and the scenario it was built for.
    batch_size
        Samples of the mini-batch.
    """
    return replace(traced, batch=_batch(scenario, batch_size, traced.sample))


def _batch(scenario: Scenario, batch_size: int, sample: Sample | None) -> Batch:
    return batch_like(scenario, batch_size, sample, torch.device("meta"))


def block_graph(traced: TracedModel) -> BlockGraph:
    """Return the chain of blocks.

    Node attributes: ``kind``, ``parameters``, ``trainable`` (counts). Edge attributes: ``shape`` and
    ``activation_bytes`` of the tensor that crosses, per step.

    Raises
    ------
    ScenarioError
        If the batch leaves a BatchNorm one value a channel, or shapes do not go together.
    ProfileError
        If the model cannot be traced with this batch for another reason.
    """
    graph: BlockGraph = nx.DiGraph()
    x = traced.batch.inputs
    graph.add_node(0, kind="input", parameters=0, trainable=0)
    with shapes_only(CPU_KERNELS, traced.memo), torch.no_grad():
        for position, block in enumerate(traced.model.whole.ordered(), start=1):
            graph.add_node(
                position,
                kind=block.kind,
                parameters=sum(p.numel() for p in block.parameters()),
                trainable=sum(p.numel() for p in block.parameters() if p.requires_grad),
            )
            graph.add_edge(position - 1, position, shape=tuple(x.shape), activation_bytes=x.numel() * x.element_size())
            try:
                x = block(x, traced.batch.mask_BS)
            except Exception as error:  # whatever a model raises for a shape it cannot take
                if "more than 1 value per channel" in str(error):
                    raise _too_small_for_batch_norm(traced.batch, position, block.kind) from error
                said = (str(error) or type(error).__name__).splitlines()[0]
                kind = ScenarioError if is_of_shapes(said) else ProfileError
                raise kind(
                    f"block {position} ({block.kind}) cannot be traced with input "
                    f"{tuple(traced.batch.inputs.shape)}: {said}; "
                    "likely image size, sequence length or model configuration do not fit together"
                ) from error
    graph.graph["logits_shape"] = tuple(x.shape)
    return graph


def _too_small_for_batch_norm(batch: Batch, position: int, kind: str) -> ScenarioError:
    size = batch.inputs.shape[0]
    return ScenarioError(
        f"training.batch_size, training.batch_sizes: found {size}, with inputs of {tuple(batch.inputs.shape[1:])}; the "
        f"BatchNorm of block {position} ({kind}) gets one value a channel then, which has no variance to train with: "
        "use a batch size of at least 2 everywhere, or larger images (data.image_size)"
    )


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
