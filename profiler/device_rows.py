"""Rows of the option table for one kind of device, at one batch size: every choice with all costs of a round."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd

from hybridsplit.profiler.batch_worth import batch_worth, noise_scale
from hybridsplit.profiler.costs import OperatorCost
from hybridsplit.profiler.cuda_memory import CudaMemory
from hybridsplit.profiler.energy import client_energy_j
from hybridsplit.profiler.ladders import LEVEL, level_of
from hybridsplit.profiler.mode_costs import Clock, block_seconds, divided_step_s, server_step_s
from hybridsplit.profiler.profiles import BatchProfile, Choice, ModelProfile
from hybridsplit.profiler.roofline import seconds
from hybridsplit.profiler.three_parts import head_exchanged_bytes, head_step
from hybridsplit.runtime.aggregation.reliability import expected_progress
from hybridsplit.scenarios.contracts.jobs import num_exchanges
from hybridsplit.scenarios.contracts.options import GAP_COLUMN
from hybridsplit.scenarios.contracts.three_part import HeadCosts
from hybridsplit.scenarios.contracts.updates import NO_UPDATES, UpdateCosts
from hybridsplit.scenarios.devices import Device
from hybridsplit.scenarios.modes import MODES, StepSizes, TrainingMode
from hybridsplit.scenarios.modes.base import SCALAR_BYTES
from hybridsplit.scenarios.modes.passes import BlockSeconds
from hybridsplit.scenarios.schema import Scenario, Training
from hybridsplit.scenarios.sections.overlap import PROGRESS_LOST_A_STEP


def device_rows(
    scenario: Scenario,
    model: ModelProfile,
    batch_size: int,
    device: Device,
    server_clocks: Mapping[int, BlockSeconds],
) -> pd.DataFrame:
    """Return the rows of a kind of device.

    Parameters
    ----------
    scenario, model
        The scenario, and what its choices cost on no device in particular.
    batch_size
        Samples a step.
    device
        The clients' device.
    server_clocks
        Passes of every block on the server: of the whole batch at 1, and of a part by every number of micro-batches.
    """
    profile, training = model.by_batch_size[batch_size], scenario.training
    clocks, part_of_server = clocks_of(clock_of(device), profile), 1 - scenario.server.load
    of_batch = batch_worth(batch_size, max(model.by_batch_size), noise_scale(scenario, model.noise_scale))
    offers_heads = max(training.head_block_choices) > 0
    rows: list[dict[str, object]] = []
    for choice, peak_bytes in profile.peaks_on(cuda_memory(device)).items():
        mode, parts, steps = MODES[choice.mode], choice.micro_batches, training.local_steps
        sizes = _step_sizes(choice, profile, training)
        work = _work_of_round(choice, profile, training, clocks[parts], server_clocks[parts], part_of_server)
        sent = _bytes_of_round(choice, profile, training, sizes, work.head)
        progress = of_batch * _progress(choice, profile, training, model)
        rows.append(
            {
                "cut": choice.cut,
                "mode": mode.name,
                "recompute": choice.recompute,
                "recomputes": profile.recomputes(choice),
                "batch_size": batch_size,
                "staleness": choice.staleness,
                "upload_every": choice.upload_every,
                "head_blocks": choice.head_blocks,
                "micro_batches": parts,
                "client_compute_s": work.client_s,
                **sent._asdict(),
                "server_compute_s": work.server_s,
                "client_peak_bytes": peak_bytes,
                # Batches, or parts of one, may wait at the server as long as they may be in flight.
                "server_state_bytes": profile.server_peak_bytes[choice.cut, mode.name, choice.head_blocks, parts]
                + choice.staleness * sizes.smashed
                + (parts - 1) * sizes.smashed // parts,
                "client_energy_j": client_energy_j(device, work.client_s),
                "progress": progress / (1 + PROGRESS_LOST_A_STEP * choice.staleness),
                "confidence": str(device.confidence),
                LEVEL: level_of(
                    choice, profile, clocks[parts], training.zeroth_order, peak_bytes, work.client_s / steps
                ),
                **(work.head._asdict() if offers_heads else {}),
                **(work.update._asdict() if profile.costs_of_parts else {}),
                GAP_COLUMN: profile.recompute_gaps.get(choice, 0.0),
            }
        )
    return pd.DataFrame(rows)


class _Work(NamedTuple):
    """Seconds of a round on the client and on the server, and how much of both, and of the bytes, falls to what."""

    client_s: float
    server_s: float
    head: HeadCosts
    update: UpdateCosts


class _Sent(NamedTuple):
    """Bytes of a round, by the columns of the option table."""

    uplink_bytes: int
    downlink_bytes: int
    model_upload_bytes: int
    model_download_bytes: int


def _exchanges(choice: Choice, training: Training) -> int:
    """Steps of a round that send anything."""
    return num_exchanges(training.local_steps, choice.upload_every)


def _client_trains(choice: Choice, profile: BatchProfile) -> bool:
    return profile.num_trainable_below(choice.cut) > 0


def _step_sizes(choice: Choice, profile: BatchProfile, training: Training) -> StepSizes:
    """Return what may cross the link in a step."""
    labels_cross = training.label_holder == "client" and choice.head_blocks == 0
    return StepSizes(
        smashed=profile.smashed_bytes[choice.cut - 1],
        labels=profile.mask_bytes + (profile.label_bytes if labels_cross else 0),
        row_ids=profile.row_id_bytes if (choice.cut, choice.mode) in profile.row_ids_needed else 0,
    )


def _work_of_round(
    choice: Choice,
    profile: BatchProfile,
    training: Training,
    clock: BlockSeconds,
    server_clock: BlockSeconds,
    part_of_server: float,
) -> _Work:
    """Return what a round takes of client and server, of which other load leaves a part to all clients together."""
    cut, mode, parts = choice.cut, MODES[choice.mode], choice.micro_batches
    steps, exchanges = training.local_steps, _exchanges(choice, training)
    client_trains = _client_trains(choice, profile)
    head, step_server_s = head_step(choice, profile, clock, server_clock, client_trains=client_trains)
    # Where nothing is divided, nothing hangs on when in its step the update comes.
    update = NO_UPDATES
    if parts > 1:
        update = UpdateCosts(float(clock.update[:cut].sum()), float(server_clock.update[cut:].sum()))
    step_s = mode.client_step_s(clock, cut, training.zeroth_order, profile.forwards.get(choice))
    step_s = divided_step_s(step_s, update.client_update_s, parts)
    if choice.staleness > 0 and training.overlap.gradient == "current":
        step_s += float(clock.forward[:cut].sum())
    saved_s = mode.saved_without_upload_s(clock, cut, training.zeroth_order) if exchanges < steps else 0.0
    if choice.head_blocks == 0:
        part_s = server_step_s(server_clock, mode, cut, training, client_trains=client_trains)
        step_server_s = divided_step_s(part_s, update.server_update_s, parts)
    return _Work(
        steps * (step_s + head.head_compute_s) - (steps - exchanges) * saved_s,
        exchanges * step_server_s / part_of_server,
        HeadCosts(
            steps * head.head_compute_s,
            steps * head.head_features_bytes,
            steps * head.head_gradient_bytes,
            steps * head.server_backward_s / part_of_server,
        ),
        UpdateCosts(steps * update.client_update_s, steps * update.server_update_s / part_of_server),
    )


def _bytes_of_round(
    choice: Choice, profile: BatchProfile, training: Training, sizes: StepSizes, head: HeadCosts
) -> _Sent:
    """Return what a round sends, of which the head's part is known."""
    cut, mode, zeroth_order = choice.cut, MODES[choice.mode], training.zeroth_order
    exchanges = _exchanges(choice, training)
    assert choice.head_blocks == 0 or choice.upload_every == 1, "a head exchanges in every step"
    if cut == profile.num_blocks:
        bytes_a_step = mode.bytes_without_server(sizes, zeroth_order)
    else:
        bytes_a_step = mode.step_bytes(sizes, zeroth_order, client_trains=_client_trains(choice, profile))
    exchanged = profile.exchanged_bytes(cut, training.zo_prefix_blocks, mode)
    upload = mode.model_upload_bytes(exchanged, sizes, zeroth_order, training.local_steps)
    if choice.head_blocks:
        # The head is trained by exact gradients whatever the mode of the client part.
        of_head = head_exchanged_bytes(choice, profile)
        exchanged, upload = exchanged + of_head, upload + of_head
    download = exchanged + _averaged_scalar_bytes(mode, training)
    return _Sent(
        exchanges * bytes_a_step.uplink + head.head_gradient_bytes + upload,
        exchanges * bytes_a_step.downlink + head.head_features_bytes + download,
        upload,
        exchanged,
    )


