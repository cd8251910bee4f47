"""Profile a model on no device in particular: blocks, bytes, operators, peaks and gradient split."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from hybridsplit.profiler.availability import existing_cuts
from hybridsplit.profiler.batch_worth import measures_noise_scale
from hybridsplit.profiler.compute import block_costs, block_signatures, head_costs
from hybridsplit.profiler.costs import BlockCost
from hybridsplit.profiler.cuda_memory import CudaMemory
from hybridsplit.profiler.half_precision import kept_shares
from hybridsplit.profiler.memory import (
    MemoryBreakdown,
    chain_memory,
    client_memory,
    homogeneous_runs,
    peaks_of_run,
    server_memory,
)
from hybridsplit.profiler.memory.composed import ComposedPeaks
from hybridsplit.profiler.memory.falls import falls_of
from hybridsplit.profiler.memory.levels import recompute_levels
from hybridsplit.profiler.memory.recompute import RecomputePlanner
from hybridsplit.profiler.micro_batches import check_statistics, costs_of_parts, in_micro_batches
from hybridsplit.profiler.models import (
    TracedModel,
    block_graph,
    smashed_bytes,
    traced_model,
    valid_cuts,
    with_batch_size,
)
from hybridsplit.profiler.profiles import BatchProfile, Choice, FallOrder, ModelProfile, OnProgress
from hybridsplit.profiler.progress import gradient_split, measured_noise_scale
from hybridsplit.profiler.three_parts import check_heads, in_three_parts
from hybridsplit.runtime.session.row_ids import needs_row_ids
from hybridsplit.scenarios.modes import MODES, Asks
from hybridsplit.scenarios.modes.loss_probes import LossProbes
from hybridsplit.scenarios.schema import Scenario

_ROW_ID_BYTES = 4
_FLOPS_PER_BYTE = 10.0
"""What moving a byte weighs in FLOPs when recomputation is planned, which no device has been chosen for yet; boards and
phones of the catalogue lie between 3 and 30."""


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
    check_statistics(traced, "training.overlap.micro_batches", scenario.training.overlap.micro_batches)
    devices = list(cuda_devices)
    sizes = scenario.training.candidate_batch_sizes
    by_batch_size: dict[int, BatchProfile] = {}
    for position, size in enumerate(sizes):
        show = _one_of(len(sizes), position, size, on_progress)
        by_batch_size[size] = _profile_at(with_batch_size(traced, scenario, size), scenario, show, devices)
    on_progress("how the gradient divides over the blocks", 0.9)
    split = gradient_split(scenario, by_batch_size[sizes[0]].costs)
    measured = measured_noise_scale(scenario) if measures_noise_scale(scenario) else None
    on_progress("done", 1.0)
    return ModelProfile(split, by_batch_size, measured, kept_shares(scenario))


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
    on_progress(f"counting operators of {graph.number_of_nodes() - 1} blocks", 0.05)
    costs = tuple(block_costs(traced, scenario))
    tracer = _Tracer(traced, scenario, cuts, costs)
    peaks: dict[Choice, int] = {}
    forwards: dict[Choice, tuple[int, ...]] = {}
    gaps: dict[Choice, float] = {}
    server: dict[tuple[int, str, int, int], int] = {}
    trains = [any(cost.num_trainable for cost in costs[:cut]) for cut in range(len(costs) + 1)]
    modes = scenario.training.modes
    for position, (mode, its_cuts) in enumerate(existing_cuts(cuts, costs, scenario.training).items()):
        tracer.on_cut = _cuts_shown(on_progress, f"client memory of {mode}", 2 * position, 2 * len(modes), len(costs))
        if MODES[mode].has_recompute_orders:
            peaks |= tracer.recomputing(its_cuts, mode, forwards, gaps)
        else:
            # The first step of a round sends whatever the rest do, and holds the most.
            every = scenario.training.local_loss.of_mode(mode)
            found = tracer.client_peaks(its_cuts, mode).items()
            peaks |= {Choice(cut, mode, upload_every=q): size for cut, size in found for q in every}
        peaks = tracer.with_overlap(peaks, mode, trains)
        peaks = in_three_parts(peaks, mode, scenario.training, cuts, partial(tracer.peaks_with_head, mode))
        peaks = in_micro_batches(peaks, mode, scenario.training, trains, partial(tracer.peaks_in_parts, mode))
        for choice in (c for c in peaks if c.mode == mode):
            plain = choice._replace(staleness=0, head_blocks=0, micro_batches=1)
            forwards |= {choice: forwards[plain]} if plain in forwards else {}
            gaps |= {choice: gaps[plain]} if plain in gaps else {}
        tracer.on_cut = _cuts_shown(
            on_progress, f"server memory of {mode}", 2 * position + 1, 2 * len(modes), len(costs)
        )
        of_mode = [choice for choice in peaks if choice.mode == mode]
        for kind in sorted({(choice.head_blocks, choice.micro_batches) for choice in of_mode}):
            at = sorted({c.cut for c in of_mode if (c.head_blocks, c.micro_batches) == kind})
            server |= {(cut, mode, *kind): size for cut, size in tracer.server_peaks(at, mode, *kind).items()}
    check_heads(peaks, scenario.training, len(costs))
    on_cuda: dict[CudaMemory, dict[Choice, int]] = {}
    for cuda in cuda_devices:
        on_cuda[cuda] = {}
        for position, choice in enumerate(peaks, start=1):
            on_progress(f"following the CUDA allocator: choice {position} of {len(peaks)}", 0.9)
            _, heads, parts = choice[4:]
            memory = client_memory(traced, scenario, *choice[:4], cuda, head_blocks=heads, micro_batches=parts)
            on_cuda[cuda][choice] = memory.peak_bytes
    batch = traced.batch
    is_language = scenario.model.task == "causal-lm"
    needed = {
        (cut, mode)
        for cut, mode, *_ in peaks
        if needs_row_ids(traced.model.client_part(cut), mode, labels_name_rows=is_language and cut < len(costs))
    }
    return BatchProfile(
        smashed_bytes=tuple(smashed_bytes(graph, cut) for cut in range(1, len(costs) + 1)),
        cuts=cuts,
        costs=costs,
        costs_of_parts=costs_of_parts(traced, scenario, len(batch.labels)),
        client_peak_bytes=peaks,
        server_peak_bytes=server,
        forwards=forwards,
        label_bytes=batch.labels.numel() * batch.labels.element_size(),
        mask_bytes=0 if batch.mask_BS is None else batch.mask_BS.numel() * batch.mask_BS.element_size(),
        row_id_bytes=batch.inputs.numel() * _ROW_ID_BYTES,
        row_ids_needed=frozenset(needed),
        cuda_peak_bytes=on_cuda,
        falls=tracer.falls,
        recompute_gaps=gaps,
        heads=tuple(head_costs(traced, scenario)),
    )


def _cuts_shown(
    on_progress: OnProgress, what: str, position: int, num_stages: int, num_blocks: int
) -> Callable[[int], None]:
    """Return what shows the cut that is being traced; a stage traces its cuts in an order of its own."""
    traced: set[int] = set()

    def show(cut: int) -> None:
        traced.add(cut)
        share = 0.1 + 0.8 * (position + (len(traced) - 1) / num_blocks) / num_stages
        on_progress(f"{what} ({position + 1} of {num_stages}), cut {cut} of {num_blocks}", share)

    return show


class _Tracer:
    """Peaks of all cuts, composed from single blocks, or traced at as few cuts as exactness allows."""

    def __init__(
        self, traced: TracedModel, scenario: Scenario, cuts: Sequence[int], costs: Sequence[BlockCost]
    ) -> None:
        self._traced = traced
        self._scenario = scenario
        self._signatures = dict(zip(range(1, len(costs) + 1), block_signatures(traced), strict=True))
        self._costs = costs
        self._of_blocks = ComposedPeaks(traced, scenario)
        self._server_known: dict[tuple[Asks, LossProbes | None, int, int], dict[int, int]] = {}
        self._cuts = cuts
        self._moves = any(group.memory_trace is not None for group in scenario.clients)
        self.falls: dict[Choice, tuple[FallOrder, ...]] = {}
        self.on_cut: Callable[[int], None] = lambda cut: None

    def client_peaks(self, cuts: Sequence[int], mode: str) -> dict[int, int]:
        """Client peaks of a mode without an order."""
        return self._peaks(
            cuts,
            lambda cut: self._of_blocks.client_peak_bytes(cut, mode),
            lambda cut: client_memory(self._traced, self._scenario, cut, mode),
        )

    def recomputing(
        self,
        cuts: Sequence[int],
        mode: str,
        forwards: dict[Choice, tuple[int, ...]],
        gaps: dict[Choice, float],
    ) -> dict[Choice, int]:
        """Client peaks of every recompute level; fills in how often each runs its blocks, and gaps where there are."""
        peaks: dict[Choice, int] = {}
        chain = chain_memory(self._traced, self._scenario)
        work = [cost.forward.total_flops + _FLOPS_PER_BYTE * cost.forward.total_bytes for cost in self._costs]
        # Falls have a planner of their own: its limit must not change which levels are found.
        planner, planner_of_falls = RecomputePlanner(chain, work), RecomputePlanner(chain, work)
        steps = self._scenario.training.local_steps
        for cut in cuts:
            self.on_cut(cut)
            if chain.first_trained(cut) > cut:
                peaks[Choice(cut, mode)] = self.client_peaks([cut], mode)[cut]
                continue
            levels = recompute_levels(chain, planner, work, cut, steps)
            for level in levels:
                choice = Choice(cut, mode, level.recompute)
                peaks[choice] = level.peak_bytes
                forwards[choice] = level.forwards
                if self._moves and cut < len(self._costs):
                    lower = [other.peak_bytes for other in levels if other.peak_bytes < level.peak_bytes]
                    self.falls[choice] = falls_of(chain, planner_of_falls, work, cut, level, lower, steps)
                if level.gap > 0:
                    gaps[choice] = level.gap
        return peaks

    def with_overlap(self, peaks: dict[Choice, int], mode: str, trains: Sequence[bool]) -> dict[Choice, int]:
        """Offer the choices of a mode at every staleness that the scenario lists, where its steps can overlap.

        That is where a server part answers, and the client has something to train.
        """
        overlap = self._scenario.training.overlap
        if overlap.most == 0 or overlap.gradient not in MODES[mode].overlaps:
            return peaks
        able = [c for c in peaks if c.mode == mode and c.cut < len(self._costs) and trains[c.cut]]
        found = {c: size for c, size in peaks.items() if c not in able or 0 in overlap.staleness}
        orders: dict[str, list[int]] = {}
        for choice in able:
            orders.setdefault(choice.recompute, []).append(choice.cut)
        for staleness in (d for d in overlap.of_mode(mode) if d > 0):
            for recompute, cuts in orders.items():

                def memory(cut: int, recompute: str = recompute, staleness: int = staleness) -> MemoryBreakdown:
                    return client_memory(self._traced, self._scenario, cut, mode, recompute, staleness)

                for cut, size in self._traced_at(cuts, memory).items():
                    found[Choice(cut, mode, recompute, staleness)] = size
        return found

    def peaks_in_parts(self, mode: str, cuts: Sequence[int], recompute: str, micro_batches: int) -> dict[int, int]:
        """Client peaks of a mode, in a recompute order, with batches in parts."""

        def memory(cut: int) -> MemoryBreakdown:
            return client_memory(self._traced, self._scenario, cut, mode, recompute, micro_batches=micro_batches)

        return self._traced_at(cuts, memory)

    def peaks_with_head(self, mode: str, cuts: Sequence[int], recompute: str, head_blocks: int) -> dict[int, int]:
        """Client peaks of a mode, in a recompute order, with the head on the client."""

        def memory(cut: int) -> MemoryBreakdown:
            return client_memory(self._traced, self._scenario, cut, mode, recompute, head_blocks=head_blocks)

        return self._traced_at(cuts, memory)

    def server_peaks(self, cuts: Sequence[int], mode: str, head_blocks: int, micro_batches: int) -> dict[int, int]:
        """Peaks of the server copy; modes that ask the same of the server share them."""
        probes = MODES[mode].probes(self._scenario.training.zeroth_order, on_device=False)
        known = self._server_known.setdefault((MODES[mode].asks, probes, head_blocks, micro_batches), {})

        def from_blocks(cut: int) -> int | None:
            return None if head_blocks or micro_batches > 1 else self._of_blocks.server_peak_bytes(cut, mode)

        def memory(cut: int) -> MemoryBreakdown:
            return server_memory(
                self._traced, self._scenario, cut, mode, head_blocks=head_blocks, micro_batches=micro_batches
            )

        known |= self._peaks([cut for cut in cuts if cut not in known], from_blocks, memory)
        return {cut: known[cut] for cut in cuts}

    def _peaks(
        self, cuts: Sequence[int], composed: Callable[[int], int | None], memory: Callable[[int], MemoryBreakdown]
    ) -> dict[int, int]:
        """Return the peaks that follow from single blocks, and traces of the other cuts."""
        found: dict[int, int] = {}
        for cut in cuts:
            self.on_cut(cut)
            size = composed(cut)
            found |= {} if size is None else {cut: size}
        found |= self._traced_at([cut for cut in cuts if cut not in found], memory)
        # Rows of the option table keep the order in which cuts are traced.
        return {cut: found[cut] for run in self._runs(cuts) for cut in run}

    def _traced_at(self, cuts: Sequence[int], memory: Callable[[int], MemoryBreakdown]) -> dict[int, int]:
        def peak(cut: int) -> int:
            self.on_cut(cut)
            return memory(cut).peak_bytes

        found: dict[int, int] = {}
        for run in self._runs(cuts):
            found |= peaks_of_run(run, peak)
        return found

    def _runs(self, cuts: Sequence[int]) -> list[list[int]]:
        return homogeneous_runs(cuts, [self._signatures[cut] for cut in cuts])
