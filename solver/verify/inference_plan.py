"""Check a plan of an inference task by plain sums over its own parts, which share nothing with the solver."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator

from hybridsplit.scenarios.contracts.inference_plan import AppPlan, InferencePlan
from hybridsplit.scenarios.contracts.virtual_space import SpaceApp, SpaceDevice, Unit, VirtualSpace
from hybridsplit.scenarios.inference.schema import InferenceScenario

_TOLERANCE = 1e-6
_BITS_PER_BYTE = 8


def inference_violations(plan: InferencePlan, scenario: InferenceScenario, space: VirtualSpace) -> Iterator[str]:
    """Yield every limit that a plan breaks, and every figure that does not follow from the others.

    Parameters
    ----------
    plan, scenario, space
        The plan, its scenario, and what its apps cost.
    """
    apps, devices = {one.id: one for one in space.apps}, {one.id: one for one in space.devices}
    ids = [one.id for one in space.devices]
    if [one.id for one in plan.apps] != list(apps) or [one.id for one in plan.devices] != ids:
        yield "its apps or devices are not those of its scenario"
        return
    busy: dict[tuple[str, Unit], float] = defaultdict(float)
    alone: dict[tuple[str, Unit], float] = defaultdict(float)
    fixed: dict[tuple[str, Unit], float] = defaultdict(float)
    memory: dict[tuple[str, str], int] = defaultdict(int)
    loading: dict[tuple[str, str], int] = defaultdict(int)
    for planned in plan.apps:
        app = apps[planned.id]
        faults = list(_chain_faults(planned, app, devices, scenario))
        yield from faults
        if faults:
            return
        seconds = _seconds(planned, app, devices)
        yield from _part_faults(planned, app, devices)
        for key, spent in seconds.items():
            busy[key] += spent * planned.rate_hz
            share = fixed if app.rate_hz is not None else alone
            share[key] += spent * (app.rate_hz if app.rate_hz is not None else app.frames)
        for part in planned.parts:
            if part.reloads:
                loading[part.device, planned.id] += part.kernel_bytes
            else:
                memory[part.device, "kernel"] += part.kernel_bytes
                memory[part.device, "bias"] += part.bias_bytes
                memory[part.device, "layers"] += part.end - part.start
    yield from _rate_faults(plan, apps, scenario)
    yield from _device_faults(plan, devices, busy, memory, loading)
    keys = {*alone, *fixed}
    shortest = max((alone[key] / (1 - fixed[key]) if fixed[key] < 1 else math.inf for key in keys), default=0.0)
    if scenario.objective.minimise == "energy":
        yield from _energy_faults(plan, shortest)
    elif not _same(plan.period_s, shortest):
        yield f"period_s: found {plan.period_s:.9g}, its parts come to {shortest:.9g}"
    elif plan.lower_bound_s > shortest * (1 + _TOLERANCE):
        yield f"lower_bound_s: {plan.lower_bound_s:.9g} is above the period"
    reached, bound = (
        (plan.objective_j or 0.0, plan.lower_bound_j or 0.0)
        if scenario.objective.minimise == "energy"
        else (plan.period_s, plan.lower_bound_s)
    )
    if bound > 0 and not math.isclose(plan.gap, max(0.0, reached / bound - 1), rel_tol=1e-6, abs_tol=1e-9):
        yield f"gap: found {plan.gap:.6g}, objective and bound come to {reached / bound - 1:.6g}"


def _chain_faults(
    planned: AppPlan, app: SpaceApp, devices: dict[str, SpaceDevice], scenario: InferenceScenario
) -> Iterator[str]:
    """Every layer runs once, in order, on devices that change."""
    place, before = 0, ""
    for part in planned.parts:
        if part.start != place or part.end <= part.start or part.end > len(app.layers):
            yield f"{app.id}: layers {part.start} to {part.end} do not follow on {place}"
            return
        if part.device not in devices:
            yield f"{app.id}: {part.device!r} is none of the devices"
            return
        if part.device == before:
            yield f"{app.id}: two parts after each other on {before}"
        if part.layers != app.layers[part.start : part.end]:
            yield f"{app.id}: names other layers than {part.start} to {part.end}"
        place, before = part.end, part.device
    if place != len(app.layers):
        yield f"{app.id}: ends after {place} of {len(app.layers)} layers"
    if len(planned.parts) > scenario.search.most_cuts + 1:
        yield f"{app.id}: {len(planned.parts)} parts, and search.most_cuts is {scenario.search.most_cuts}"
    sides = {one.app: (one.source, one.target) for one in scenario.apps}
    if (planned.source, planned.target) != sides[app.id] or planned.model != app.model:
        yield f"{app.id}: another model, source or target than in the scenario"


def _part_faults(planned: AppPlan, app: SpaceApp, devices: dict[str, SpaceDevice]) -> Iterator[str]:
    """Each part is supported where it runs, and states what it takes."""
    for part in planned.parts:
        device = devices[part.device]
        costs, where = app.by_kind[device.kind], f"{app.id} on {part.device}"
        layers = range(part.start, part.end)
        if refused := [app.layers[index] for index in layers if index in costs.unsupported]:
            yield f"{where}: {refused[0]} is not supported there"
        if part.reloads and device.reload_bytes_per_s is None:
            yield f"{where}: loads weights, and the rate of flash is not stated"
        data = max(int(costs.data_bytes[index]) for index in layers)
        heights = costs.widest_bytes if part.reloads else costs.height_bytes
        expected = {
            "data_bytes": data,
            "kernel_bytes": int(heights[part.start][part.end]),
            "weight_bytes": sum(int(app.weight_bytes[index]) for index in layers),
            "bias_bytes": sum(int(app.bias_bytes[index]) for index in layers),
            "input_bytes": int(app.crossing_bytes[part.start]),
            "output_bytes": int(app.crossing_bytes[part.end]),
        }
        for name, value in expected.items():
            if getattr(part, name) != value:
                yield f"{where}: {name}: found {getattr(part, name)}, its layers come to {value}"
        if data > device.data_bytes:
            yield f"{where}: {data} B of an instance of data memory, which has {device.data_bytes}"


def _seconds(planned: AppPlan, app: SpaceApp, devices: dict[str, SpaceDevice]) -> dict[tuple[str, Unit], float]:
    """Seconds of every unit a frame, from the parts' places alone."""
    spent: dict[tuple[str, Unit], float] = defaultdict(float)
    here = planned.source

    def send(size: float, to: str) -> None:
        if to != here:
            seconds = _BITS_PER_BYTE * size / min(devices[here].link_bps, devices[to].link_bps)
            spent[here, Unit.TX] += seconds
            spent[to, Unit.RX] += seconds

    for part in planned.parts:
        device = devices[part.device]
        costs = app.by_kind[device.kind]
        send(float(app.crossing_bytes[part.start]), part.device)
        here = part.device
        computing = costs.start_s + math.fsum(float(costs.layer_s[index]) for index in range(part.start, part.end))
        moving = (float(app.crossing_bytes[part.start]) + float(app.crossing_bytes[part.end])) / device.bus_bytes_per_s
        loading = 0.0
        if part.reloads and device.reload_bytes_per_s is not None:
            size = sum(int(app.weight_bytes[i] + app.bias_bytes[i]) for i in range(part.start, part.end))
            loading = size / device.reload_bytes_per_s
        spent[here, Unit.CNN] += computing + loading
        spent[here, Unit.CPU] += moving + loading
    send(float(app.crossing_bytes[-1]), planned.target)
    return spent


