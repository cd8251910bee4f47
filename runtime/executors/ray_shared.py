"""A shared server model on Ray: one process holds it, workers call it step by step, and clients take their turns.

The server serves clients in the order of the round, step after step, whichever worker runs them, so that the trained
bits do not depend on the workers. Every worker runs its clients in that order too; the one whose turn it is therefore
always moves on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

import ray
import torch
from safetensors.torch import load, save
from torch import Tensor

from hybridsplit.runtime.executors.ray_actors import KeptRef, PackedContribution, pack
from hybridsplit.runtime.noise import NoiseKey
from hybridsplit.runtime.split.compute import CPU, CPU_ONLY, ComputeDevices
from hybridsplit.runtime.split.link import Batch
from hybridsplit.runtime.worker.shared_server import SERVER, SharedServer
from hybridsplit.runtime.worker.worker import Worker
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.schema import Scenario

_ENDS_TURN = frozenset({"exact", "exact_kept"})
"""Requests after which the server has all it needs of a client in a step."""


class RaySharedServer:
    """The process of the shared server.

    Parameters
    ----------
    scenario, num_threads, devices
        What it works on, and where.
    """

    def __init__(self, scenario: Scenario, num_threads: int, devices: ComputeDevices = CPU_ONLY) -> None:
        self._worker, self._devices = Worker(scenario, num_threads, devices), devices
        self._server: SharedServer | None = None
        self._turn = 0
        self._at_work: dict[int, str] = {}
        self._moved_on = asyncio.Condition()

    def open(
        self,
        state: bytes,
        assignments: Sequence[Assignment],
        round_index: int,
        optimizer_state: Sequence[KeptRef],
    ) -> None:
        """Begin a round.

        Parameters
        ----------
        state
            The global state.
        assignments
            The clients that take part.
        round_index
            Counts from 0.
        optimizer_state
            A reference to what an earlier round kept, in a list; an empty list if there is none.
        """
        self._devices.begin()
        self._worker.load(load(state))
        self._server = self._worker.shared_server(assignments, round_index)
        self._server.load_optimizer_state(load(ray.get(optimizer_state[0])[SERVER]) if optimizer_state else {})
        self._turn = 0
        self._at_work = {}

    async def begins(self, worker: int, client: str) -> None:
        """Note that a worker begins a client's step."""
        self._at_work[worker] = client

    async def at_work(self) -> dict[int, str]:
        """Return the client that each worker has begun last."""
        return self._at_work

    async def whose_turn(self) -> str | None:
        """Return the client that is served now."""
        return self._clients[self._turn % len(self._clients)] if self._clients else None

    @property
    def _clients(self) -> tuple[str, ...]:
        assert self._server is not None, "no round was opened"
        return self._server.clients

    async def ask(
        self, client: str, step: int, key: NoiseKey | None, request: str, payload: bytes, options: dict[str, bool]
    ) -> tuple[bytes, float]:
        """Serve a client when its turn has come.

        Parameters
        ----------
        client, step
            Whose request, in which step of the round.
        key
            The client's noise key of the step.
        request, options
            A method of :class:`hybridsplit.runtime.session.server.ServerSide`, and its switches.
        payload
            Its tensors.

        Returns
        -------
        The tensor of the answer, if there is one, and the loss.
        """
        assert self._server is not None, "no round was opened"
        mine = step * len(self._clients) + self._clients.index(client)
        async with self._moved_on:
            await self._moved_on.wait_for(lambda: self._turn == mine)
            # Messages are made of tensors of the CPU.
            side = self._devices.linked(self._server.side(client), here=CPU)
            if key is not None:
                side.begin_step(key)
            answer, loss = _answer(side, request, load(payload), options)
            if request in _ENDS_TURN:
                self._turn += 1
                if self._turn % len(self._clients) == 0:
                    self._server.end_step()
                self._moved_on.notify_all()
        return save({} if answer is None else {"answer": answer}), loss

    def close(self) -> tuple[list[PackedContribution], dict[str, bytes]]:
        """End the round: the server's contribution, in a list, and its optimizer state."""
        assert self._server is not None, "no round was opened"
        return [pack(self._server.contribution())], {SERVER: save(self._server.optimizer_state())}