def _progress(choice: Choice, profile: BatchProfile, training: Training, model: ModelProfile) -> float:
    """Return the expected progress of a round without what batch size and staleness do to it."""
    cut, mode = choice.cut, MODES[choice.mode]
    exchanged = _exchanges(choice, training) / training.local_steps
    num_above = profile.num_trainable_below(profile.num_blocks) - profile.num_trainable_below(cut)
    return expected_progress(
        mode, training, float(model.split[:cut].sum()), profile.num_trainable_of(cut, mode), num_above,
        kept_below=model.kept_below(cut), kept_above=model.kept_above(cut) * exchanged,
    )  # fmt: skip


def _averaged_scalar_bytes(mode: TrainingMode, training: Training) -> int:
    """Bytes of the averaged scalars that a client replays in the lowest blocks, where these are never downloaded.

    A mode that receives the scalars to apply in every step has them already; all others receive them once a round.
    """
    if mode.receives_scalars or training.zo_prefix_blocks == 0:
        return 0
    return SCALAR_BYTES * training.zeroth_order.directions * training.local_steps


def clocks_of(clock: Clock, profile: BatchProfile, *, is_server: bool = False) -> dict[int, BlockSeconds]:
    """Return the passes of every block on a device, of the whole batch at 1, and of a part by number of micro-batches.

    Parameters
    ----------
    clock
        Seconds of a piece of work on the device.
    profile
        What blocks cost on no device in particular.
    is_server
        As of :func:`hybridsplit.profiler.mode_costs.block_seconds`.
    """
    heads = () if is_server else profile.heads
    whole = block_seconds(clock, profile.costs, heads, is_server=is_server)
    parts = {m: block_seconds(clock, costs, is_server=is_server) for m, costs in profile.costs_of_parts.items()}
    return {1: whole, **parts}


def clock_of(device: Device) -> Clock:
    """Return what gives the seconds of a piece of work on a device."""

    def clock(cost: OperatorCost) -> float:
        return seconds(cost, device)

    return clock


def cuda_memory(device: Device) -> CudaMemory | None:
    """Return what to follow of a device's allocator and kernels; None where live tensor bytes are counted."""
    if device.cuda is None:
        return None
    return CudaMemory(
        device.cuda.multiprocessors, device.cuda.threads_per_multiprocessor, device.cuda.cublas_workspace_bytes
    )