def _rate_faults(plan: InferencePlan, apps: dict[str, SpaceApp], scenario: InferenceScenario) -> Iterator[str]:
    for planned in plan.apps:
        app = apps[planned.id]
        least = app.frames / plan.period_s if app.rate_hz is None else app.rate_hz
        is_fair = scenario.objective.minimise == "throughput" and app.rate_hz is None
        if planned.rate_hz < least * (1 - _TOLERANCE) or (not is_fair and not _same(planned.rate_hz, least)):
            yield f"{app.id}: rate_hz: found {planned.rate_hz:.9g}, the period gives {least:.9g}"
        if app.least_rate_hz is not None and planned.rate_hz < app.least_rate_hz * (1 - _TOLERANCE):
            yield f"{app.id}: {planned.rate_hz:.6g} Hz, below its least_rate_hz of {app.least_rate_hz:.6g}"
        parts = math.fsum(one.hop_s + one.compute_s + one.bus_s + one.reload_s for one in planned.parts)
        if not _same(planned.latency_s, parts + planned.last_hop_s):
            yield f"{app.id}: latency_s: found {planned.latency_s:.9g}, its parts come to {parts:.9g}"


def _device_faults(
    plan: InferencePlan,
    devices: dict[str, SpaceDevice],
    busy: dict[tuple[str, Unit], float],
    memory: dict[tuple[str, str], int],
    loading: dict[tuple[str, str], int],
) -> Iterator[str]:
    for planned in plan.devices:
        device = devices[planned.id]
        room = max((size for (where, _), size in loading.items() if where == device.id), default=0)
        for name, used, has in (
            ("kernel_bytes", memory[device.id, "kernel"] + room, device.kernel_bytes),
            ("bias_bytes", memory[device.id, "bias"], device.bias_bytes),
            ("layers", memory[device.id, "layers"], device.most_layers),
        ):
            if used > has:
                yield f"{device.id}: {name}: {used} in use, it has {has}"
            if getattr(planned, name) != used:
                yield f"{device.id}: {name}: found {getattr(planned, name)}, its parts come to {used}"
        for unit in Unit:
            share = busy[device.id, unit]
            if share > 1 + _TOLERANCE:
                yield f"{device.id}: {unit} is busy for {share:.6f} of the time"
            if not _same(planned.busy.get(unit, -1.0), share):
                yield f"{device.id}: busy.{unit}: found {planned.busy.get(unit)}, its parts come to {share:.9g}"


def _energy_faults(plan: InferencePlan, shortest: float) -> Iterator[str]:
    if shortest > plan.period_s * (1 + _TOLERANCE):
        yield f"period_s: found {plan.period_s:.9g}, its parts take {shortest:.9g}"
    joules = math.fsum((app.energy_j or 0.0) * app.rate_hz * plan.period_s for app in plan.apps)
    if plan.objective_j is None or not _same(plan.objective_j, joules):
        yield f"objective_j: found {plan.objective_j}, its apps come to {joules:.9g}"


def _same(found: float, wanted: float) -> bool:
    return math.isclose(found, wanted, rel_tol=_TOLERANCE, abs_tol=1e-12)
