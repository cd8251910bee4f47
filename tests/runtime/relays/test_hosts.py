"""A process that hosts machines: what it says of failed work, and when its answers leave."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch

from hybridsplit.runtime.executors.ray_relay_host import RelayHost, _Held
from hybridsplit.runtime.executors.ray_relay_messages import packed_upward, unpacked_downward
from hybridsplit.runtime.executors.ray_relay_visits import Neighbours, Visit
from hybridsplit.runtime.relays.messages import Downward, Message, Upward
from hybridsplit.scenarios.errors import RunError

VISIT = Visit("clinic", "first", "card")


class Works:
    """In the place of a machine: it does one piece of work for each micro-batch that it has taken."""

    def __init__(self, work: Callable[[int], Message | None], seconds: float) -> None:
        self._work, self._seconds = work, seconds
        self._taken: list[int] = []
        self.seconds = 0.0
        self.replica = 0

    @property
    def stage(self) -> Works:
        return self

    @property
    def is_ready(self) -> bool:
        return bool(self._taken)

    @property
    def begins_step(self) -> bool:
        return not self._taken

    def take(self, message: Upward) -> None:
        self._taken.append(message.number)

    def work(self) -> Message | None:
        number = self._taken.pop(0)
        self.seconds += self._seconds
        return self._work(number)


def hosted(work: Callable[[int], Message | None], seconds: float) -> RelayHost:
    host = RelayHost(cast("Any", None), 1, is_real=False)
    host._held[VISIT] = _Held(cast("Any", None), cast("Any", Works(work, seconds)), Neighbours((), ()))
    return host


def upward(number: int) -> bytes:
    return packed_upward(Upward(number, torch.ones(1, 2), torch.zeros(1, dtype=torch.long)))


@pytest.mark.parametrize("seconds", [0.0, 1.0], ids=["short pieces", "long pieces"])
def test_work_that_fails_when_nobody_waits_is_told_at_the_end(seconds: float) -> None:
    """The last update of a round: no answer hangs on it, and its machine seems to begin another step."""

    def work(number: int) -> Message | None:
        if number == 2:
            raise RunError("the optimizer found no memory")
        return Downward(number, torch.ones(1, 2))

    async def round_of_it() -> None:
        host = hosted(work, seconds)
        for number in range(2):
            await host.up(VISIT, number, 1, upward(number))
        held = host._held[VISIT]
        assert held.machine is not None
        held.machine.take(Upward(2, torch.ones(1, 2), torch.zeros(1, dtype=torch.long)))
        host._work(held)
        await host.end(VISIT)

    with pytest.raises(RunError, match="found no memory"):
        asyncio.run(round_of_it())


@pytest.mark.parametrize("seconds", [0.0, 1.0], ids=["short pieces", "long pieces"])
def test_answers_leave_before_the_next_piece_of_work(seconds: float) -> None:
    events: list[str] = []

    def work(number: int) -> Message | None:
        events.append(f"begins {number}")
        return Downward(number, torch.full((1, 2), float(number)))

    async def asked(host: RelayHost, number: int) -> None:
        answer = await host.up(VISIT, number, 1, upward(number))
        gradient = unpacked_downward(number, answer).gradient
        assert gradient is not None
        assert gradient.tolist() == [[float(number)] * 2]
        events.append(f"left {number}")

    async def round_of_it() -> None:
        host = hosted(work, seconds)
        await asyncio.gather(*(asked(host, number) for number in range(30)))

    asyncio.run(round_of_it())
    # By the tenth, short pieces are known to be short, and are done at once.
    late = [number for number in range(10, 29) if events.index(f"left {number}") > events.index(f"begins {number + 1}")]
    assert late == []
