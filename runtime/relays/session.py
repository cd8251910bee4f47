"""One client's round over several machines, with bytes, seconds and peak memory measured machine by machine."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from hybridsplit.runtime.relays.messages import Message, Upward, micro_batches_of
from hybridsplit.runtime.relays.places import reports_by_place
from hybridsplit.runtime.relays.upper import StageOutcome, UpperMachines, make_machine, outcome_of
from hybridsplit.runtime.split.link import Batch
from hybridsplit.runtime.split.parts import SplitModel, State
from hybridsplit.runtime.split.reports import ClientReport, ClientRound
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.schema import Scenario

OpenUpper = Callable[[Mapping[str, State]], UpperMachines]
"""Begins a round at the machines above, with what their optimizers kept, by node."""


class RelaySession:
    """A client in the middle of a round.

    Parameters
    ----------
    model
        Working copy of the model, holding the weights the round starts from; the client's blocks are trained in place.
    assignment
        The client, with its stages.
    scenario, round_index
        Settings, and the round, from 0.
    open_upper
        Begins the round at the machines above the client.
    optimizer_state
        What an earlier round kept; empty to start without.
    measure_memory
        Whether to measure peak memory.
    """

    def __init__(
        self,
        model: SplitModel,
        assignment: Assignment,
        scenario: Scenario,
        round_index: int,
        open_upper: OpenUpper,
        optimizer_state: State,
        *,
        measure_memory: bool,
    ) -> None:
        stages = assignment.stages
        assert stages is not None, f"{assignment.client} has no stages"
        self.stages, self._own = stages, stages.path[0]
        self._keeps = scenario.training.optimizer_state == "keep"
        kept = _by_node(optimizer_state) if self._keeps else {}
        self._machine = make_machine(
            model.span(0, self._own.stop), stages, self._own, scenario, round_index,
            trains_below=False, measure_memory=measure_memory,
        )  # fmt: skip
        self._machine.stage.load_optimizer_state(kept.get(self._own.node, {}))
        self._upper = open_upper(kept) if len(stages.working) > 1 else None

    def step(self, batch: Batch) -> None:
        """Train on one mini-batch.

        Parameters
        ----------
        batch
            The whole batch, which the client holds.
        """
        machine = self._machine
        machine.stage.hold(batch.inputs, batch.labels, batch.mask_BS)
        for message in micro_batches_of(batch, self.stages.micro_batches):
            machine.take(message)
        is_begun = False
        while not (is_begun and machine.begins_step):
            is_begun = True
            if not machine.is_ready:
                assert self._upper is not None, "the only machine waits for another"
                machine.take(self._upper.receive())
                continue
            self._pass_on(machine.work())

    def _pass_on(self, message: Message | None) -> None:
        """Send a micro-batch up; what comes out of the first blocks backward goes nowhere."""
        if isinstance(message, Upward):
            assert self._upper is not None, "the only machine computes the loss"
            self._upper.send(message)

    def finish(self) -> tuple[tuple[StageOutcome, ...], State]:
        """End the round; return what each machine that works has, and what is kept of their optimizers."""
        own = outcome_of(self._own, self._machine, keeps=self._keeps)
        outcomes = (own, *(self._upper.finish() if self._upper is not None else ()))
        kept = {
            f"{one.node}:{name}": tensor.clone() for one in outcomes for name, tensor in one.optimizer_state.items()
        }
        return outcomes, kept


def run_relay_round(
    model: SplitModel,
    assignment: Assignment,
    draw: Callable[[int], Batch],
    scenario: Scenario,
    round_index: int,
    open_upper: OpenUpper,
    *,
    measure_memory: bool,
    optimizer_state: State | None = None,
) -> ClientRound:
    """Train one client over its machines for one round, from the weights that the model holds.

    Parameters
    ----------
    model
        Working copy of the model; overwritten. The state that is returned is valid until it is used again.
    assignment
        The client, with its stages.
    draw
        Gives the batch of a global step.
    scenario, round_index
        Training settings and seed, and the round, from 0.
    open_upper
        As for :class:`RelaySession`.
    measure_memory
        Whether to measure peak memory.
    optimizer_state
        What an earlier round of this client returned; a fresh state when None.
    """
    session = RelaySession(
        model, assignment, scenario, round_index, open_upper, optimizer_state or {}, measure_memory=measure_memory
    )
    steps = scenario.training.local_steps
    for step in range(steps):
        batch = draw(round_index * steps + step)
        session.step(batch)
    outcomes, kept = session.finish()
    losses = next(one.losses for one in reversed(outcomes) if one.losses)
    report = ClientReport(
        assignment=assignment,
        train_loss=sum(losses) / len(losses),
        bytes_by_phase={},
        seconds_by_phase={},
        peak_bytes=outcomes[0].peak_bytes,
        diverged_at_step=next((step for step, loss in enumerate(losses) if not math.isfinite(loss)), None),
        places=reports_by_place(session.stages, outcomes, on_device=assignment.resource is not None),
    )
    return ClientRound(report, {name: t for one in outcomes for name, t in one.state.items()}, kept)


def _by_node(optimizer_state: State) -> dict[str, State]:
    """Divide what an earlier round kept among the machines: no node's name holds a colon."""
    found: dict[str, State] = {}
    for name, tensor in optimizer_state.items():
        node, entry = name.split(":", 1)
        found.setdefault(node, {})[entry] = tensor
    return found
