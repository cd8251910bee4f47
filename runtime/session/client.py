"""One client's round, step by step, with bytes, seconds and peak memory measured."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from time import perf_counter, time

import torch

from hybridsplit.runtime.estimators import GradientEstimator, StepResult, make_estimator
from hybridsplit.runtime.estimators.fo_recompute import FirstOrderRecompute
from hybridsplit.runtime.estimators.micro_batches import MicroBatchSteps, in_micro_batches
from hybridsplit.runtime.estimators.overlapping import overlapping
from hybridsplit.runtime.estimators.scalar_steps import ScalarDescent, ScalarStep
from hybridsplit.runtime.noise import NoiseKey
from hybridsplit.runtime.session.ahead import MEASURED_STEPS, AheadOfGradients
from hybridsplit.runtime.session.available_memory import available_bytes
from hybridsplit.runtime.session.handing_over import HandedOver, handed_over, of_side, sides
from hybridsplit.runtime.session.head_on_client import HeadOnClient
from hybridsplit.runtime.session.middle import MiddleServer
from hybridsplit.runtime.session.row_ids import needs_row_ids
from hybridsplit.runtime.session.server import ServerSide
from hybridsplit.runtime.session.steps import run_step
from hybridsplit.runtime.split.allocated_bytes import meter_of
from hybridsplit.runtime.split.compute import CPU, CPU_ONLY, ComputeDevices
from hybridsplit.runtime.split.learning_rates import training_at_round
from hybridsplit.runtime.split.link import Batch, CountingLink, ServerLink, Traffic
from hybridsplit.runtime.split.parts import Part, SplitModel, State, block_of
from hybridsplit.runtime.split.reports import ClientReport, ClientRound
from hybridsplit.runtime.split.three_part_link import CountingMiddle, TimedMiddle
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.modes import MODES, Gradient
from hybridsplit.scenarios.schema import Scenario


class ClientSession:
    """A client's part in the middle of a round.

    Parameters
    ----------
    part
        The client part, holding the weights the round starts from; it is trained in place.
    server
        The other side; the blocks in between where the head is on the client.
    assignment, scenario, round_index
        Who does what, by which settings, in which round (from 0).
    num_blocks
        Blocks of the whole model: with all of them the client computes the loss itself.
    measure_memory
        Whether to measure the client part's peak memory (slower).
    head
        The last blocks, where they are on the client; None where the server has them.
    """

    def __init__(
        self,
        part: Part,
        server: ServerLink | TimedMiddle,
        assignment: Assignment,
        scenario: Scenario,
        round_index: int,
        *,
        num_blocks: int,
        measure_memory: bool,
        head: Part | None = None,
    ) -> None:
        self._mode = MODES[assignment.placement.mode]
        self._part, self._assignment, self._round, self._seed = part, assignment, round_index, scenario.seed
        self._on_device = assignment.placement.cut == num_blocks
        computed_on = next((tensor.device for tensor in part.parameters()), CPU)
        self._meter = meter_of(computed_on, scenario, assignment.client) if measure_memory else None
        self._traffic = Traffic()
        # Blocks that all clients move by the same averaged scalars are never sent again.
        prefix = scenario.training.zo_prefix_blocks
        sent = [tensor for name, tensor in part.exchanged().items() if block_of(name) >= prefix]
        self._traffic.count(Phase.MODEL_DOWNLOAD, sent)
        labels_name_rows = scenario.model.task == "causal-lm"
        self._training = training_at_round(scenario.training, round_index)
        self._head: HeadOnClient | None = None
        # On the device, computing the loss is the client's own work and memory, and nothing crosses the air.
        self._link: ServerLink
        if isinstance(server, TimedMiddle):
            assert head is not None
            self._middle, middle = server, CountingMiddle(server, self._traffic)
            trains = server.trains
            self._head = HeadOnClient(head, middle, self._training, scenario.model.loss_kind, middle_trains=trains)
            self._link = self._head
            self._traffic.count(Phase.MODEL_DOWNLOAD, head.exchanged().values())
        elif self._on_device:
            self._link = server
        else:
            row_ids = needs_row_ids(part, self._mode.name, labels_name_rows=labels_name_rows)
            # With a loss of the client's own they go up with the scalars, after the round.
            row_ids = row_ids and not self._mode.has_local_head
            labels_cross = scenario.training.label_holder == "client"
            self._link = CountingLink(server, self._traffic, row_ids, labels_cross)
        placed = assignment.placement
        self.estimator = make_estimator(placed.mode, part, self._training, placed.recompute, placed.upload_every)
        self._ahead: AheadOfGradients | None = None
        self._steps: GradientEstimator | MicroBatchSteps = self.estimator
        if placed.staleness > 0:
            steps = overlapping(self.estimator, placed.mode, placed.staleness, scenario.training.overlap.gradient)
            self._ahead = AheadOfGradients(steps, self._part, placed.staleness, self._meter)
        elif placed.micro_batches > 1:
            task = scenario.model.loss_kind
            self._steps = in_micro_batches(self.estimator, placed.mode, placed.micro_batches, task)
        self._losses: list[float] = []
        self._scalars: list[ScalarStep] = []
        self._elapsed_s = 0.0
        self._step_peaks: list[tuple[int, int]] = []
        self._memory_seen: list[tuple[float, int]] = []

    def begin_with(self, handed: HandedOver) -> None:
        """Go on with optimizer state of an earlier round, after what had to be moved for that."""
        self.estimator.load_optimizer_state(handed.client)
        if self._head is not None:
            self._head.load_optimizer_state(handed.client)
        for phase, moved in ((Phase.MOVED_UP, handed.moved_up), (Phase.MOVED_DOWN, handed.moved_down)):
            if moved:
                self._traffic.count(phase, moved.values())

    def step(self, step: int, draw: Callable[[], Batch]) -> None:
        """Train on one mini-batch.

        Parameters
        ----------
        step
            Counts from 0 within the round.
        draw
            Reads its mini-batch from the client's data.
        """
        if self._assignment.resource is not None:
            self._look_at_memory()
        batch = draw() if self._ahead is None else None
        start_s = perf_counter()
        key = NoiseKey(self._seed, "client", self._assignment.client, self._round, step)
        if self._ahead is not None:
            self._losses.append(self._ahead.step(step, draw, self._link, key))
            self._elapsed_s += perf_counter() - start_s
            return
        assert batch is not None
        if self._assignment.steps:
            result = self._ordered_step(step, batch, key)
        else:
            measured = self._meter if step < MEASURED_STEPS else None
            result = run_step(self._steps, batch, self._link, key, measured)
        self._losses.append(result.loss)
        if result.scalars is not None:
            self._scalars.append(result.scalars.on_server())
            if self._on_device or self._mode.has_local_head:
                self._count_scalars(batch, result.scalars)
        self._elapsed_s += perf_counter() - start_s

    def optimizer_state(self) -> State:
        """Return a copy of what the client keeps between steps, of its part and of its head."""
        of_head = {} if self._head is None else self._head.optimizer_state()
        return {**self.estimator.optimizer_state(), **of_head}

    def drain(self) -> None:
        """Apply the gradients that are still on their way: every round ends with all of them."""
        if self._ahead is not None:
            start_s = perf_counter()
            self._ahead.drain()
            self._scalars += self._ahead.scalars
            self._elapsed_s += perf_counter() - start_s

    def _look_at_memory(self) -> None:
        """Note what memory a real device has for training, before a step is begun."""
        spare_bytes = available_bytes()
        if spare_bytes is not None:
            held = [*self._part.parameters(), *self._part.buffers()]
            held_bytes = sum(tensor.numel() * tensor.element_size() for tensor in held)
            self._memory_seen.append((time(), spare_bytes + held_bytes))

    def _ordered_step(self, step: int, batch: Batch, key: NoiseKey) -> StepResult:
        """Take a step in an order of its own, and measure its peaks before and after the exchange."""
        assert isinstance(self.estimator, FirstOrderRecompute)
        self.estimator.follow(self._assignment.steps[step].recompute)
        if self._meter is None:
            return run_step(self.estimator, batch, self._link, key, None)
        self._meter.begin_segments()
        result = run_step(self.estimator, batch, self._link, key, self._meter)
        peaks = self._meter.segment_peaks
        self._step_peaks.append((peaks[0], peaks[-1]))
        return result

    def _count_scalars(self, batch: Batch, scalars: ScalarStep) -> None:
        """No server part has answered: the scalars, and the ids of embedding rows, go up for it to replay.

        With a loss of the client's own they go up after the round.
        """
        row_ids = needs_row_ids(self._part, self._assignment.placement.mode, labels_name_rows=False)
        ids = [batch.inputs.to(torch.int32)] if row_ids else []
        phase = Phase.MODEL_UPLOAD if self._mode.has_local_head else Phase.UPLINK
        self._traffic.count(phase, [torch.tensor(scalars.coefficients, dtype=torch.float32), *ids])

    def _count_averaged_scalars(self) -> None:
        """Blocks of the common prefix move by averaged scalars; ``zo-projection`` receives scalars in every step."""
        if self._training.zo_prefix_blocks and not self._mode.receives_scalars:
            averaged = [torch.tensor(step.coefficients, dtype=torch.float32) for step in self._scalars]
            self._traffic.count(Phase.DOWNLINK, averaged)

    def finish(self, start: State, optimizer_state: State, server_seconds: float) -> ClientReport:
        """End the round: the part then holds what the server knows of it.

        Parameters
        ----------
        start, optimizer_state
            Weights and optimizer state that the round started from, on which the server replays the scalars of a
            zeroth-order client.
        server_seconds
            Seconds of the round that were the server's; with the head on the client, those before the head.
        """
        self.estimator.close()
        if self._mode.gradient is Gradient.ESTIMATED:
            # The server never sees the client's weights: it replays the scalars on the weights the round started from.
            self._part.load(start)
            replay = ScalarDescent(self._part.trainable(), self._training.zeroth_order.optimizer)
            replay.load_state(optimizer_state)
            for scalar_step in self._scalars:
                replay.step(scalar_step)
            self._count_averaged_scalars()
        elif self._mode.uploads_weights:
            self._traffic.count(Phase.MODEL_UPLOAD, self._part.exchanged().values())
        of_head: dict[Phase, float] = {}
        if self._head is not None:
            self._traffic.count(Phase.MODEL_UPLOAD, self._head.exchanged().values())
            of_head = {Phase.HEAD_COMPUTE: self._head.seconds, Phase.SERVER_BACKWARD: self._middle.backward_seconds}
        on_server_s = 0.0 if self._on_device else server_seconds
        return ClientReport(
            assignment=self._assignment,
            train_loss=sum(self._losses) / len(self._losses),
            bytes_by_phase=dict(self._traffic.bytes_by_phase),
            seconds_by_phase={
                Phase.CLIENT_COMPUTE: self._elapsed_s - on_server_s - sum(of_head.values()),
                Phase.SERVER_COMPUTE: on_server_s,
                **of_head,
            },
            peak_bytes=self._meter.peak_bytes if self._meter else None,
            coefficients=tuple(tuple(scalar_step.coefficients) for scalar_step in self._scalars),
            diverged_at_step=next((s for s, loss in enumerate(self._losses) if not math.isfinite(loss)), None),
            step_peaks=tuple(self._step_peaks),
            memory_seen=tuple(self._memory_seen),
        )


def run_client_round(
    model: SplitModel,
    global_state: State,
    assignment: Assignment,
    draw: Callable[[int], Batch],
    scenario: Scenario,
    round_index: int,
    *,
    measure_memory: bool,
    optimizer_state: State | None = None,
    copy_state: bool = True,
    devices: ComputeDevices = CPU_ONLY,
) -> ClientRound:
    """Train one client and its server copy for one round, starting from the global state.

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
    optimizer_state
        What an earlier round of this client returned, to be continued; a fresh state when None.
    copy_state
        Whether the state that is returned is a copy, or the working copy's own tensors, good until its next use.
    devices
        Where client part and server part are computed, and where the working copy and what is returned then are.
    """
    devices.place(model, assignment.placement.cut, assignment.placement.head_blocks)
    model.whole.load(global_state)
    training = training_at_round(scenario.training, round_index)
    placed = assignment.placement
    above, head = model.server_part(placed.cut, placed.head_blocks), None
    server: ServerSide | MiddleServer
    link: ServerLink | TimedMiddle
    if placed.head_blocks:
        server, head = MiddleServer(above, training), model.head_part(placed.head_blocks)
        link = devices.linked_middle(server)
    else:
        server = ServerSide(above, training, scenario.model.loss_kind, micro_batches=placed.micro_batches)
        link = devices.linked(server)
    session = ClientSession(
        model.client_part(placed.cut, placed.mode), link, assignment, scenario, round_index,
        num_blocks=model.num_blocks, measure_memory=measure_memory, head=head,
    )  # fmt: skip
    keeps = scenario.training.optimizer_state == "keep"
    earlier = optimizer_state if keeps and optimizer_state is not None else {}
    own, servers = of_side(earlier, "client"), of_side(earlier, "server")
    handed = handed_over(own, servers, assignment, scenario.training)
    session.begin_with(handed)
    server.load_optimizer_state(handed.server)
    steps = scenario.training.local_steps
    for step in range(steps):
        session.step(step, partial(draw, round_index * steps + step))
    session.drain()
    kept = sides(client=session.optimizer_state(), server=server.optimizer_state()) if keeps else {}
    report = session.finish(global_state, handed.client, server.seconds)
    return ClientRound(report, model.whole.snapshot() if copy_state else model.whole.exchanged(), kept)
