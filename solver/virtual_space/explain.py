"""Say why no choice of plans keeps the limits, and what would change it most cheaply."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from hybridsplit.scenarios.contracts.virtual_space import SpaceApp, VirtualSpace
from hybridsplit.scenarios.units import format_seconds
from hybridsplit.solver.virtual_space.columns import Part, refusal

_MOST_NAMED = 4


def why_infeasible(space: VirtualSpace, most_period_s: float | None) -> str:
    """Return why there is no plan, in words: apps without one of their own, or memory that is short in all.

    Parameters
    ----------
    space
        The space.
    most_period_s
        Longest period, where joules are minimised.
    """
    lone = [line for index in range(len(space.apps)) for line in _alone(space, index)]
    if lone:
        return "no plan: " + "; ".join(lone[:_MOST_NAMED])
    rated = _fixed_rates(space)
    short = list(_short_memory(space))
    words = [*short, *rated]
    if most_period_s is not None:
        words.append(f"or objective.most_period_s, {format_seconds(most_period_s)}, is too short")
    return "no plan: " + ("; ".join(words) if words else "every app has a plan by itself, and together they do not fit")


def _alone(space: VirtualSpace, index: int) -> Iterator[str]:
    """Say what keeps an app from running by itself: layers that no device runs, or memory for its parts."""
    app = space.apps[index]
    kinds = {one.kind for one in space.devices}
    for position, name in enumerate(app.layers):
        faults = [app.by_kind[kind].unsupported.get(position) for kind in kinds]
        if all(faults):
            reasons = " and ".join(f"{kind}: {app.by_kind[kind].unsupported[position][0]}" for kind in sorted(kinds))
            yield f"{app.id}: no accelerator runs layer {name} of {app.model} ({reasons})"
            return
    if not _has_plan(space, app):
        kinds_room = max(one.kernel_bytes for one in space.devices)
        height = min(int(app.by_kind[kind].height_bytes[0, -1]) for kind in kinds)
        parts = -(-height // kinds_room)
        yield (
            f"{app.id}: {app.model} takes {height:,} B of the kernel memory of a processor, devices have "
            f"{kinds_room:,} B, and search.most_cuts is {space.most_cuts}; needs about {max(parts - 1, 1)} cuts "
            "on as many devices more, fewer bits a weight, or reload_bytes_per_s"
        )


def _has_plan(space: VirtualSpace, app: SpaceApp) -> bool:
    """Return whether an app has a plan with the devices to itself."""
    reached = {(0, -1)}
    for _ in range(space.most_cuts + 1):
        grown = {
            (end, device)
            for start, before in reached
            for device in range(len(space.devices))
            if device != before
            for end in range(start + 1, app.num_layers + 1)
            if any(refusal(space, app, Part(device, start, end, loads)) is None for loads in (False, True))
        }
        if any(place == app.num_layers for place, _ in grown):
            return True
        reached = grown
    return False


def _short_memory(space: VirtualSpace) -> Iterator[str]:
    """Say which memories all apps together exceed where weights stay."""
    if any(one.reload_bytes_per_s is not None for one in space.devices):
        return
    kinds = {one.kind for one in space.devices}
    needed = [
        ("kernel memory of a processor", "B", lambda app: min(int(app.by_kind[k].height_bytes[0, -1]) for k in kinds),
         lambda one: one.kernel_bytes),
        ("bias memory", "B", lambda app: int(app.bias_bytes.sum()), lambda one: one.bias_bytes),
        ("layers", "layers", lambda app: app.num_layers, lambda one: one.most_layers),
    ]  # fmt: skip
    measures: list[tuple[str, str, Callable[[SpaceApp], int], Callable[..., int]]] = needed
    for what, unit, takes, has in measures:
        total, room = sum(takes(app) for app in space.apps), sum(has(one) for one in space.devices)
        if total > room:
            yield f"{what}: the apps take {total:,} {unit} together, the devices have {room:,}"


def _fixed_rates(space: VirtualSpace) -> list[str]:
    """Say which fixed rates are more than the fastest device computes."""
    lines = []
    for app in space.apps:
        if app.rate_hz is None:
            continue
        kinds = {one.kind for one in space.devices}
        fastest = min(float(np.nan_to_num(app.by_kind[kind].layer_s, posinf=0.0).max()) for kind in kinds)
        if app.rate_hz * fastest > 1:
            lines.append(f"{app.id}: rate_hz {app.rate_hz:g} is above the {1 / fastest:.3g} of its slowest layer")
    return lines
