"""Seconds of the passes of every block on a device, and of a step of a client's server copy.

See docs/methods/costs.md, Passes of a step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from hybridsplit.profiler.costs import BlockCost, OperatorCost
from hybridsplit.scenarios.modes import Asks, TrainingMode
from hybridsplit.scenarios.modes.loss_probes import num_sides
from hybridsplit.scenarios.modes.passes import BlockSeconds
from hybridsplit.scenarios.schema import Training


class Clock(Protocol):
    """Seconds of a piece of work on some device."""

    def __call__(self, cost: OperatorCost) -> float:
        """Return the seconds."""


def block_seconds(
    clock: Clock, costs: Sequence[BlockCost], heads: Sequence[BlockCost] = (), *, is_server: bool = False
) -> BlockSeconds:
    """Evaluate all passes of all blocks on a device; a pass that was not traced takes NaN seconds, never zero.

    Parameters
    ----------
    clock
        Seconds of a piece of work on the device.
    costs
        [L] work of every block.
    heads
        [L-1] work of the auxiliary head behind each block but the last; none where no mode has one.
    is_server
        Whether parameters are updated by the server's optimizer instead of the client's.
    """
    known: dict[int, list[float]] = {}
    for cost in costs:
        if id(cost) not in known:
            passes = (
                cost.forward,
                cost.backward,
                cost.backward_without_input,
                cost.server_update if is_server else cost.update,
                cost.perturbed_forward,
                cost.forward_mode,
                cost.descend,
                cost.estimated_update,
            )
            known[id(cost)] = [math.nan if work is None else clock(work) for work in passes]
    table = np.array([known[id(cost)] for cost in costs])
    columns = [*table.T, np.array([cost.num_trainable > 0 for cost in costs])]
    return BlockSeconds(*columns, heads=block_seconds(clock, heads) if heads else None)


def divided_step_s(part_s: float, update_s: float, micro_batches: int) -> float:
    """Return the seconds of a step from those of a step on one micro-batch: the update comes once.

    Parameters
    ----------
    part_s, update_s
        Seconds of a step on a part of the batch, update included, and of the update alone.
    micro_batches
        Parts of the batch.
    """
    return part_s if micro_batches == 1 else micro_batches * (part_s - update_s) + update_s


def server_step_s(s: BlockSeconds, mode: TrainingMode, cut: int, training: Training, *, client_trains: bool) -> float:
    """Seconds of one step of a client's server copy on the whole server; 0 where there is no server part.

    Parameters
    ----------
    s
        Passes on the server.
    mode, cut
        The client's option.
    training
        How the server part is trained, and how often ``zo-loss`` probes it.
    client_trains
        The client part has trainable parameters.
    """
    num_blocks = len(s.forward)
    if cut == num_blocks:
        return 0.0
    forward_s = float(s.forward[cut:].sum())
    settings = training.zeroth_order
    probes = mode.probes(settings, on_device=False)
    anchors, answers_s = (1, 0.0) if probes is None else (probes.trained, probes.losses * forward_s)
    if training.server_gradient == "zeroth-order":
        perturbed_s = settings.directions * num_sides(settings.loss_sides) * float(s.perturbed_forward[cut:].sum())
        clean_s = forward_s if settings.loss_sides == "one" else 0.0
        estimated_s = s.estimated_step_s(cut, num_blocks, settings.directions)
        return answers_s + anchors * (perturbed_s + clean_s) + estimated_s
    wants_input = client_trains and mode.asks is Asks.GRADIENT
    backward_s = s.exact_backward_s(cut, num_blocks, wants_input=wants_input)
    update_s = float(s.update[cut:].sum()) if backward_s else 0.0
    return answers_s + anchors * (forward_s + backward_s - update_s) + update_s
