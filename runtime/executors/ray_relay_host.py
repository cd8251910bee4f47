"""Machines of a network of relays as Ray processes: activations go from process to process, and gradients back.

A process hosts any number of emulated machines, and serves the clients of all workers; a machine that is a real one has
a process of its own there. A micro-batch is one chain of calls: each machine's call returns when its gradient is ready,
so that a process that dies anywhere on the way is known at once to all that wait for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import ray
import torch
from safetensors.torch import load

from hybridsplit.runtime.data.sources import model_blocks
from hybridsplit.runtime.executors.ray_actors import StateRef
from hybridsplit.runtime.executors.ray_pieces import answered, joined, reply, sent
from hybridsplit.runtime.executors.ray_relay_messages import (
    Parcel,
    packed,
    unpacked_downward,
    unpacked_swapped,
    unpacked_upward,
)
from hybridsplit.runtime.executors.ray_relay_visits import Neighbours, Visit
from hybridsplit.runtime.relays.machine import Machine
from hybridsplit.runtime.relays.messages import Swapped, Upward
from hybridsplit.runtime.relays.upper import StageOutcome, make_machine, outcome_of, own_copy, trains_anything
from hybridsplit.runtime.split.parts import SplitModel, State
from hybridsplit.scenarios.contracts.stages import Stage, Stages
from hybridsplit.scenarios.errors import RunError
from hybridsplit.scenarios.schema import Scenario

_LONG_S, _KEPT = 0.005, 0.9
"""Pieces of work above which a thread does them, by the longest of late, of which so much is kept from one to the next.
Handing one to a thread takes a millisecond or so of two busy cores."""


@dataclass
class _Held:
    """What a process holds of a client at one machine; no machine is at work where it only forwards."""

    stage: Stage
    machine: Machine | None
    neighbours: Neighbours
    waiting: dict[int, asyncio.Future[bytes]] = field(default_factory=dict)
    moved: asyncio.Event = field(default_factory=asyncio.Event)
    is_at_work: bool = False
    longest_s: float = 2 * _LONG_S
    error: Exception | None = None

    def next_of(self, number: int) -> tuple[Any, Visit]:
        """Return who runs a micro-batch next."""
        following = self.neighbours.following
        return following[number % len(following)]


class RelayHost:
    """A process that hosts machines.

    Parameters
    ----------
    scenario, num_threads
        What it works on.
    is_real
        Whether it runs on the machine that it stands for.
    """

    def __init__(self, scenario: Scenario, num_threads: int, *, is_real: bool) -> None:
        self._scenario, self._num_threads, self._is_real = scenario, num_threads, is_real
        self._model: SplitModel | None = None
        self._known: tuple[str, State] = "", {}
        self._held: dict[Visit, _Held] = {}
        self._running: set[asyncio.Task[None]] = set()
        # Torch keeps the number of threads by thread.
        self._thread = ThreadPoolExecutor(1, "work", torch.set_num_threads, (num_threads,))

    async def prepare(self) -> None:
        """Build the model, so that what goes wrong there shows before any training."""
        # Calls come on another thread than the constructor's.
        torch.set_num_threads(self._num_threads)
        if self._model is None:
            self._model = SplitModel(model_blocks(self._scenario))

    async def is_there(self) -> None:
        """Return as soon as the process is free."""

    async def lives(self) -> None:
        """Never return: whoever waits for it is told when the process dies."""
        await asyncio.Event().wait()

    async def begin(
        self,
        visit: Visit,
        state: Sequence[StateRef],
        stages: Stages,
        round_index: int,
        kept: bytes,
        neighbours: Neighbours,
        *,
        measure_memory: bool,
    ) -> None:
        """Begin a client's round at a machine; earlier attempts of the client there are forgotten.

        Parameters
        ----------
        visit
            Client and machine.
        state
            The global state; in a list, so that it is read once a round.
        stages, round_index
            The client's machines, and the round, from 0.
        kept
            Optimizer state of an earlier round, as safetensors.
        neighbours
            The processes that it sends to.
        measure_memory
            Whether to measure peak memory.
        """
        await self.prepare()
        assert self._model is not None
        for earlier in [one for one in self._held if one._replace(attempt="") == visit._replace(attempt="")]:
            # Whoever still waits there waits for a process that has died.
            _fail(self._held.pop(earlier), RunError(f"another attempt at the round of {visit.client} has begun"))
        path = stages.crossed
        position = next(index for index, stage in enumerate(path) if stage.node == visit.node)
        stage, machine = path[position], None
        if not stage.only_forwards:
            known = state[0].hex()
            if self._known[0] != known:
                self._known = known, load(await state[0])
            part = own_copy(self._model, stage)
            part.load(self._known[1])
            machine = make_machine(
                part, stages, stage, self._scenario, round_index,
                trains_below=trains_anything(self._model, stage.start), measure_memory=measure_memory,
                replica=visit.replica,
            )  # fmt: skip
            machine.stage.load_optimizer_state(load(kept))
        self._held[visit] = _Held(stage, machine, neighbours)

    async def up(self, visit: Visit, number: int, num_pieces: int, *pieces: bytes) -> Any:
        """Take a micro-batch from the machine before, and return its gradient when it is there.

        Parameters
        ----------
        visit
            Client and machine.
        number
            Which micro-batch of the step.
        num_pieces, *pieces
            Its tensors, as :func:`hybridsplit.runtime.executors.ray_pieces.sent` sends them.

        Returns
        -------
        The gradient in as many pieces.

        Raises
        ------
        Exception
            What has gone wrong here, or at a machine that this one sends to.
        """
        held = self._held[visit]
        if held.machine is None:
            host, next_visit = held.next_of(number)
            return answered(await reply(sent(host.up, joined(pieces), next_visit, number)), num_pieces)
        if held.error is not None:
            raise held.error
        held.waiting[number] = asyncio.get_running_loop().create_future()
        done = held.waiting[number]
        held.machine.take(unpacked_upward(number, joined(pieces)))
        self._work(held)
        return answered(await done, num_pieces)

    async def end(self, visit: Visit) -> StageOutcome | None:
        """End a client's round at a machine, as soon as its last step is done; None where it only forwards.

        Raises
        ------
        Exception
            What has gone wrong here, or at a machine that this one sends to.
        """
        held = self._held[visit]
        while held.machine is not None and (held.is_at_work or not held.machine.begins_step):
            if held.error is not None:
                raise held.error
            held.moved.clear()
            await held.moved.wait()
        if held.error is not None:
            raise held.error
        del self._held[visit]
        if held.machine is None:
            return None
        keeps = self._scenario.training.optimizer_state == "keep"
        return replace(outcome_of(held.stage, held.machine, keeps=keeps), is_real=self._is_real)

    async def swap(self, visit: Visit, num_pieces: int, *pieces: bytes) -> Any:
        """Take what another replica has of the sum of gradients.

        Parameters
        ----------
        visit
            Client and machine.
        num_pieces, *pieces
            The message, as :func:`hybridsplit.runtime.executors.ray_pieces.sent` sends it.

        Returns
        -------
        Nothing, in as many pieces.
        """
        held = self._held[visit]
        assert held.machine is not None
        held.machine.take(unpacked_swapped(joined(pieces)))
        self._work(held)
        return answered(b"", num_pieces)

    def _work(self, held: _Held) -> None:
        """Let a machine do all that it has what it needs for, and send what each piece makes before the next."""
        if not held.is_at_work:
            held.is_at_work = True
            self._start(self._work_off(held))

    async def _work_off(self, held: _Held) -> None:
        assert held.machine is not None
        try:
            while held.error is None and held.machine.is_ready:
                before_s = held.machine.stage.seconds
                self._pass_on(held, await self._worked(held.machine, is_long=held.longest_s > _LONG_S))
                held.longest_s = max(held.machine.stage.seconds - before_s, _KEPT * held.longest_s)
                await asyncio.sleep(0)
        except Exception as error:
            _fail(held, error)
        finally:
            held.is_at_work = False
            held.moved.set()

    async def _worked(self, machine: Machine, *, is_long: bool) -> Parcel | None:
        """Do a machine's next piece of work; messages come and go meanwhile if it is a long one."""
        if is_long:
            return await asyncio.get_running_loop().run_in_executor(self._thread, _worked, machine)
        return _worked(machine)

    def _pass_on(self, held: _Held, made: Parcel | None) -> None:
        if made is None or held.error is not None:
            return
        if made.kind is Upward:
            self._start(self._send(held, made.number, made.payload))
        elif made.kind is Swapped:
            assert held.machine is not None
            self._start(self._swap(held, held.neighbours.beside[held.machine.replica ^ made.number], made.payload))
        else:
            held.waiting.pop(made.number).set_result(made.payload)

    async def _send(self, held: _Held, number: int, payload: bytes) -> None:
        """Send a micro-batch on, and go on with its gradient."""
        assert held.machine is not None
        try:
            host, next_visit = held.next_of(number)
            answer = await reply(sent(host.up, payload, next_visit, number))
            held.machine.take(unpacked_downward(number, answer))
        except Exception as error:
            _fail(held, error)
            return
        self._work(held)

    def _start(self, sending: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(sending)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _swap(self, held: _Held, other: tuple[Any, Visit], payload: bytes) -> None:
        """Send another replica what this one has of the sum of gradients."""
        host, visit = other
        try:
            await reply(sent(host.swap, payload, visit))
        except Exception as error:
            _fail(held, error)


def _worked(machine: Machine) -> Parcel | None:
    """Do a machine's next piece of work, and pack what it makes: the machine holds nothing of what has left it."""
    message = machine.work()
    return None if message is None else packed(message)


def _fail(held: _Held, error: Exception) -> None:
    """Tell all that wait what went wrong, and those that come."""
    held.error = held.error or cause_of(error)
    held.moved.set()
    for waiting in held.waiting.values():
        if not waiting.done():
            waiting.set_exception(cause_of(error))


def cause_of(error: Exception) -> Exception:
    """Return what an error was at first, however many calls it has passed through."""
    while isinstance(error, ray.exceptions.RayTaskError) and isinstance(error.cause, Exception):
        error = error.cause
    return error