def _answer(
    side: Any, request: str, tensors: Mapping[str, Tensor], options: dict[str, bool]
) -> tuple[Tensor | None, float]:
    batch = Batch(torch.empty(0), tensors["labels"], tensors["mask"].bool() if "mask" in tensors else None)
    match request:
        case "exact":
            gradient, loss = side.exact(tensors["h"], batch, **options)
            return gradient, float(loss)
        case "probe":
            return side.probe(tensors["h"], batch, **options), 0.0
        case "exact_kept":
            return None, float(side.exact_kept(batch))
        case _:
            raise AssertionError(request)


class Announcer:
    """Reports to the server which client a worker begins, so that the client is known if the worker then hangs or dies.

    Parameters
    ----------
    server
        The actor.
    worker
        The worker's number in this round.
    """

    def __init__(self, server: Any, worker: int) -> None:
        self._server, self._worker = server, worker

    def __call__(self, client: str) -> None:
        """Return when the server knows."""
        ray.get(self._server.begins.remote(self._worker, client))


def announce_nothing(client: str) -> None:
    """Report nothing, which saves the round trip."""


class RemoteSide:
    """A client's link to the shared server in another process; see :class:`hybridsplit.runtime.split.link.ServerLink`.

    Parameters
    ----------
    server
        The actor.
    client
        The client.
    """

    def __init__(self, server: Any, client: str) -> None:
        self._server, self._client = server, client
        self._step = -1
        self._key: NoiseKey | None = None
        self.seconds = 0.0

    @property
    def trains_server(self) -> bool:
        """True: clients with the whole model have no link."""
        return True

    def begin_step(self, key: NoiseKey) -> None:
        """Start a step; the server is informed with the first request."""
        self._step, self._key = self._step + 1, key

    def exact(self, h: Tensor, batch: Batch, *, wants_gradient: bool) -> tuple[Tensor | None, float]:
        """Train the server part on smashed data; return λ in their shape, if wanted, and the loss.

        As :meth:`hybridsplit.runtime.split.link.ServerLink.exact`.
        """
        gradient, loss = self._ask("exact", h, batch, {"wants_gradient": wants_gradient})
        return gradient, loss

    def probe(self, h: Tensor, batch: Batch, *, keep: bool = False) -> Tensor:
        """Return the loss of smashed data, shape [].

        As :meth:`hybridsplit.runtime.split.link.ServerLink.probe`.
        """
        loss, _ = self._ask("probe", h, batch, {"keep": keep})
        assert loss is not None
        return loss

    def exact_kept(self, batch: Batch) -> float:
        """Train the server part on the smashed data kept in this step; return their mean loss."""
        return self._ask("exact_kept", None, batch, {})[1]

    def share_scalars(self, scalars_P: Tensor, seeds_P: Tensor) -> Tensor:
        """Return the scalars to apply, [P]: directions are this client's own."""
        return scalars_P

    def _ask(
        self, request: str, h: Tensor | None, batch: Batch, options: dict[str, bool]
    ) -> tuple[Tensor | None, float]:
        start_s = perf_counter()
        tensors = {"labels": batch.labels, "mask": batch.mask_BS, "h": h}
        payload = save({name: t.detach().to(CPU).contiguous() for name, t in tensors.items() if t is not None})
        key, self._key = self._key, None
        asked = self._server.ask.remote(self._client, self._step, key, request, payload, options)
        answer, loss = ray.get(asked)
        self.seconds += perf_counter() - start_s
        found = load(answer).get("answer")
        return None if found is None else found.to(batch.labels.device), loss
