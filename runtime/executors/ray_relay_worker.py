"""A worker on Ray whose clients' other machines are processes of their own."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import ray
from safetensors.torch import save

from hybridsplit.runtime.executors.ray_actors import KeptRef, PackedContribution, RayWorker, StateRef
from hybridsplit.runtime.executors.ray_pieces import joined, sent
from hybridsplit.runtime.executors.ray_relay_host import cause_of
from hybridsplit.runtime.executors.ray_relay_messages import packed_upward, unpacked_downward
from hybridsplit.runtime.executors.ray_relay_visits import Neighbours, Visit
from hybridsplit.runtime.relays.messages import Downward, Upward
from hybridsplit.runtime.relays.upper import StageOutcome, UpperMachines
from hybridsplit.runtime.relays.worker import RelayWorker
from hybridsplit.runtime.split.parts import State
from hybridsplit.runtime.worker.groups import Group
from hybridsplit.runtime.worker.worker import GroupReport
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.contracts.stages import machine_name

Hosts = Mapping[str, Any]
"""The process of every machine, by its name."""


class RemoteMachines:
    """The machines above a client, in other processes; see :class:`hybridsplit.runtime.relays.upper.UpperMachines`.

    Parameters
    ----------
    hosts
        The process of every machine.
    state
        The global state.
    assignment, attempt
        The client, and which attempt this is.
    round_index
        The round, from 0.
    optimizer_states
        By node, what an earlier round kept.
    measure_memory
        Whether to measure the peak memory of every machine.
    """

    def __init__(
        self,
        hosts: Hosts,
        state: Sequence[StateRef],
        assignment: Assignment,
        attempt: str,
        round_index: int,
        optimizer_states: Mapping[str, State],
        *,
        measure_memory: bool,
    ) -> None:
        assert assignment.stages is not None, f"{assignment.client} has no stages"
        stages, above = assignment.stages, assignment.stages.crossed[1:]
        visits = [
            tuple(
                (hosts[machine_name(stage.node, at)], Visit(assignment.client, attempt, stage.node, at))
                for at in range(1 if stage.only_forwards else stages.replicas_of(stage))
            )
            for stage in above
        ]
        self._first, self._visits = visits[0], [visit for of_node in visits for visit in of_node]
        self._pending: deque[tuple[int, list[Any]]] = deque()
        begun = [
            host.begin.remote(
                visit, state, stages, round_index, save(dict(optimizer_states.get(visit.node, {}))),
                Neighbours(following, beside), measure_memory=measure_memory,
            )
            for beside, following in zip(visits, [*visits[1:], ()], strict=True)
            for host, visit in beside
        ]  # fmt: skip
        _got(begun)

    def send(self, message: Upward) -> None:
        """Send a micro-batch to the first machine."""
        host, visit = self._first[message.number % len(self._first)]
        self._pending.append((message.number, sent(host.up, packed_upward(message), visit, message.number)))

    def receive(self) -> Downward:
        """Wait for the next gradient."""
        number, answer = self._pending.popleft()
        return unpacked_downward(number, joined(_got(answer)))

    def finish(self) -> tuple[StageOutcome, ...]:
        """End the round at all machines."""
        outcomes: list[StageOutcome | None] = _got([host.end.remote(visit) for host, visit in self._visits])
        return tuple(outcome for outcome in outcomes if outcome is not None)


def _got(refs: Any) -> Any:
    """Return what references stand for; an error is what it was at first."""
    try:
        return ray.get(refs)
    except ray.exceptions.RayTaskError as error:
        raise cause_of(error) from None


class RemoteRelayWorker(RelayWorker):
    """Trains clients whose other machines are processes of their own."""

    _hosts: Hosts
    _state: Sequence[StateRef]
    _attempts: itertools.count[int] | None = None

    def reach(self, hosts: Hosts, state: Sequence[StateRef]) -> None:
        """Know the processes, and where the global state lies, for the rounds that follow.

        Parameters
        ----------
        hosts
            The process of every machine.
        state
            The global state.
        """
        self._hosts, self._state = hosts, state
        self._attempts = self._attempts or itertools.count()

    def machines_above(
        self, assignment: Assignment, round_index: int, optimizer_states: Mapping[str, State], *, measure_memory: bool
    ) -> UpperMachines:
        """Begin a client's round at the machines above it, as :meth:`RelayWorker.machines_above`.

        Parameters
        ----------
        assignment, round_index, optimizer_states, measure_memory
            As there.
        """
        assert self._attempts is not None, "reach() comes first"
        attempt = f"{ray.get_runtime_context().get_actor_id()}-{next(self._attempts)}"
        return RemoteMachines(
            self._hosts, self._state, assignment, attempt, round_index, optimizer_states, measure_memory=measure_memory
        )


class RayRelayWorker(RayWorker):
    """The process of a worker whose clients' other machines are processes of their own."""

    def train_groups(
        self,
        state: Sequence[StateRef],
        groups: Sequence[Group],
        round_index: int,
        measure: frozenset[str],
        optimizer_states: Mapping[str, Sequence[KeptRef]],
        hosts: Hosts | None = None,
    ) -> tuple[list[GroupReport], list[PackedContribution], dict[str, bytes]]:
        """Train groups, as :meth:`RayWorker.train_groups`.

        Parameters
        ----------
        state, groups, round_index, measure, optimizer_states
            As there.
        hosts
            The process of every machine.

        Returns
        -------
        As there.
        """
        assert isinstance(self._worker, RemoteRelayWorker)
        assert hosts is not None
        self._worker.reach(hosts, state)
        return super().train_groups(state, groups, round_index, measure, optimizer_states)
