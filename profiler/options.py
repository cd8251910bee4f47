"""The option table: every choice of every client, with all costs of a round.

Profiled per model, batch size and kind of device, never per client, so that a thousand clients cost no more than one of
each kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hybridsplit.profiler.cache import load_profile, profile_key, save_profile
from hybridsplit.profiler.costs import BlockCost
from hybridsplit.profiler.cuda_memory import CudaMemory
from hybridsplit.profiler.data_check import check_data
from hybridsplit.profiler.device_rows import clock_of, clocks_of, cuda_memory, device_rows
from hybridsplit.profiler.ladders import with_ladders
from hybridsplit.profiler.profiles import ModelProfile, OnProgress
from hybridsplit.profiler.roofline import check_can_train
from hybridsplit.profiler.target_gain import with_gains
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.contracts.option_rows import OptionRows
from hybridsplit.scenarios.contracts.options import GAP_COLUMN, LADDER_COLUMNS, OPTION_COLUMNS, OptionTable
from hybridsplit.scenarios.contracts.three_part import HEAD_COLUMNS
from hybridsplit.scenarios.contracts.updates import UPDATE_COLUMNS
from hybridsplit.scenarios.devices import Device, find_device
from hybridsplit.scenarios.schema import Client, Scenario, Server

if TYPE_CHECKING:
    from hybridsplit.runtime.replay.memory_trace import MemoryTrace

IntArray = NDArray[np.int64]


def build_options(scenario: Scenario, profile: ModelProfile) -> OptionTable:
    """Turn a model profile into the option table of all clients.

    Raises
    ------
    ScenarioError
        If a device is unknown, cannot train, or lacks a figure, or a client's data hold no batch at all.
    """
    server_clock = clock_of(server_device(scenario.server, scenario))
    on_server = {size: clocks_of(server_clock, of, is_server=True) for size, of in profile.by_batch_size.items()}
    by_device: dict[str, pd.DataFrame] = {}
    for position, group in enumerate(scenario.clients):
        if group.device not in by_device:
            where = f"clients.{position}.device"
            device = find_device(group.device, scenario.devices, where)
            check_can_train(device, where)
            by_size = [device_rows(scenario, profile, size, device, clocks) for size, clocks in on_server.items()]
            by_device[group.device] = pd.concat(by_size, ignore_index=True)
    sizes = _batch_sizes(scenario)
    alike: dict[tuple[str, tuple[int, ...]], list[Client]] = {}
    for client in scenario.expanded_clients():
        alike.setdefault((client.group, sizes[client.id]), []).append(client)
    rows = _client_rows(by_device, alike, _memory_of(scenario), scenario)
    pilot = scenario.objective.pilot
    if pilot is None:
        return OptionTable(rows)
    return OptionTable(with_gains(OptionTable(rows).table, scenario, block_costs(profile), pilot))


def _memory_of(scenario: Scenario) -> dict[str, MemoryTrace]:
    """Return the memory over time of the clients that have a recording of it."""
    if all(group.memory_trace is None for group in scenario.clients):
        return {}
    from hybridsplit.runtime.replay.memory_files import scenario_memory  # late: constant memory needs no recordings

    return scenario_memory(scenario)


def _batch_sizes(scenario: Scenario) -> dict[str, tuple[int, ...]]:
    """Batch sizes of every client: a client whose data hold no batch of a size cannot choose it."""
    candidates = scenario.training.candidate_batch_sizes
    if len(candidates) == 1:
        return {client.id: candidates for client in scenario.expanded_clients()}
    from hybridsplit.runtime.data.partition import partition
    from hybridsplit.runtime.data.sources import load_dataset

    dealt = partition(load_dataset(scenario).train, scenario)
    return {client: tuple(size for size in candidates if size <= len(index)) for client, index in dealt.items()}


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


def _client_rows(
    by_device: dict[str, pd.DataFrame],
    alike: Mapping[tuple[str, tuple[int, ...]], Sequence[Client]],
    memory: Mapping[str, MemoryTrace],
    scenario: Scenario,
) -> OptionRows:
    """Rows of all clients, by group and the batch sizes that each can choose; worked out once a kind of clients."""
    kinds: list[pd.DataFrame] = []
    places: dict[tuple[object, ...], IntArray] = {}
    num_rows = 0
    of_client: list[IntArray] = []
    clients = [client for group in alike.values() for client in group]
    for (_, its_sizes), group in alike.items():
        first, places_of_group = group[0], len(of_client) + len(group)
        # A recording of memory is each client's own; without one the clients of a group have the same rows.
        for client in group if memory else (first,):
            trace = memory.get(client.id)
            met = None if trace is None else (client.memory, client.link)
            key = (client.device, client.memory_budget_bytes, its_sizes, repr(met), id(trace))
            if key not in places:
                rows = by_device[client.device]
                rows = rows[rows["batch_size"].isin(its_sizes)]
                budget_bytes = client.memory_budget_bytes
                own = _within(rows, budget_bytes, budget_bytes if trace is None else trace.least_bytes)
                if trace is not None and client.memory is not None:
                    own = with_ladders(own, rows, trace, client, len(clients), scenario)
                kinds.append(own.assign(device=client.device))
                places[key] = np.arange(num_rows, num_rows + len(own))
                num_rows += len(own)
            of_client.append(places[key])
        of_client += [of_client[-1]] * (places_of_group - len(of_client))
    whose = np.repeat(np.arange(len(clients)), [len(rows) for rows in of_client])
    own_columns = {
        "client": np.array([client.id for client in clients], dtype=object),
        "data_weight": np.array([client.data_weight for client in clients], dtype=float),
    }
    return OptionRows(
        _typed(pd.concat(kinds, ignore_index=True), memory), np.concatenate(of_client), whose, own_columns
    )


def _typed(kinds: pd.DataFrame, memory: Mapping[str, MemoryTrace]) -> pd.DataFrame:
    """Return the columns that rows of an option table have, but those that stand once a client."""
    of_head = HEAD_COLUMNS if "head_compute_s" in kinds else {}
    of_updates = UPDATE_COLUMNS if "client_update_s" in kinds else {}
    columns = {**OPTION_COLUMNS, **of_head, **of_updates, **(LADDER_COLUMNS if memory else {})}
    of_kinds = {name: dtype for name, dtype in columns.items() if name not in ("client", "data_weight")}
    with_gap = [GAP_COLUMN] if (kinds[GAP_COLUMN] > 0).any() else []
    return kinds[[*of_kinds, *with_gap]].astype(of_kinds)


def _within(rows: pd.DataFrame, budget_bytes: int, least_bytes: int) -> pd.DataFrame:
    """Rows that are of use within a memory budget, of which there is always the least, or would be with more of it."""
    fits = rows["client_peak_bytes"] <= least_bytes
    place = pd.MultiIndex.from_frame(rows[["cut", "batch_size", "staleness", "head_blocks", "micro_batches"]])
    plain = place[fits & (rows["mode"] == Mode.FO)]
    # Without recomputation it is ``fo`` in less memory: of use only where ``fo`` does not fit.
    needless = ~rows["recomputes"] & place.isin(plain)
    return rows.assign(memory_budget_bytes=budget_bytes, fits=fits, levels="")[~needless]


def profile_scenario(scenario: Scenario, on_progress: OnProgress = lambda what, share: None) -> OptionTable:
    """Return the option table of a scenario.

    The profile of its model is kept between runs (:mod:`hybridsplit.profiler.cache`). Data are checked first.

    Raises
    ------
    ScenarioError, ProfileError
        If a cost cannot be determined; it is never replaced by zero.
    """
    return build_options(scenario, profiled_model(scenario, on_progress))


def profiled_model(scenario: Scenario, on_progress: OnProgress = lambda what, share: None) -> ModelProfile:
    """Return the profile of a scenario's model, kept or made now.

    Raises
    ------
    ScenarioError, ProfileError
        As :func:`profile_scenario` does.
    """
    cuda_devices = cuda_devices_of(scenario)
    key = profile_key(scenario, cuda_devices)
    check_data(scenario, key, on_progress)
    profile = load_profile(key) if key is not None else None
    if profile is None:
        on_progress("loading PyTorch and Transformers", 0.0)
        from hybridsplit.profiler.model_profile import profile_model  # late: seconds, which a kept profile saves

        profile = profile_model(scenario, on_progress, cuda_devices)
        if key is not None:
            save_profile(key, profile)
    return profile


def block_costs(profile: ModelProfile) -> Sequence[BlockCost]:
    """[L] costs of the model's blocks; what is trainable of them does not depend on the batch size."""
    return next(iter(profile.by_batch_size.values())).costs


def cuda_devices_of(scenario: Scenario) -> list[CudaMemory]:
    """Return the CUDA devices that a scenario's clients have, after checking that all devices can train.

    Raises
    ------
    ScenarioError
        If a device is unknown, cannot train, or lacks a figure.
    """
    found: list[CudaMemory] = []
    for position, group in enumerate(scenario.clients):
        where = f"clients.{position}.device"
        device = find_device(group.device, scenario.devices, where)
        check_can_train(device, where)
        cuda = cuda_memory(device)
        if cuda is not None and cuda not in found:
            found.append(cuda)
    server_device(scenario.server, scenario)
    return found
