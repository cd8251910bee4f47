"""What runs inside Ray's processes: a worker, and the model server. States travel between them as safetensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import ray
from numpy.typing import NDArray
from safetensors.torch import load, save

from hybridsplit.runtime.aggregation.scalar_log import AveragedRound
from hybridsplit.runtime.aggregation.weighted_mean import Contribution
from hybridsplit.runtime.executors.state_files import kept_clients, load_states, save_states
from hybridsplit.runtime.split.compute import CPU_ONLY, ComputeDevices
from hybridsplit.runtime.split.link import TimedLink
from hybridsplit.runtime.split.parts import State
from hybridsplit.runtime.split.reports import ClientReport
from hybridsplit.runtime.worker.groups import Group
from hybridsplit.runtime.worker.model_server import ModelServer
from hybridsplit.runtime.worker.worker import GroupReport, Worker
from hybridsplit.scenarios.schema import Scenario

StateRef: TypeAlias = Any
"""``ray.ObjectRef[bytes]``: a state as safetensors, in Ray's object store."""
PartRef: TypeAlias = Any
"""``ray.ObjectRef[list[PackedContribution]]``: contributions of groups that one worker trained."""
KeptRef: TypeAlias = Any
"""``ray.ObjectRef[dict[str, bytes]]``: optimizer states of some clients, by client."""
PackedContribution = tuple[dict[str, float], NDArray[np.uint8]]
"""The weights of a contribution and its mean as safetensors, in an array: Ray copies arrays once, and bytes twice."""


@dataclass(frozen=True)
class RayState:
    """Where a global state lies, and by client where its optimizer state does."""

    state: StateRef
    optimizer_states: Mapping[str, KeptRef] = field(default_factory=dict)


class RayWorker:
    """A worker process.

    Parameters
    ----------
    make_worker
        Makes the worker inside the process.
    scenario, num_threads
        What it works on.
    """

    def __init__(self, make_worker: Callable[[Scenario, int], Worker], scenario: Scenario, num_threads: int) -> None:
        self._worker = make_worker(scenario, num_threads)
        self._known: tuple[str, State] = "", {}

    def prepare(self) -> None:
        """Load data and model, so that what goes wrong there shows before any training."""
        self._worker.prepare()

    def train_groups(
        self,
        state: Sequence[StateRef],
        groups: Sequence[Group],
        round_index: int,
        measure: frozenset[str],
        optimizer_states: Mapping[str, Sequence[KeptRef]],
    ) -> tuple[list[GroupReport], list[PackedContribution], dict[str, bytes]]:
        """Train groups one after another; see :meth:`hybridsplit.runtime.worker.worker.Worker.train_group`.

        Parameters
        ----------
        state
            The global state; in a list, so that it is read once a round and not with every call.
        groups, round_index, measure
            Who, when, and whose memory is measured.
        optimizer_states
            By client, where its state of an earlier round lies.

        Returns
        -------
        The groups' reports, and, each as an object of its own: their contributions, and the optimizer states.
        """
        kept, start = _kept(optimizer_states), self._state(state)
        return _by_kind(
            (outcome.report, pack(outcome.contribution), outcome.optimizer_states)
            for outcome in (self._worker.train_group(start, group, round_index, measure, kept) for group in groups)
        )

    def train_side_by_side(
        self,
        state: Sequence[StateRef],
        groups: Sequence[Group],
        round_index: int,
        measure: frozenset[str],
        optimizer_states: Mapping[str, Sequence[KeptRef]],
        link_of: Callable[[str], TimedLink],
        before_client: Callable[[str], None],
    ) -> tuple[list[GroupReport], list[PackedContribution], dict[str, bytes]]:
        """Train groups against a shared server.

        Parameters
        ----------
        state, groups, round_index, measure, optimizer_states
            As of :meth:`train_groups`.
        link_of, before_client
            As of :meth:`hybridsplit.runtime.worker.worker.Worker.train_side_by_side`.

        Returns
        -------
        As :meth:`train_groups`.
        """
        kept = _kept(optimizer_states)
        outcomes = self._worker.train_side_by_side(
            self._state(state), groups, round_index, measure, kept, link_of, before_client
        )
        return _by_kind((o.report, pack(o.contribution), o.optimizer_states) for o in outcomes)

    def _state(self, state: Sequence[StateRef]) -> State:
        known = state[0].hex()
        if self._known[0] != known:
            self._known = known, load(ray.get(state[0]))
        return self._known[1]


