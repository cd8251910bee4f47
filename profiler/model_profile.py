"""All that choices cost on no device in particular: blocks, bytes, operators, peaks and gradient split."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch

from hybridsplit.profiler.availability import existing_cuts
from hybridsplit.profiler.compute import BlockCost, block_costs, signature
from hybridsplit.profiler.kernels import CPU_KERNELS
from hybridsplit.profiler.memory import (
    CudaMemory,
    chain_memory,
    client_memory,
    homogeneous_runs,
    peaks_of_run,
    server_memory,
)
from hybridsplit.profiler.memory.levels import recompute_levels
from hybridsplit.profiler.memory.recompute import RecomputePlanner
from hybridsplit.profiler.models import BlockGraph, TracedModel, block_graph, traced_model, valid_cuts, with_batch_size
from hybridsplit.profiler.progress import gradient_split, measured_noise_scale, measures_noise_scale
from hybridsplit.profiler.shapes import shapes_only
from hybridsplit.runtime.session.client import needs_row_ids
from hybridsplit.scenarios.contracts.modes import EXACT_MODES, Mode
from hybridsplit.scenarios.schema import Scenario

_ROW_ID_BYTES = 4
_FLOPS_PER_BYTE = 10.0
"""What moving a byte weighs in FLOPs when recomputation is planned, which no device has been chosen for yet; boards and
phones of the catalogue lie between 3 and 30."""

OnProgress = Callable[[str, float], None]


class Choice(NamedTuple):
    """A cut, a mode, and the order in which ``fo-recompute`` runs its blocks."""

    cut: int
    mode: Mode
    recompute: str = ""


@dataclass(frozen=True)
class BatchProfile:
    """All that does not depend on how fast a device is, at one batch size.

    Parameters
    ----------
    graph
        Chain of blocks with activation bytes.
    cuts
        Valid cuts, 1 to L.
    costs
        Per block.
    client_peak_bytes
        Client peak of live tensor bytes by choice; its keys are the choices that exist.
    server_peak_bytes
        Peak of a client's server copy by cut and mode.
    forwards
        How often each block below the cut runs forward, for choices that recompute.
    label_bytes, mask_bytes, row_id_bytes
        Bytes of the labels of a batch, of its attention mask, and of its token ids.
    row_ids_needed
        Cuts and modes whose zeroth-order update needs token ids at the server.
    cuda_peak_bytes
        Client peaks on CUDA devices that a scenario names, by device and choice.
    """

    graph: BlockGraph
    cuts: tuple[int, ...]
    costs: tuple[BlockCost, ...]
    client_peak_bytes: dict[Choice, int]
    server_peak_bytes: dict[tuple[int, Mode], int]
    forwards: dict[Choice, tuple[int, ...]]
    label_bytes: int
    mask_bytes: int
    row_id_bytes: int
    row_ids_needed: frozenset[tuple[int, Mode]]
    cuda_peak_bytes: dict[CudaMemory, dict[Choice, int]] = field(default_factory=dict)

    @property
    def num_blocks(self) -> int:
        """Number of blocks L."""
        return len(self.costs)

    def num_trainable_below(self, cut: int) -> int:
        """Trainable scalars of the client part."""
        return sum(cost.num_trainable for cost in self.costs[:cut])

    def exchanged_bytes(self, cut: int, prefix_blocks: int) -> int:
        """Bytes of the client part that travel between rounds: all but those of blocks that are never sent again."""
        return sum(cost.exchanged_bytes for cost in self.costs[prefix_blocks:cut])

    def recomputes(self, choice: Choice) -> bool:
        """Whether a choice is other than ``fo`` in work: all but the orders that run every block once."""
        return choice not in self.forwards or max(self.forwards[choice]) > 1

    def peaks_on(self, cuda: CudaMemory | None) -> dict[Choice, int]:
        """Return the client peaks on a kind of device.

        Raises
        ------
        KeyError
            If that CUDA device was not profiled.
        """
        return self.client_peak_bytes if cuda is None else self.cuda_peak_bytes[cuda]


@dataclass(frozen=True)
class ModelProfile:
    """All that does not depend on how fast a device is.

    Parameters
    ----------
    split
        Share of the squared gradient norm per block.
    by_batch_size
        What depends on the batch, smallest first.
    noise_scale
        Gradient noise scale, samples; None where it was not measured.
    """

    split: np.ndarray
    by_batch_size: dict[int, BatchProfile]
    noise_scale: float | None = None


def profile_model(
    scenario: Scenario, on_progress: OnProgress = lambda what, share: None, cuda_devices: Iterable[CudaMemory] = ()
) -> ModelProfile:
    """Trace the scenario's model: blocks, bytes, operators and peaks at every batch size, and gradient split.

    Parameters
    ----------
    scenario
        The scenario.
    on_progress
        Called with what is being done and the share done.
    cuda_devices
        CUDA devices whose allocator and kernels are to be followed as well.

    Raises
    ------
    ScenarioError, ProfileError
        If the model cannot be built or traced, or the scenario leaves no option.
    """
    on_progress("building the model from shapes", 0.0)
    traced = traced_model(scenario)
    devices = list(cuda_devices)
    sizes = scenario.training.candidate_batch_sizes
    by_batch_size: dict[int, BatchProfile] = {}
    for position, size in enumerate(sizes):
        show = _one_of(len(sizes), position, size, on_progress)
        by_batch_size[size] = _profile_at(with_batch_size(traced, scenario, size), scenario, show, devices)
    split = gradient_split(scenario, by_batch_size[sizes[0]].costs)
    measured = measured_noise_scale(scenario) if measures_noise_scale(scenario) else None
    on_progress("done", 1.0)
    return ModelProfile(split, by_batch_size, measured)


def _one_of(num_sizes: int, position: int, batch_size: int, on_progress: OnProgress) -> OnProgress:
    """Progress of one batch size as part of the whole."""

    def show(what: str, share: float) -> None:
        what = f"{what}, batches of {batch_size}" if num_sizes > 1 else what
        on_progress(what, (position + share) / num_sizes)

    return show


def _profile_at(
    traced: TracedModel, scenario: Scenario, on_progress: OnProgress, cuda_devices: Iterable[CudaMemory]
) -> BatchProfile:
    """Trace a model at the size of its batch."""
    graph = block_graph(traced)
    cuts = tuple(valid_cuts(graph))
    on_progress("counting operators", 0.05)
    costs = tuple(block_costs(traced, scenario))
    tracer = _Tracer(traced, scenario, cuts, costs)
    peaks: dict[Choice, int] = {}
    forwards: dict[Choice, tuple[int, ...]] = {}
    server: dict[tuple[int, Mode], int] = {}
    modes = scenario.training.modes
    for position, (mode, its_cuts) in enumerate(existing_cuts(cuts, costs, scenario.training).items()):
        on_progress(f"tracing memory of {mode}", 0.1 + 0.8 * position / len(modes))
        if mode is Mode.FO_RECOMPUTE:
            peaks |= tracer.recomputing(its_cuts, forwards)
        else:
            peaks |= {Choice(cut, mode): size for cut, size in tracer.client_peaks(its_cuts, mode).items()}
        server |= {(cut, mode): size for cut, size in tracer.server_peaks(its_cuts, mode).items()}
    on_cuda: dict[CudaMemory, dict[Choice, int]] = {}
    for cuda in cuda_devices:
        on_progress("following the CUDA allocator", 0.9)
        on_cuda[cuda] = {choice: client_memory(traced, scenario, *choice, cuda).peak_bytes for choice in peaks}
    batch = traced.batch
    is_language = scenario.model.task == "causal-lm"
    needed = {
        (cut, mode)
        for cut, mode, _ in peaks
        if needs_row_ids(traced.model.client_part(cut), mode, labels_name_rows=is_language and cut < len(costs))
    }
    return BatchProfile(
        graph=graph,
        cuts=cuts,
        costs=costs,
        client_peak_bytes=peaks,
        server_peak_bytes=server,
        forwards=forwards,
        label_bytes=batch.labels.numel() * batch.labels.element_size(),
        mask_bytes=0 if batch.mask_BS is None else batch.mask_BS.numel() * batch.mask_BS.element_size(),
        row_id_bytes=batch.inputs.numel() * _ROW_ID_BYTES,
        row_ids_needed=frozenset(needed),
        cuda_peak_bytes=on_cuda,
    )


class _Tracer:
    """Peaks of all cuts, tracing as few of them as exactness allows."""

    def __init__(
        self, traced: TracedModel, scenario: Scenario, cuts: Sequence[int], costs: Sequence[BlockCost]
    ) -> None:
        self._traced = traced
        self._scenario = scenario
        self._signatures = dict(zip(range(1, len(costs) + 1), _signatures(traced), strict=True))
        self._costs = costs
        self._server_known: dict[tuple[bool, bool], dict[int, int]] = {}
        self._cuts = cuts

    def client_peaks(self, cuts: Sequence[int], mode: Mode) -> dict[int, int]:
        """Client peaks of a mode without an order."""
        return self._composed(cuts, lambda cut: client_memory(self._traced, self._scenario, cut, mode).peak_bytes)

    def recomputing(self, cuts: Sequence[int], forwards: dict[Choice, tuple[int, ...]]) -> dict[Choice, int]:
        """Client peaks of every recompute level; fills in how often each runs its blocks."""
        peaks: dict[Choice, int] = {}
        chain = chain_memory(self._traced, self._scenario)
        work = [cost.forward.total_flops + _FLOPS_PER_BYTE * cost.forward.total_bytes for cost in self._costs]
        planner = RecomputePlanner(chain, work)
        for cut in cuts:
            if chain.first_trained(cut) > cut:
                peaks[Choice(cut, Mode.FO_RECOMPUTE)] = self.client_peaks([cut], Mode.FO_RECOMPUTE)[cut]
                continue
            for level in recompute_levels(chain, planner, work, cut, self._scenario.training.local_steps):
                choice = Choice(cut, Mode.FO_RECOMPUTE, level.recompute)
                peaks[choice] = level.peak_bytes
                forwards[choice] = level.forwards
        return peaks

    def server_peaks(self, cuts: Sequence[int], mode: Mode) -> dict[int, int]:
        """Peaks of the server copy; modes that ask the same of the server share them."""
        asks = mode is Mode.ZO_LOSS, mode in EXACT_MODES | {Mode.ZO_PROJECTION}
        known = self._server_known.setdefault(asks, {})
        missing = [cut for cut in cuts if cut not in known]
        known |= self._composed(missing, lambda cut: server_memory(self._traced, self._scenario, cut, mode).peak_bytes)
        return {cut: known[cut] for cut in cuts}

    def _composed(self, cuts: Sequence[int], peak: Callable[[int], int]) -> dict[int, int]:
        found: dict[int, int] = {}
        for run in homogeneous_runs(cuts, [self._signatures[cut] for cut in cuts]):
            found |= peaks_of_run(run, peak)
        return found


def _signatures(traced: TracedModel) -> list[Hashable]:
    result: list[Hashable] = []
    x = traced.batch.inputs
    last = traced.model.num_blocks - 1
    with shapes_only(CPU_KERNELS, traced.memo), torch.no_grad():
        for index, block in enumerate(traced.model.whole.ordered()):
            result.append(signature(block, x, is_last=index == last))
            x = block(x, traced.batch.mask_BS)
    return result
