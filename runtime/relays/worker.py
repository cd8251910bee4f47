"""A worker process for clients whose model is cut several times."""

from __future__ import annotations

from collections.abc import Mapping

from hybridsplit.runtime.relays.session import run_relay_round
from hybridsplit.runtime.relays.upper import MachinesHere, UpperMachines
from hybridsplit.runtime.split.parts import State
from hybridsplit.runtime.split.reports import ClientRound
from hybridsplit.runtime.worker.worker import Worker
from hybridsplit.scenarios.contracts.assignment import Assignment


class RelayWorker(Worker):
    """Trains clients over their machines, all of them in this process unless a subclass has them elsewhere."""

    def train_client(
        self,
        state: State,
        assignment: Assignment,
        round_index: int,
        measure_memory: bool,
        optimizer_state: State | None,
    ) -> ClientRound:
        """Train one client for one round, as :meth:`hybridsplit.runtime.worker.worker.Worker.train_client`.

        Parameters
        ----------
        state, assignment, round_index, measure_memory, optimizer_state
            As there.
        """
        self.load(state)
        return run_relay_round(
            self._model,
            assignment,
            lambda global_step: self._draw(assignment, global_step),
            self._scenario,
            round_index,
            lambda kept: self.machines_above(assignment, round_index, kept, measure_memory=measure_memory),
            measure_memory=measure_memory,
            optimizer_state=optimizer_state,
        )

    def machines_above(
        self, assignment: Assignment, round_index: int, optimizer_states: Mapping[str, State], *, measure_memory: bool
    ) -> UpperMachines:
        """Begin a client's round at the machines above it.

        Parameters
        ----------
        assignment, round_index
            The client, and the round.
        optimizer_states
            By node, what an earlier round kept.
        measure_memory
            Whether to measure the peak memory of every machine.
        """
        assert assignment.stages is not None, f"{assignment.client} has no stages"
        return MachinesHere(
            self._model, assignment.stages, self._scenario, round_index, optimizer_states, measure_memory=measure_memory
        )
