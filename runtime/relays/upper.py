"""The machines above a client, in this process; on a cluster others stand in for them."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from hybridsplit.runtime.relays.machine import Machine
from hybridsplit.runtime.relays.messages import Downward, Message, Swapped, Upward
from hybridsplit.runtime.relays.stage import StageTraining
from hybridsplit.runtime.split.learning_rates import training_at_round
from hybridsplit.runtime.split.parts import Part, SplitModel, State
from hybridsplit.scenarios.contracts.stages import Stage, Stages, machine_name
from hybridsplit.scenarios.schema import Scenario


@dataclass(frozen=True)
class StageOutcome:
    """What one machine has of a client after a round.

    Parameters
    ----------
    node
        The node.
    state
        Trained parameters and statistics of its blocks; those of the first replica alone, since all end with the same.
    optimizer_state
        What its optimizer keeps, of the first replica too.
    losses
        Loss of every step, where it was computed; likewise.
    seconds
        Its work on the emulating machine.
    peak_bytes
        Peak of live tensor bytes; None when it was not measured.
    sent_bytes, returned_bytes, swapped_bytes
        What it sent towards the server, back, and to other replicas.
    is_real
        Whether the machine is a real one, and not emulated.
    replica
        Which machine of the node it is.
    """

    node: str
    state: State
    optimizer_state: State
    losses: tuple[float, ...]
    seconds: float
    peak_bytes: int | None
    sent_bytes: int
    returned_bytes: int
    swapped_bytes: int = 0
    is_real: bool = False
    replica: int = 0

    @property
    def machine(self) -> str:
        """Name of the machine."""
        return machine_name(self.node, self.replica)


class UpperMachines(Protocol):
    """The machines above a client, in the middle of a round."""

    def send(self, message: Upward) -> None:
        """Send a micro-batch to the first of them."""

    def receive(self) -> Downward:
        """Wait for the next gradient; those of several replicas come in any order."""

    def finish(self) -> tuple[StageOutcome, ...]:
        """End the round, and return what each machine has, in their order."""


def make_machine(
    part: Part,
    stages: Stages,
    stage: Stage,
    scenario: Scenario,
    round_index: int,
    *,
    trains_below: bool,
    measure_memory: bool,
    replica: int = 0,
) -> Machine:
    """Return a machine that is about to begin a round with a client's blocks.

    Parameters
    ----------
    part
        The blocks, with the weights that the round starts from.
    stages, stage
        The client's machines, and which of them it is.
    scenario, round_index
        Settings, and the round, from 0.
    trains_below
        Whether machines before it train blocks.
    measure_memory
        Whether to measure peak memory.
    replica
        Which of the machines that hold the blocks it is.
    """
    replicas = stages.replicas_of(stage)
    training = StageTraining(
        part,
        training_at_round(scenario.training, round_index),
        scenario.model.loss_kind,
        micro_batches=stages.micro_batches,
        trains_below=trains_below,
        computes_loss=stage == stages.crossed[-1],
        measure_memory=measure_memory,
        partial_sums=stages.partial_sums,
        replica=replica,
        replicas=replicas,
    )
    return Machine(training, stage.warm_up, stages.micro_batches, replica, replicas)


def outcome_of(stage: Stage, machine: Machine, *, keeps: bool) -> StageOutcome:
    """Return what a machine has after a round.

    Parameters
    ----------
    stage, machine
        The machine, by plan and at work.
    keeps
        Whether optimizer states are kept between rounds.
    """
    done, is_first = machine.stage, machine.replica == 0
    return StageOutcome(
        stage.node,
        done.part.exchanged() if is_first else {},
        done.optimizer_state() if keeps and is_first else {},
        tuple(done.losses) if is_first else (),
        done.seconds,
        done.peak_bytes,
        done.sent_bytes,
        done.returned_bytes,
        done.swapped_bytes,
        replica=machine.replica,
    )


def trains_anything(model: SplitModel, stop: int) -> bool:
    """Whether any of the first blocks is trained.

    Parameters
    ----------
    model
        The model.
    stop
        How many blocks.
    """
    return model.span(0, stop).num_trainable > 0


class MachinesHere:
    """Machines in this process: whichever has what it needs does its next piece of work.

    Parameters
    ----------
    model
        Holds the weights that the round starts from; trained in place.
    stages
        The client's machines.
    scenario, round_index
        Settings, and the round.
    optimizer_states
        By node, what an earlier round kept.
    measure_memory
        Whether to measure the peak memory of every machine.
    """

    def __init__(
        self,
        model: SplitModel,
        stages: Stages,
        scenario: Scenario,
        round_index: int,
        optimizer_states: Mapping[str, State],
        *,
        measure_memory: bool,
    ) -> None:
        self._stages: Sequence[Stage] = stages.working[1:]
        self._keeps = scenario.training.optimizer_state == "keep"
        self._machines = [
            [
                make_machine(
                    own_copy(model, stage) if replica else model.span(stage.start, stage.stop), stages, stage, scenario,
                    round_index, trains_below=trains_anything(model, stage.start), measure_memory=measure_memory,
                    replica=replica,
                )
                for replica in range(stages.replicas_of(stage))
            ]
            for stage in self._stages
        ]  # fmt: skip
        for stage, machines in zip(self._stages, self._machines, strict=True):
            for machine in machines:
                machine.stage.load_optimizer_state(optimizer_states.get(stage.node, {}))
        self._arrived: list[Downward] = []

    def send(self, message: Upward) -> None:
        """Send a micro-batch to the first machine."""
        self._give(0, message.number, message)

    def receive(self) -> Downward:
        """Let machines work until the next gradient is here."""
        while not self._arrived:
            assert self._advance(), "no machine can go on"
        return self._arrived.pop(0)

    def finish(self) -> tuple[StageOutcome, ...]:
        """Let machines end their work, and return what each has."""
        while self._advance():
            pass
        return tuple(
            outcome_of(stage, machine, keeps=self._keeps)
            for stage, machines in zip(self._stages, self._machines, strict=True)
            for machine in machines
        )

    def _advance(self) -> bool:
        """Let every machine that can do a piece of work do one; return whether any could."""
        ready = [
            (position, machine)
            for position, machines in enumerate(self._machines)
            for machine in machines
            if machine.is_ready
        ]
        for position, machine in ready:
            # A machine holds nothing of a message that has left it.
            self._pass_on(position, machine, machine.work())
        return bool(ready)

    def _pass_on(self, position: int, machine: Machine, message: Message | None) -> None:
        if isinstance(message, Upward):
            self._give(position + 1, message.number, message)
        elif isinstance(message, Swapped):
            self._give(position, machine.replica ^ message.stride, message)
        elif message is not None and position:
            self._give(position - 1, message.number, message)
        elif message is not None:
            self._arrived.append(message.carried())

    def _give(self, position: int, number: int, message: Message) -> None:
        machines = self._machines[position]
        machines[number % len(machines)].take(message.carried())


def own_copy(model: SplitModel, stage: Stage) -> Part:
    """Return blocks of a machine that serves many clients at once: a copy for one of them.

    Parameters
    ----------
    model
        Its working model.
    stage
        Which blocks.
    """
    return copy.deepcopy(model.span(stage.start, stage.stop))
