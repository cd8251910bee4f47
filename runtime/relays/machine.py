"""A machine at work for one client: it does what its order says next, as soon as what that needs has arrived."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from enum import Enum

from hybridsplit.runtime.relays.messages import Downward, Upward
from hybridsplit.runtime.relays.order import forward_turns
from hybridsplit.runtime.relays.stage import StageTraining


class _Work(Enum):
    FORWARD = "forward"
    BACKWARD = "backward"
    UPDATE = "update"


class Machine:
    """Takes messages, and works them off in its own order, whatever the order of their arrival.

    Parameters
    ----------
    stage
        The client's blocks on it.
    warm_up, micro_batches
        Its order in every step, see :func:`hybridsplit.runtime.relays.order.forward_turns`.
    """

    def __init__(self, stage: StageTraining, warm_up: int, micro_batches: int) -> None:
        self.stage = stage
        self._orders = itertools.chain.from_iterable(_a_step(warm_up, micro_batches) for _ in itertools.count())
        self._next = next(self._orders)
        self._up: dict[int, Upward] = {}
        self._down: dict[int, Downward] = {}

    def take(self, message: Upward | Downward) -> None:
        """Take what has arrived."""
        box: dict[int, Upward] | dict[int, Downward] = self._up if isinstance(message, Upward) else self._down
        assert message.number not in box, f"micro-batch {message.number} arrived twice"
        box[message.number] = message  # type: ignore[assignment]

    @property
    def is_ready(self) -> bool:
        """Whether the next piece of work has what it needs."""
        work, number = self._next
        return work is _Work.UPDATE or number in (self._up if work is _Work.FORWARD else self._down)

    @property
    def begins_step(self) -> bool:
        """Whether all steps so far are done, to the update."""
        return self._next == (_Work.FORWARD, 0)

    def work(self) -> Upward | Downward | None:
        """Do the next piece of work, and return the message that it makes, if it makes one."""
        work, number = self._next
        self._next = next(self._orders)
        if work is _Work.UPDATE:
            self.stage.update()
            return None
        if work is _Work.BACKWARD:
            return self.stage.backward(self._down.pop(number))
        sent = self.stage.forward(self._up.pop(number))
        if sent is None:
            self._down[number] = Downward(number)
        return sent


def _a_step(warm_up: int, micro_batches: int) -> Iterator[tuple[_Work, int]]:
    forward, backward = itertools.count(), itertools.count()
    for is_forward in forward_turns(warm_up, micro_batches):
        yield (_Work.FORWARD, next(forward)) if is_forward else (_Work.BACKWARD, next(backward))
    yield _Work.UPDATE, 0
