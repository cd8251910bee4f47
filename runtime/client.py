"""One client's round: its part and its server copy, side by side, with bytes, seconds and peak memory measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import torch
from torch import nn

from runtime.descent import ScalarDescent
from runtime.estimators import GradientEstimator, ScalarStep, StepResult, make_estimator
from runtime.live_bytes import LiveBytes
from runtime.noise import NoiseKey
from runtime.server import ServerSide
from runtime.split import Part, SplitModel, State
from runtime.wire import Batch, CountingLink, MeteredLink, ServerLink, Traffic
from scenarios.contracts.modes import EXACT_MODES, ZEROTH_ORDER_MODES, Mode
from scenarios.contracts.phases import Phase
from scenarios.schema import Scenario

MEASURED_STEPS = 2
"""Steps whose memory is measured: the first, in which the optimizer's state is born, and one that starts with it."""


@dataclass(frozen=True)
class Assignment:
    """What a plan says a client is to do."""

    client: str
    cut: int
    mode: Mode
    data_weight: float
    memory_budget_bytes: int
    recompute: str = ""


@dataclass(frozen=True)
class ClientRound:
    """Outcome of one client's round.

    Parameters
    ----------
    assignment
        Who, and how.
    state
        Trained parameters and statistics of all blocks: the client part as the server knows it after the upload (or
        after replaying the scalars), and the client's server copy.
    train_loss
        Mean over the round's steps.
    bytes_by_phase, seconds_by_phase
        Measured; the seconds are the emulating machine's.
    peak_bytes
        Peak of live tensor bytes of the client part, or None when it was not measured in this round.
    """

    assignment: Assignment
    state: State
    train_loss: float
    bytes_by_phase: dict[Phase, int]
    seconds_by_phase: dict[Phase, float]
    peak_bytes: int | None


def run_client_round(
    model: SplitModel,
    global_state: State,
    assignment: Assignment,
    draw: Callable[[int], Batch],
    scenario: Scenario,
    round_index: int,
    *,
    measure_memory: bool,
) -> ClientRound:
    """Train one client for one round, starting from the global state.

    Parameters
    ----------
    model
        Working copy of the model; overwritten.
    global_state
        The state all clients start the round from.
    assignment
        The client's cut and mode.
    draw
        Gives the batch of a global step.
    scenario
        Training settings and seed.
    round_index
        Counts from 0.
    measure_memory
        Whether to measure the client part's peak memory (slower).
    """
    model.whole.load(global_state)
    part = model.client_part(assignment.cut)
    meter = LiveBytes() if measure_memory else None
    on_device = assignment.cut == model.num_blocks
    server = ServerSide(model.server_part(assignment.cut), scenario.training, scenario.model.task)
    traffic = Traffic()
    traffic.count(Phase.MODEL_DOWNLOAD, part.exchanged().values())
    # On the device, computing the loss is the client's own work and memory, and nothing crosses the air.
    link: ServerLink = server
    if not on_device:
        labels_name_rows = scenario.model.task == "causal-lm"
        link = CountingLink(
            server,
            traffic,
            needs_row_ids(part, assignment.mode, labels_name_rows=labels_name_rows),
            labels_cross=scenario.training.label_holder == "client",
        )
    estimator = make_estimator(assignment.mode, part, scenario.training, assignment.recompute)
    losses: list[float] = []
    scalars: list[ScalarStep] = []
    start_s = perf_counter()
    for step in range(scenario.training.local_steps):
        global_step = round_index * scenario.training.local_steps + step
        key = NoiseKey(scenario.seed, "client", assignment.client, round_index, step)
        batch = draw(global_step)
        measured = meter if step < MEASURED_STEPS else None
        result = run_step(estimator, batch, link, key, measured)
        losses.append(result.loss)
        if result.scalars is not None:
            scalars.append(result.scalars.on_server())
            if on_device:
                # Without a server part nothing else has crossed: the scalars, and the ids of embedding rows, do.
                ids = (
                    [batch.inputs.to(torch.int32)]
                    if needs_row_ids(part, assignment.mode, labels_name_rows=False)
                    else []
                )
                traffic.count(Phase.UPLINK, [torch.tensor(result.scalars.coefficients, dtype=torch.float32), *ids])
        del result, batch  # a client keeps neither into its next step
    elapsed_s = perf_counter() - start_s
    estimator.close()
    if assignment.mode in ZEROTH_ORDER_MODES:
        # The server never sees the client's weights: it replays the scalars on the weights the round started from.
        part.load(global_state)
        replay = ScalarDescent(part.trainable(), scenario.training.zeroth_order.optimizer)
        for scalar_step in scalars:
            replay.step(scalar_step)
    elif assignment.mode in EXACT_MODES:
        traffic.count(Phase.MODEL_UPLOAD, part.exchanged().values())
    return ClientRound(
        assignment=assignment,
        state=model.whole.snapshot(),
        train_loss=sum(losses) / len(losses),
        bytes_by_phase=dict(traffic.bytes_by_phase),
        seconds_by_phase={
            Phase.CLIENT_COMPUTE: elapsed_s - (0.0 if on_device else server.seconds),
            Phase.SERVER_COMPUTE: 0.0 if on_device else server.seconds,
        },
        peak_bytes=meter.peak_bytes if meter else None,
    )


def run_step(
    estimator: GradientEstimator, batch: Batch, link: ServerLink, key: NoiseKey, meter: LiveBytes | None
) -> StepResult:
    """Run one step, under a memory meter if one is given.

    The client holds its part (parameters and buffers, frozen ones too) and the batch throughout.
    """
    link.begin_step(key)
    if meter is None:
        return estimator.step(batch, link, key)
    if link.trains_server:
        link = MeteredLink(link, meter)
    meter.track([*estimator.part.parameters(), *estimator.part.buffers()])
    meter.track(tensor for tensor in (batch.inputs, batch.labels, batch.mask_BS) if tensor is not None)
    with meter:
        return estimator.step(batch, link, key)


def needs_row_ids(part: Part, mode: Mode, *, labels_name_rows: bool) -> bool:
    """Whether a zeroth-order client must send its token ids, so that the server can replay the update of an embedding.

    Only the rows a batch touches are perturbed. Where the labels of a causal language model cross, they name them.
    """
    trains_embedding = any(m.weight.requires_grad for m in part.modules() if isinstance(m, nn.Embedding))
    return mode in ZEROTH_ORDER_MODES and not labels_name_rows and trains_embedding
