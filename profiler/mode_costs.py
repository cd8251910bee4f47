"""What a training mode does in a step: passes over blocks on either side, and bytes on air.

See docs/methods/costs.md, Passes of a step, and docs/methods/training-modes.md, What crosses per step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from hybridsplit.profiler.compute import BlockCost
from hybridsplit.profiler.operators import OperatorCost
from hybridsplit.runtime.estimators.loss_differences import LossProbes, num_sides
from hybridsplit.scenarios.contracts.modes import EXACT_MODES, ZEROTH_ORDER_MODES, Mode
from hybridsplit.scenarios.schema import Training, ZerothOrder

SCALAR_BYTES = 4
"""A loss, a projection or a seed crosses the air as 4 bytes."""


class Clock(Protocol):
    """Seconds of a piece of work on some device."""

    def __call__(self, cost: OperatorCost) -> float:
        """Return the seconds."""


@dataclass(frozen=True)
class BlockSeconds:
    """Seconds of each block's passes on one device, arrays of length L."""

    forward: np.ndarray
    backward: np.ndarray
    backward_without_input: np.ndarray
    update: np.ndarray
    perturbed_forward: np.ndarray
    forward_mode: np.ndarray
    descend: np.ndarray
    estimated_update: np.ndarray
    trains: np.ndarray

    @classmethod
    def on(cls, clock: Clock, costs: Sequence[BlockCost], *, is_server: bool = False) -> BlockSeconds:
        """Evaluate all passes of all blocks on a device; a pass that was not traced takes NaN seconds, never zero.

        Parameters
        ----------
        clock
            The device.
        costs
            Of every block, first to last.
        is_server
            Whether updates are those of the server's optimizer.
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
        return cls(*columns)

    def exact_backward_s(self, first: int, stop: int, *, wants_input: bool) -> float:
        """Seconds of backward and update.

        Parameters
        ----------
        first, stop
            Blocks ``first..stop-1``, counted from 0.
        wants_input
            Whether the gradient of the input is needed; if not, backward ends at the lowest trained block.
        """
        if wants_input:
            return float(self.backward[first:stop].sum() + self.update[first:stop].sum())
        trained = np.flatnonzero(self.trains[first:stop])
        if len(trained) == 0:
            return 0.0
        lowest = first + int(trained[0])
        below_top = self.backward[lowest + 1 : stop].sum()
        return float(below_top + self.backward_without_input[lowest] + self.update[first:stop].sum())

    def estimated_step_s(self, first: int, stop: int, directions: int) -> float:
        """Seconds of one step along an estimated gradient, without its probes.

        Parameters
        ----------
        first, stop
            Blocks ``first..stop-1``, counted from 0.
        directions
            Directions of the estimate.
        """
        return float(directions * self.descend[first:stop].sum() + self.estimated_update[first:stop].sum())


def client_step_s(
    s: BlockSeconds, mode: Mode, cut: int, zeroth_order: ZerothOrder, forwards: Sequence[int] | None = None
) -> float:
    """Seconds of one step on the client.

    Parameters
    ----------
    s
        Passes on the client's device.
    mode, cut
        The option; a cut behind the last block has no server part.
    zeroth_order
        Directions, and how each is probed.
    forwards
        How often ``fo-recompute`` runs each block forward; twice from the lowest trained one on when absent.
    """
    on_device = cut == len(s.forward)
    forward_s = float(s.forward[:cut].sum())
    perturbed_s = float(s.perturbed_forward[:cut].sum())
    directions = zeroth_order.directions
    match mode:
        case Mode.FO:
            return forward_s + s.exact_backward_s(0, cut, wants_input=False)
        case Mode.FO_RECOMPUTE:
            counts = 1 + np.logical_or.accumulate(s.trains[:cut]) if forwards is None else np.array(forwards)
            return float(s.forward[:cut] @ counts) + s.exact_backward_s(0, cut, wants_input=False)
        case Mode.ZO_PROJECTION:
            probe_s = num_sides(zeroth_order.projection_sides) * perturbed_s
            if zeroth_order.derivative == "forward-mode":
                probe_s = float(s.forward_mode[:cut].sum())
            return forward_s + directions * probe_s + s.estimated_step_s(0, cut, directions)
        case Mode.ZO_LOSS:
            probes = LossProbes.of(zeroth_order, on_device=on_device)
            evaluated_s = probes.perturbed * perturbed_s + probes.clean * forward_s
            return evaluated_s + s.estimated_step_s(0, cut, directions)
        case Mode.FROZEN:
            return forward_s


def server_step_s(s: BlockSeconds, mode: Mode, cut: int, training: Training, *, client_trains: bool) -> float:
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
    probes = LossProbes.of(settings, on_device=False)
    anchors, answers_s = (probes.trained, probes.losses * forward_s) if mode is Mode.ZO_LOSS else (1, 0.0)
    if training.server_gradient == "zeroth-order":
        perturbed_s = settings.directions * num_sides(settings.loss_sides) * float(s.perturbed_forward[cut:].sum())
        clean_s = forward_s if settings.loss_sides == "one" else 0.0
        estimated_s = s.estimated_step_s(cut, num_blocks, settings.directions)
        return answers_s + anchors * (perturbed_s + clean_s) + estimated_s
    backward_s = s.exact_backward_s(cut, num_blocks, wants_input=wants_gradient(mode, client_trains=client_trains))
    update_s = float(s.update[cut:].sum()) if backward_s else 0.0
    return answers_s + anchors * (forward_s + backward_s - update_s) + update_s


def wants_gradient(mode: Mode, *, client_trains: bool) -> bool:
    """Whether the client asks for λ: not with nothing to train, and never in ``zo-loss`` and ``frozen``."""
    return client_trains and mode in EXACT_MODES | {Mode.ZO_PROJECTION}


@dataclass(frozen=True)
class StepBytes:
    """Bytes on air of one step."""

    uplink: int
    downlink: int


def step_bytes(
    mode: Mode,
    smashed: int,
    labels: int,
    row_ids: int,
    zeroth_order: ZerothOrder,
    *,
    on_device: bool,
    client_trains: bool,
) -> StepBytes:
    """Bytes of one step, as tabulated in docs/methods/training-modes.md, What crosses per step.

    Parameters
    ----------
    mode
        Training mode.
    smashed
        Bytes A of the activation at the cut.
    labels
        Bytes of labels, where the client holds them, and of the attention mask.
    row_ids
        Bytes of token ids, where a zeroth-order embedding update needs them.
    zeroth_order
        Directions, and how each is probed.
    on_device
        The whole model is on the device: no smashed data cross.
    client_trains
        The client part has trainable parameters.
    """
    extra = row_ids if mode in ZEROTH_ORDER_MODES else 0
    scalars = SCALAR_BYTES * zeroth_order.directions
    if on_device:
        # The server replays a zeroth-order client's scalars even where it holds no part.
        return StepBytes(scalars + extra if mode is Mode.ZO_LOSS else 0, 0)
    match mode:
        case Mode.FO | Mode.FO_RECOMPUTE:
            return StepBytes(smashed + labels, smashed if client_trains else 0)
        case Mode.ZO_PROJECTION:
            return StepBytes(smashed + labels + extra + scalars, smashed + 2 * scalars)
        case Mode.ZO_LOSS:
            probes = LossProbes.of(zeroth_order, on_device=False)
            return StepBytes(probes.uploads * smashed + labels + extra, probes.losses * SCALAR_BYTES)
        case Mode.FROZEN:
            return StepBytes(smashed + labels, 0)
