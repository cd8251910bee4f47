"""A machine at work for one client: it does what its order says next, as soon as what that needs has arrived."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from enum import Enum

from hybridsplit.runtime.relays.messages import Downward, Message, Swapped, Upward
from hybridsplit.runtime.relays.order import forward_turns
from hybridsplit.runtime.relays.stage import StageTraining
from hybridsplit.runtime.relays.sums import strides


class _Work(Enum):
    FORWARD = "forward"
    BACKWARD = "backward"
    SUM = "sum"
    SWAP = "swap"
    ADD = "add"
    UPDATE = "update"


class Machine:
    """Takes messages, and works them off in its own order, whatever the order of their arrival.

    Parameters
    ----------
    stage
        The client's blocks on it.
    warm_up, micro_batches
        Its order in every step, see :func:`hybridsplit.runtime.relays.order.forward_turns`.
    replica, replicas
        Which of the machines that share the micro-batches it is, and how many there are.
    """

    def __init__(
        self, stage: StageTraining, warm_up: int, micro_batches: int, replica: int = 0, replicas: int = 1
    ) -> None:
        self.stage, self.replica = stage, replica
        numbers = range(replica, micro_batches, replicas)
        steps = (_a_step(min(warm_up, len(numbers)), numbers, replicas) for _ in itertools.count())
        self._orders = itertools.chain.from_iterable(steps)
        self._first = self._next = next(self._orders)
        self._step = 0
        self._up: dict[int, Upward] = {}
        self._down: dict[int, Downward] = {}
        self._swapped: dict[tuple[int, int], Swapped] = {}

    def take(self, message: Message) -> None:
        """Take what has arrived."""
        if isinstance(message, Swapped):
            self._swapped[message.step, message.stride] = message
            return
        box: dict[int, Upward] | dict[int, Downward] = self._up if isinstance(message, Upward) else self._down
        assert message.number not in box, f"micro-batch {message.number} arrived twice"
        box[message.number] = message  # type: ignore[assignment]

    @property
    def is_ready(self) -> bool:
        """Whether the next piece of work has what it needs."""
        work, number = self._next
        if work is _Work.ADD:
            return (self._step, number) in self._swapped
        return work not in (_Work.FORWARD, _Work.BACKWARD) or number in (
            self._up if work is _Work.FORWARD else self._down
        )

    @property
    def begins_step(self) -> bool:
        """Whether all steps so far are done, to the update."""
        return self._next == self._first

    def work(self) -> Message | None:
        """Do the next piece of work, and return the message that it makes, if it makes one."""
        work, number = self._next
        self._next = next(self._orders)
        if work is _Work.BACKWARD:
            return self.stage.backward(self._down.pop(number))
        if work is _Work.FORWARD:
            sent = self.stage.forward(self._up.pop(number))
            if sent is None:
                self._down[number] = Downward(number)
            return sent
        if work is _Work.SWAP:
            return self.stage.swapped(number)
        if work is _Work.SUM:
            self.stage.sum_up()
        elif work is _Work.ADD:
            self.stage.add(self._swapped.pop((self._step, number)))
        else:
            self.stage.update()
            self._step += 1
        return None


def _a_step(warm_up: int, numbers: range, replicas: int) -> Iterator[tuple[_Work, int]]:
    forward, backward = iter(numbers), iter(numbers)
    for is_forward in forward_turns(warm_up, len(numbers)):
        yield (_Work.FORWARD, next(forward)) if is_forward else (_Work.BACKWARD, next(backward))
    yield _Work.SUM, 0
    for stride in strides(replicas):
        yield _Work.SWAP, stride
        yield _Work.ADD, stride
    yield _Work.UPDATE, 0