class RayModelServer:
    """The process of the model server, on the driver's machine: it writes the checkpoints there.

    Parameters
    ----------
    scenario, num_threads, devices
        What it works on, and where.
    """

    def __init__(self, scenario: Scenario, num_threads: int, devices: ComputeDevices = CPU_ONLY) -> None:
        self._server, self._devices = ModelServer(scenario, num_threads, devices), devices

    # States are returned beside a small first object, which the driver waits for without reading the state.

    def initial_state(self) -> tuple[None, bytes]:
        """Return the state training starts from."""
        return None, save(self._server.initial_state())

    def state_bytes(self) -> int:
        """Return the size of a state."""
        return sum(tensor.nbytes for tensor in self._server.initial_state().values())

    def add(self, first: int, order: Sequence[tuple[int, int]], *parts: Sequence[PackedContribution]) -> None:
        """Add what workers returned, in the order of (part, index) pairs; ``first`` is the position of the first."""
        for position, (part, index) in enumerate(order, first):
            weights, mean = parts[part][index]
            self._server.add(position, Contribution(load(mean.tobytes()), weights))

    def finish(
        self, state: bytes, num_groups: int, round_index: int, reports: Sequence[ClientReport]
    ) -> tuple[AveragedRound | None, bytes]:
        """Return the scalars that moved the common blocks, if there are any, and the next global state.

        Parameters
        ----------
        state
            The global state that the round started from.
        num_groups
            Groups whose contributions were added.
        round_index, reports
            The round, and the reports of the clients whose training counts.
        """
        averaged, new = self._server.finish(load(state), num_groups, round_index, reports)
        return averaged, save(new)

    def evaluate(self, state: bytes) -> float:
        """Return the score of a state on the test data."""
        self._devices.begin()
        return self._server.evaluate(load(state))

    def save(self, state: bytes, optimizer_states: Mapping[str, Sequence[KeptRef]], folder: Path) -> None:
        """Write states into a folder.

        Parameters
        ----------
        state
            The global state.
        optimizer_states
            By client, where its state lies.
        folder
            A folder on the driver's machine.
        """
        save_states(folder, load(state), _kept(optimizer_states))

    def kept_clients(self, folder: Path) -> list[str]:
        """Return whose optimizer states :meth:`save` wrote."""
        return kept_clients(folder)

    def load(self, folder: Path, clients: Sequence[str]) -> tuple[Any, ...]:
        """Read what :meth:`save` wrote: the state and, each as an object of its own, the clients' optimizer states."""
        state, optimizer_states = load_states(folder)
        return None, save(state), *({client: save(optimizer_states[client])} for client in clients)


def _kept(optimizer_states: Mapping[str, Sequence[KeptRef]]) -> dict[str, State]:
    """Read each client's optimizer state; references are in lists, since Ray replaces bare ones by their values."""
    by_ref: dict[KeptRef, list[str]] = {}
    for client, (ref,) in optimizer_states.items():
        by_ref.setdefault(ref, []).append(client)
    kept: dict[str, State] = {}
    for ref, clients in by_ref.items():
        packed = ray.get(ref)
        # Clients that train nothing keep nothing.
        kept |= {client: load(packed[client]) for client in clients if client in packed}
    return kept


def pack(contribution: Contribution) -> PackedContribution:
    """Return a contribution as it travels."""
    return contribution.weights, np.frombuffer(save(contribution.mean), dtype=np.uint8)


EMPTY = pack(Contribution({}, {}))
"""A contribution of no clients."""


def _by_kind(
    outcomes: Iterable[tuple[GroupReport, PackedContribution, Mapping[str, State]]],
) -> tuple[list[GroupReport], list[PackedContribution], dict[str, bytes]]:
    """Sort outcomes of groups by kind; each is packed before the next is computed."""
    reports: list[GroupReport] = []
    parts: list[PackedContribution] = []
    optimizers: dict[str, bytes] = {}
    for report, part, optimizer_states in outcomes:
        reports.append(report)
        parts.append(part)
        optimizers |= {client: save(own) for client, own in optimizer_states.items()}
    return reports, parts, optimizers
