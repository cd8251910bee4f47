"""The option table: every cut and mode of every client, with all costs of a round.

Profiled per model, batch and kind of device, never per client, so that a thousand clients cost no more than one of
each kind.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from profiler.attention import cpu_attention
from profiler.compute import BlockCost, block_costs, signature
from profiler.memory import client_memory, homogeneous_runs, peaks_of_run
from profiler.mode_costs import BlockSeconds, Clock, client_step_s, server_step_s, step_bytes
from profiler.models import BlockGraph, TracedModel, block_graph, smashed_bytes, traced_model, valid_cuts
from profiler.operators import OperatorCost
from profiler.progress import gradient_split
from profiler.roofline import check_can_train, seconds
from profiler.shapes import shapes_only
from runtime.client import needs_row_ids
from runtime.reliability import reliability
from scenarios.contracts.modes import EXACT_MODES, LOCAL_MODES, ZEROTH_ORDER_MODES, Mode
from scenarios.contracts.options import OPTION_COLUMNS, OptionTable
from scenarios.devices import Device, find_device
from scenarios.schema import Client, Scenario, Server

_ROW_ID_BYTES = 4


@dataclass(frozen=True)
class ModelProfile:
    """All that does not depend on a device.

    Parameters
    ----------
    graph
        Chain of blocks with activation bytes.
    cuts
        Valid cuts, 1 to L.
    costs
        Per block.
    split
        Share of the squared gradient norm per block.
    peak_bytes
        Client peak by cut and mode; its keys are the options that exist.
    label_bytes, row_id_bytes
        Bytes of labels and mask of a batch, and of its token ids.
    row_ids_needed
        Options whose zeroth-order update needs token ids at the server.
    """

    graph: BlockGraph
    cuts: tuple[int, ...]
    costs: tuple[BlockCost, ...]
    split: np.ndarray
    peak_bytes: dict[tuple[int, Mode], int]
    label_bytes: int
    row_id_bytes: int
    row_ids_needed: frozenset[tuple[int, Mode]]

    @property
    def num_blocks(self) -> int:
        """Number of blocks L."""
        return len(self.costs)

    def num_trainable_below(self, cut: int) -> int:
        """Trainable scalars of the client part."""
        return sum(cost.num_trainable for cost in self.costs[:cut])


def profile_model(
    scenario: Scenario, on_progress: Callable[[str, float], None] = lambda what, share: None
) -> ModelProfile:
    """Trace the scenario's model: blocks, bytes, operators, peaks and gradient split.

    Parameters
    ----------
    scenario
        The scenario.
    on_progress
        Called with what is being done and the share done.

    Raises
    ------
    ScenarioError, ProfileError
        If the model cannot be built or traced.
    """
    on_progress("building the model from shapes", 0.0)
    traced = traced_model(scenario)
    graph = block_graph(traced)
    cuts = tuple(valid_cuts(graph))
    on_progress("counting operators", 0.05)
    costs = tuple(block_costs(traced, scenario))
    split = gradient_split(scenario, costs)
    peaks: dict[tuple[int, Mode], int] = {}
    modes = scenario.training.modes
    for position, mode in enumerate(modes):
        on_progress(f"tracing memory of {mode}", 0.1 + 0.9 * position / len(modes))
        existing = [cut for cut in cuts if _exists(mode, cut, costs, modes)]
        peaks |= {(cut, mode): size for cut, size in _peaks(traced, scenario, existing, mode).items()}
    on_progress("done", 1.0)
    batch = traced.batch
    is_language = scenario.model.task == "causal-lm"
    label_bytes = sum(t.numel() * t.element_size() for t in (batch.labels, batch.mask_BS) if t is not None)
    needed = {
        (cut, mode)
        for cut, mode in peaks
        if needs_row_ids(traced.model.client_part(cut), mode, labels_name_rows=is_language and cut < len(costs))
    }
    row_id_bytes = batch.inputs.numel() * _ROW_ID_BYTES
    return ModelProfile(graph, cuts, costs, split, peaks, label_bytes, row_id_bytes, frozenset(needed))


def _exists(mode: Mode, cut: int, costs: Sequence[BlockCost], modes: Sequence[Mode]) -> bool:
    """Whether an option exists: some modes need a server part, others something to train."""
    if cut == len(costs) and mode not in LOCAL_MODES:
        return False
    if any(cost.num_trainable for cost in costs[:cut]):
        return True
    # With nothing to train below the cut every mode is one forward pass: the first exact one, or frozen, stands in.
    stand_ins = [m for m in modes if m in EXACT_MODES or m is Mode.FROZEN]
    return mode not in ZEROTH_ORDER_MODES and mode is stand_ins[0]


def _peaks(traced: TracedModel, scenario: Scenario, cuts: Sequence[int], mode: Mode) -> dict[int, int]:
    signatures = _signatures(traced)
    runs = homogeneous_runs(cuts, [signatures[cut - 1] for cut in cuts])
    found: dict[int, int] = {}
    for run in runs:
        found |= peaks_of_run(run, lambda cut: client_memory(traced, scenario, cut, mode).peak_bytes)
    return found


def _signatures(traced: TracedModel) -> list[Hashable]:
    result: list[Hashable] = []
    x = traced.batch.inputs
    last = traced.model.num_blocks - 1
    with shapes_only(cpu_attention, traced.memo):
        for index, block in enumerate(traced.model.whole.ordered()):
            result.append(signature(block, x, is_last=index == last))
            x = block(x, traced.batch.mask_BS).detach()
    return result


def build_options(scenario: Scenario, profile: ModelProfile) -> OptionTable:
    """Turn a model profile into the option table of all clients.

    Raises
    ------
    ScenarioError
        If a device is unknown, cannot train, or lacks a figure.
    """
    server = server_device(scenario.server, scenario)
    server_clock = BlockSeconds.on(_clock_of(server), profile.costs)
    by_device: dict[str, pd.DataFrame] = {}
    for position, group in enumerate(scenario.clients):
        if group.device not in by_device:
            where = f"clients.{position}.device"
            device = find_device(group.device, scenario.devices, where)
            check_can_train(device, where)
            by_device[group.device] = _device_rows(scenario, profile, device, server_clock, scenario.server.load)
    rows = [_client_rows(by_device[client.device], client) for client in scenario.expanded_clients()]
    table = pd.concat(rows, ignore_index=True)
    return OptionTable(table[list(OPTION_COLUMNS)].astype(dict(OPTION_COLUMNS)))


def server_device(server: Server, scenario: Scenario) -> Device:
    """Return the server's device, checked.

    Raises
    ------
    ScenarioError
        If it is unknown, cannot train, or lacks a figure.
    """
    device = find_device(server.device, scenario.devices, "server.device")
    check_can_train(device, "server.device")
    return device


def _device_rows(
    scenario: Scenario, profile: ModelProfile, device: Device, server_clock: BlockSeconds, load: float
) -> pd.DataFrame:
    clock = BlockSeconds.on(_clock_of(device), profile.costs)
    training = scenario.training
    directions, steps = training.zeroth_order.directions, training.local_steps
    rows: list[dict[str, object]] = []
    for (cut, mode), peak_bytes in profile.peak_bytes.items():
        num_trainable = profile.num_trainable_below(cut)
        client_trains = num_trainable > 0
        bytes_a_step = step_bytes(
            mode,
            smashed_bytes(profile.graph, cut),
            profile.label_bytes,
            profile.row_id_bytes if (cut, mode) in profile.row_ids_needed else 0,
            directions,
            on_device=cut == profile.num_blocks,
            client_trains=client_trains,
        )
        exchanged = sum(cost.exchanged_bytes for cost in profile.costs[:cut])
        upload = exchanged if mode in EXACT_MODES else 0
        compute_s = steps * client_step_s(clock, mode, cut, directions)
        # Others' load leaves this much of the server to all clients together.
        server_s = steps * server_step_s(server_clock, mode, cut, directions, client_trains=client_trains) / (1 - load)
        below = float(profile.split[:cut].sum())
        worth = reliability(mode, training.zeroth_order, num_trainable)
        rows.append(
            {
                "cut": cut,
                "mode": str(mode),
                "recompute": "",
                "batch_size": training.batch_size,
                "client_compute_s": compute_s,
                "uplink_bytes": steps * bytes_a_step.uplink + upload,
                "downlink_bytes": steps * bytes_a_step.downlink + exchanged,
                "model_upload_bytes": upload,
                "model_download_bytes": exchanged,
                "server_compute_s": server_s,
                "client_peak_bytes": peak_bytes,
                "server_state_bytes": _server_state_bytes(profile.costs[cut:]),
                "client_energy_j": compute_s * device.max_power_w if device.max_power_w else float("nan"),
                # Shares sum to 1 up to rounding; an exact step is worth exactly 1.
                "progress": 1.0 if worth == 1.0 or not client_trains else 1.0 - below + worth * below,
                "confidence": str(device.confidence),
            }
        )
    return pd.DataFrame(rows)


def _clock_of(device: Device) -> Clock:
    def clock(cost: OperatorCost) -> float:
        return seconds(cost, device)

    return clock


def _server_state_bytes(above: Sequence[BlockCost]) -> int:
    """Weights, gradients, optimizer state and kept activations of a client's server copy, and the largest transient."""
    if not above:
        return 0
    kept = sum(c.parameter_bytes + c.trainable_bytes + c.optimizer_bytes + c.saved_bytes for c in above)
    return kept + max(cost.transient_bytes for cost in above)


def _client_rows(rows: pd.DataFrame, client: Client) -> pd.DataFrame:
    return rows.assign(
        client=client.id,
        device=client.device,
        memory_budget_bytes=client.memory_budget_bytes,
        data_weight=client.data_weight,
        fits=rows["client_peak_bytes"] <= client.memory_budget_bytes,
    )


def profile_scenario(
    scenario: Scenario, on_progress: Callable[[str, float], None] = lambda what, share: None
) -> OptionTable:
    """Return the option table of a scenario.

    Raises
    ------
    ScenarioError, ProfileError
        If a cost cannot be determined; it is never replaced by zero.
    """
    for position, group in enumerate(scenario.clients):
        where = f"clients.{position}.device"
        check_can_train(find_device(group.device, scenario.devices, where), where)
    server_device(scenario.server, scenario)
    return build_options(scenario, profile_model(scenario, on_progress))
