"""Decide which parts of given plans stay in memory, and which load their weights for every frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hybridsplit.scenarios.contracts.virtual_space import IntArray, VirtualSpace
from hybridsplit.scenarios.errors import InfeasibleError
from hybridsplit.solver.virtual_space.columns import KERNEL, Column, Part, make_column, memory_capacities, refusal


def settled(space: VirtualSpace, plans: Sequence[Sequence[Part]], strategy: str) -> list[Column]:
    """Let parts stay, in the order of apps, as far as memories have room, and load the weights of the others.

    Parameters
    ----------
    space
        The space.
    plans
        Parts of every app.
    strategy
        Whose plans they are, for messages.

    Raises
    ------
    InfeasibleError
        If a part can neither stay nor be loaded; the message names the app, its layers and the device.
    """
    capacities = memory_capacities(space)
    chosen = [list(parts) for parts in plans]
    for device in range(len(space.devices)):
        here = [
            (app, position)
            for app, parts in enumerate(chosen)
            for position, part in enumerate(parts)
            if part.device == device
        ]
        stay = _staying(space, chosen, here, capacities[device])
        for app, position in here:
            part = replace(chosen[app][position], reloads=(app, position) not in stay)
            _check(space, app, part, strategy)
            chosen[app][position] = part
    return [make_column(space, app, parts) for app, parts in enumerate(chosen)]


def _staying(
    space: VirtualSpace, plans: Sequence[Sequence[Part]], here: Sequence[tuple[int, int]], capacity: IntArray
) -> set[tuple[int, int]]:
    """Return the parts on a device that stay: the first ones that leave room to load each of the others."""
    for number in range(len(here), -1, -1):
        stay: list[tuple[int, int]] = []
        held = np.zeros(3, dtype=np.int64)
        room = 0
        for app, position in here:
            part = plans[app][position]
            takes = make_column(space, app, [part]).held[part.device]
            kinds = space.apps[app].by_kind[space.devices[part.device].kind]
            if len(stay) < number and (held + takes <= capacity).all():
                stay.append((app, position))
                held += takes
            else:
                room = max(room, int(kinds.widest_bytes[part.start, part.end]))
        if held[KERNEL] + room <= capacity[KERNEL]:
            return set(stay)
    return set()


def _check(space: VirtualSpace, app_index: int, part: Part, strategy: str) -> None:
    app, device = space.apps[app_index], space.devices[part.device]
    reason = refusal(space, app, part)
    if reason is None:
        return
    layers = f"layers {app.layers[part.start]} to {app.layers[part.end - 1]}"
    stays = refusal(space, app, replace(part, reloads=False))
    if part.reloads and reason == "the rate of flash is not stated":
        reason = f"{stays or 'kernel memory'} is taken, and {reason}"
    unsupported = app.by_kind[device.kind].unsupported
    named = [f"{app.layers[p]}: {unsupported[p][0]}" for p in sorted(unsupported) if part.start <= p < part.end]
    raise InfeasibleError(
        f"{strategy}: {app.id} cannot run {layers} on {device.id} ({reason}){': ' + named[0] if named else ''}"
    )
