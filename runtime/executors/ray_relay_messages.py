"""Messages between machines as they travel between processes: tensors as safetensors, and nothing that runs code."""

from __future__ import annotations

import json
import struct
from typing import NamedTuple

from safetensors.torch import load, save

from hybridsplit.runtime.relays.messages import Downward, Message, Swapped, Upward


class Parcel(NamedTuple):
    """A message as it travels.

    Parameters
    ----------
    kind
        What it is.
    number
        Of its micro-batch; how far apart the two replicas are, where it goes from one to the other.
    payload
        Its tensors.
    """

    kind: type[Message]
    number: int
    payload: bytes


def packed(message: Message) -> Parcel:
    """Return a message as it travels."""
    if isinstance(message, Upward):
        return Parcel(Upward, message.number, packed_upward(message))
    if isinstance(message, Downward):
        return Parcel(Downward, message.number, packed_downward(message))
    return Parcel(Swapped, message.stride, packed_swapped(message))


def packed_upward(message: Upward) -> bytes:
    """Return the tensors of a message as they travel."""
    tensors = {"h": message.h, "labels": message.labels, "mask": message.mask_BS}
    packed: bytes = save({name: tensor.detach().contiguous() for name, tensor in tensors.items() if tensor is not None})
    return packed


def unpacked_upward(number: int, payload: bytes) -> Upward:
    """Return the message of its tensors, in memory that is aligned as torch aligns it: kernels may depend on it."""
    tensors = load(payload)
    return Upward(number, tensors["h"], tensors["labels"], tensors.get("mask")).carried()


def packed_downward(message: Downward) -> bytes:
    """Return the tensors of a message as they travel."""
    packed: bytes = save({} if message.gradient is None else {"gradient": message.gradient.contiguous()})
    return packed


def unpacked_downward(number: int, payload: bytes) -> Downward:
    """Return the message of its tensors, as :func:`unpacked_upward`."""
    return Downward(number, load(payload).get("gradient")).carried()


_LENGTH = struct.Struct("<Q")


def packed_swapped(message: Swapped) -> bytes:
    """Return a message between replicas as it travels: what it is of as JSON with its length, then the tensors."""
    # JSON writes the shortest digits that are read as the same number.
    about = json.dumps(
        [message.step, message.stride, list(message.weights.items()), list(message.losses.items())]
    ).encode()
    tensors = save({name: tensor.detach().contiguous() for name, tensor in message.gradients.items()})
    return b"".join([_LENGTH.pack(len(about)), about, tensors])


def unpacked_swapped(payload: bytes) -> Swapped:
    """Return the message, as :func:`unpacked_upward`."""
    (length,) = _LENGTH.unpack_from(payload)
    at = _LENGTH.size + length
    step, stride, weights, losses = json.loads(payload[_LENGTH.size : at])
    return Swapped(step, stride, load(payload[at:]), dict(weights), dict(losses)).carried()
