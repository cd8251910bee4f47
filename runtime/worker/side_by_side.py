"""Clients that train side by side, step after step, against a shared server."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from hybridsplit.runtime.aggregation.weighted_mean import EntryWeights, WeightedMean
from hybridsplit.runtime.session.client import ClientSession
from hybridsplit.runtime.session.handing_over import HandedOver, handed_over, of_side, sides
from hybridsplit.runtime.session.server import ServerSide
from hybridsplit.runtime.split.compute import CPU_ONLY, ComputeDevices
from hybridsplit.runtime.split.learning_rates import training_at_round
from hybridsplit.runtime.split.link import Batch, TimedLink
from hybridsplit.runtime.split.parts import Part, SplitModel, State, block_of
from hybridsplit.runtime.split.reports import ClientRound
from hybridsplit.runtime.worker.groups import Group
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.schema import Scenario


class SideBySideClients:
    """Some clients of a round, each with a client part of its own.

    Parameters
    ----------
    model
        Working copy of the model; overwritten with the state.
    state
        The global state.
    groups
        The clients.
    scenario, round_index
        Settings, and when.
    measure
        Clients whose peak memory is measured.
    optimizer_states
        By client, what an earlier round kept.
    link_of
        Returns a client's link to the shared server.
    devices
        Where client parts are computed.
    """

    def __init__(
        self,
        model: SplitModel,
        state: State,
        groups: Sequence[Group],
        scenario: Scenario,
        round_index: int,
        measure: frozenset[str],
        optimizer_states: Mapping[str, State],
        link_of: Callable[[str], TimedLink],
        devices: ComputeDevices = CPU_ONLY,
    ) -> None:
        self._groups, self._state, self._kept = groups, state, optimizer_states
        self._keeps, self._training = scenario.training.optimizer_state == "keep", scenario.training
        self._first_step = round_index * scenario.training.local_steps
        self._sessions: dict[str, tuple[ClientSession, Part, TimedLink]] = {}
        model.whole.load(state)
        training = training_at_round(scenario.training, round_index)
        for member in self.members:
            own = model.client_part(member.placement.cut, member.placement.mode)
            part = devices.place_client(copy.deepcopy(own))
            # A client with the whole model has no server part, and needs no shared one.
            whole = member.placement.cut == model.num_blocks
            link: TimedLink = (
                ServerSide(model.server_part(member.placement.cut), training, scenario.model.loss_kind)
                if whole
                else link_of(member.client)
            )
            session = ClientSession(
                part, link, member, scenario, round_index,
                num_blocks=model.num_blocks, measure_memory=member.client in measure,
            )  # fmt: skip
            session.begin_with(self._earlier(member))
            self._sessions[member.client] = session, part, link

    @property
    def members(self) -> list[Assignment]:
        """The clients, in the order of the groups."""
        return [member for group in self._groups for member in group.members]

    def _earlier(self, member: Assignment) -> HandedOver:
        own = of_side(self._kept.get(member.client, {}), "client") if self._keeps else {}
        return handed_over(own, {}, member, self._training)

    def step(self, step: int, member: Assignment, draw: Callable[[Assignment, int], Batch]) -> None:
        """Take one client's step of the round.

        Parameters
        ----------
        step
            Counts from 0 within the round.
        member
            The client.
        draw
            Returns a client's mini-batch of a step, counted from the start of training.
        """
        session, _, _ = self._sessions[member.client]
        session.step(step, partial(draw, member, self._first_step + step))

    def finish(self) -> dict[str, ClientRound]:
        """End the round; a client's state holds its own blocks only."""
        found: dict[str, ClientRound] = {}
        for member in self.members:
            session, part, link = self._sessions.pop(member.client)
            kept = sides(client=session.estimator.optimizer_state()) if self._keeps else {}
            report = session.finish(self._state, self._earlier(member).client, link.seconds)
            found[member.client] = ClientRound(report, part.exchanged(), kept)
        return found


def client_blocks_mean(rounds: Sequence[ClientRound], entry_weights: EntryWeights) -> WeightedMean:
    """Return the mean of client parts, the server's blocks left out."""
    mean = WeightedMean()
    for outcome in rounds:
        member = outcome.report.assignment
        weights = entry_weights.of(member)
        mean.add(outcome.state, {name: w for name, w in weights.items() if block_of(name) < member.placement.cut})
    return mean
