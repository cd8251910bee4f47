"""Price an inference task: from layer lists and accelerators to the virtual space that the solver sees."""

from __future__ import annotations

import math

import numpy as np

from hybridsplit.profiler.accelerators.cycles import START_CYCLES, cycles_of_layers
from hybridsplit.profiler.accelerators.data_memory import crossing, instance_bytes, tensors_of, working_bytes
from hybridsplit.profiler.accelerators.kernel_memory import kernel_bytes, part_heights
from hybridsplit.profiler.accelerators.shapes import LayerShape, layer_shapes
from hybridsplit.profiler.accelerators.support import unsupported_layers
from hybridsplit.scenarios.contracts.virtual_space import KindCosts, SpaceApp, SpaceDevice, VirtualSpace
from hybridsplit.scenarios.errors import ProfileError
from hybridsplit.scenarios.inference.accelerators import Accelerator, find_accelerator
from hybridsplit.scenarios.inference.layers import LayerList
from hybridsplit.scenarios.inference.schema import App, InferenceScenario, PlacedAccelerator


def virtual_space(scenario: InferenceScenario) -> VirtualSpace:
    """Return what the apps of a scenario cost, part by part.

    Parameters
    ----------
    scenario
        The scenario.

    Raises
    ------
    ProfileError
        If a cost is not known; it is never replaced by zero.
    ScenarioError
        If the layers of a network do not go together, or there is no such accelerator.
    """
    placed = scenario.placed()
    kinds = {one.kind: find_accelerator(one.kind, scenario.devices, scenario.name) for one in placed}
    devices = tuple(_device(one, kinds[one.kind], scenario) for one in placed)
    positions = {one.id: index for index, one in enumerate(placed)}
    networks = {app.model: layer_shapes(scenario.networks[app.model]) for app in scenario.apps}
    by_kind = {
        model: {kind: _kind_costs(scenario.networks[model], shapes, chip) for kind, chip in kinds.items()}
        for model, shapes in networks.items()
    }
    apps = tuple(
        _app(app, scenario.networks[app.model], networks[app.model], by_kind[app.model], positions)
        for app in scenario.apps
    )
    return VirtualSpace(devices, apps, scenario.search.most_cuts)


def _device(placed: PlacedAccelerator, chip: Accelerator, scenario: InferenceScenario) -> SpaceDevice:
    bus = placed.bus_bytes_per_s or chip.bus_bytes_per_s
    if bus is None:
        raise ProfileError(
            f"accelerator {placed.id}: bus_bytes_per_s of {placed.kind} is not known; state it for its group"
        )
    if scenario.objective.minimise == "energy":
        for key, known in (("active_power_w", chip.active_power_w), ("radio_power_w", placed.radio_power_w)):
            if known is None:
                where = f"devices.{placed.kind}" if key == "active_power_w" else f"its group {placed.group}"
                raise ProfileError(
                    f"accelerator {placed.id}: {key} is not known, and objective.minimise is energy; state it for "
                    f"{where}, or minimise period"
                )
    return SpaceDevice(
        id=placed.id,
        kind=placed.kind,
        link_bps=placed.link_bps,
        bus_bytes_per_s=bus,
        reload_bytes_per_s=placed.reload_bytes_per_s if scenario.search.reloads else None,
        kernel_bytes=chip.kernel_bytes_per_processor,
        bias_bytes=chip.bias_bytes,
        most_layers=chip.most_layers,
        data_bytes=chip.data_bytes_per_instance,
        active_power_w=chip.active_power_w,
        radio_power_w=placed.radio_power_w,
    )


def _app(
    app: App,
    network: LayerList,
    shapes: tuple[LayerShape, ...],
    by_kind: dict[str, KindCosts],
    positions: dict[str, int],
) -> SpaceApp:
    tensors = tensors_of(network, shapes)
    return SpaceApp(
        id=app.app,
        model=app.model,
        source=positions[app.source],
        target=positions[app.target],
        frames=app.frames,
        rate_hz=app.rate_hz,
        least_rate_hz=app.least_rate_hz,
        layers=tuple(shape.name for shape in shapes),
        crossing_bytes=np.array([sum(tensors[index].num_bytes for index in place) for place in crossing(network)]),
        weight_bytes=np.array([math.ceil(shape.num_weights * shape.layer.weight_bits / 8) for shape in shapes]),
        bias_bytes=np.array([shape.written.channels if shape.layer.bias else 0 for shape in shapes]),
        by_kind=by_kind,
    )


def _kind_costs(network: LayerList, shapes: tuple[LayerShape, ...], chip: Accelerator) -> KindCosts:
    num_layers = len(shapes)
    unsupported = unsupported_layers(network, shapes, chip)
    seconds = np.array(cycles_of_layers(shapes, chip), dtype=np.float64) / chip.clock_hz
    seconds[list(unsupported)] = np.inf
    sizes = [kernel_bytes(shape, chip) for shape in shapes]
    heights = np.zeros((num_layers + 1, num_layers + 1), dtype=np.int64)
    widest = np.zeros_like(heights)
    for start in range(num_layers):
        heights[start, start + 1 :] = part_heights(shapes[start:], chip)
        widest[start, start + 1 :] = np.maximum.accumulate(sizes[start:])
    tensors = tensors_of(network, shapes)
    return KindCosts(
        start_s=START_CYCLES / chip.clock_hz,
        layer_s=seconds,
        height_bytes=heights,
        widest_bytes=widest,
        data_bytes=np.array(working_bytes(network, shapes, chip)),
        waiting_bytes=np.array(
            [sum(instance_bytes(tensors[index], chip) for index in place) for place in crossing(network)]
        ),
        unsupported={position: tuple(words) for position, words in unsupported.items()},
    )
