"""Messages in pieces: whole again on the other side, and no piece too long for the call that carries it."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hybridsplit.runtime.executors.ray_pieces import answered, joined, reply, sent

_DIRECT_BYTES = 100 * 1024
"""What Ray carries with a call (``max_direct_call_object_size``)."""


class Method:
    """Stands for a method of an actor, which returns what it gets with one byte more."""

    def __init__(self) -> None:
        self.pieces: tuple[bytes, ...] = ()
        self.num_returns = 0

    def options(self, *, num_returns: int) -> Method:
        self.num_returns = num_returns
        return self

    def remote(self, name: str, number: int, *pieces: bytes) -> Any:
        assert name == "first"
        assert number == self.num_returns == len(pieces)
        self.pieces = pieces
        return answered(joined(pieces) + b"!", number)


@given(size=st.integers(0, 3_000_000), seed=st.integers(0, 255))
def test_a_message_and_its_answer_are_whole(size: int, seed: int) -> None:
    payload = bytes([seed]) * size
    method = Method()
    answer = sent(method, payload, "first")
    assert joined(method.pieces) == payload
    assert joined(answer) == payload + b"!"
    if size <= 2_000_000:
        assert max(map(len, (*method.pieces, *answer))) <= _DIRECT_BYTES
    else:
        assert len(method.pieces) == 1


def test_replies_are_waited_for() -> None:
    async def late(piece: bytes) -> bytes:
        await asyncio.sleep(0)
        return piece

    assert asyncio.run(reply([late(b"ab"), late(b"c")])) == b"abc"
