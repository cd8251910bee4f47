"""Messages that travel with the call of a method, in pieces, and not through Ray's object store.

Ray sends an argument or an answer with the call where it is smaller than 100 kB, and ten megabytes of such in all.
Anything else is written to the object store of its machine, announced, and fetched by the other machine. For a
micro-batch of some hundred kilobytes that takes several times as long as the message itself
(``python -m benchmarks.stages_and_replicas messages``).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any

_PIECE_BYTES = 90_000
"""Below Ray's limit (``max_direct_call_object_size``) with what is sent beside it."""
_MOST_BYTES = 2_000_000
"""Longer messages are no faster in pieces, which are copied more often."""


def sent(method: Any, payload: bytes, *arguments: Any) -> list[Any]:
    """Call a method of a Ray actor with a message.

    Parameters
    ----------
    method
        The remote method; it takes the other arguments, a number of pieces, and the pieces of the message. It returns
        what :func:`answered` makes for that number.
    payload
        The message.
    *arguments
        The other arguments.

    Returns
    -------
    References to the pieces of the answer.
    """
    pieces = _divided(payload, _number_of_pieces(len(payload)))
    found = method.options(num_returns=len(pieces)).remote(*arguments, len(pieces), *pieces)
    return [found] if len(pieces) == 1 else list(found)


def answered(payload: bytes, number: int) -> Any:
    """Return an answer as a method returns it that was called by :func:`sent`.

    Parameters
    ----------
    payload
        The answer; no piece is in the object store if it is as long as what was sent.
    number
        Of pieces.
    """
    pieces = _divided(payload, number)
    return pieces[0] if number == 1 else pieces


def joined(pieces: Sequence[bytes]) -> bytes:
    """Return the message of its pieces."""
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def reply(pieces: Sequence[Any]) -> bytes:
    """Wait for the answer to a message that was sent."""
    return joined(await asyncio.gather(*pieces))


def _number_of_pieces(size: int) -> int:
    return 1 if size > _MOST_BYTES else max(1, math.ceil(size / _PIECE_BYTES))


def _divided(payload: bytes, number: int) -> tuple[bytes, ...]:
    if number == 1:
        return (payload,)
    size = math.ceil(len(payload) / number)
    return tuple(payload[at * size : (at + 1) * size] for at in range(number))
