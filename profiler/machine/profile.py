"""What was measured of this machine, and the device it makes: a roofline fitted to its own times."""

from __future__ import annotations

import math
import os
import platform
import time
from collections.abc import Callable, Hashable, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import transformers
from pydantic import BaseModel, ConfigDict

from hybridsplit.profiler.calibration import MeasuredWork, fit_efficiency, relative_errors, with_efficiency
from hybridsplit.profiler.costs import RANDOM_FLOPS_PER_ELEMENT, BlockCost, OperatorClass, OperatorCost
from hybridsplit.profiler.machine.blocks import PASSES, BlockPass, time_blocks
from hybridsplit.profiler.machine.kernels import Kernel, kernels
from hybridsplit.profiler.machine.timing import Clock, Timed, timed
from hybridsplit.scenarios.devices import Confidence, Device, RooflineEfficiency
from hybridsplit.scenarios.errors import ProfileError
from hybridsplit.scenarios.modes.passes import BlockSeconds
from hybridsplit.scenarios.schema import Scenario

MACHINE_SCHEMA_VERSION = 1
_FREE: tuple[str, ...] = (
    "matmul", "convolution", "memory", "pointwise_forward", "grouped_forward", "grouped_backward", "operator_call_s"
)  # fmt: skip
_START = {
    "matmul": 0.7, "convolution": 0.5, "memory": 0.5, "pointwise_forward": 0.5, "grouped_forward": 0.1,
    "grouped_backward": 0.1, "operator_call_s": 5e-6,
}  # fmt: skip
_KERNEL_WEIGHT = 0.15
"""Of a lone operator. A pass over a block, which is what is to be predicted, weighs up to 1, by its time."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Machine(_Value):
    """What identifies a machine, as far as its speed is concerned.

    Parameters
    ----------
    cpu, architecture, system
        Its processor and operating system.
    memory_bytes
        Physical memory, where the system reports it.
    threads
        Threads that PyTorch computes with.
    torch_version, transformers_version
        Whose kernels, and whose models, were timed.
    """

    cpu: str
    architecture: str
    system: str
    memory_bytes: int | None
    threads: int
    torch_version: str
    transformers_version: str


class Measured(_Value):
    """One thing timed, beside what the fitted roofline predicts for it."""

    name: str
    kind: str
    time: Timed
    flops: float
    moved_bytes: float
    predicted_s: float


class MachineProfile(_Value):
    """What ``profile --machine`` found.

    Parameters
    ----------
    machine
        What was measured.
    scenario
        Whose blocks were timed: its name.
    kernels, blocks
        Single operators, and passes over the scenario's blocks.
    device
        The machine as a device, confidence ``measured``.
    """

    schema_version: Literal[1] = 1
    machine: Machine
    scenario: str
    kernels: tuple[Measured, ...]
    blocks: tuple[Measured, ...]
    device: Device

    def block_seconds(self, costs: Sequence[BlockCost], kinds: Sequence[Hashable]) -> BlockSeconds:
        """Measured seconds of every block, for the model that was timed: no roofline in between.

        Parameters
        ----------
        costs
            Its blocks' costs, first to last.
        kinds
            What makes blocks alike (:func:`hybridsplit.profiler.machine.blocks.block_kinds`), first to last.

        Raises
        ------
        ProfileError
            If a kind of block was not timed.
        """
        measured: dict[tuple[int, str], float] = {}
        for one in self.blocks:
            measured[int(one.name.split()[0]) - 1, one.kind] = one.time.median_s
        first = {kind: kinds.index(kind) for kind in kinds}
        table: dict[str, list[float]] = {what: [] for what in PASSES}
        for cost, kind in zip(costs, kinds, strict=True):
            for what in PASSES:
                found = measured.get((first[kind], what))
                if found is None and what == "backward" and first[kind] == 0:
                    # Nothing lies below the first block, so no step asks for the gradient of its input.
                    found = measured.get((0, "backward_without_input"))
                if found is None and len(getattr(cost, what).count):
                    raise ProfileError(
                        f"{what} of block {first[kind] + 1} was not timed on {self.device.name}; "
                        "measure again with the scenario that is meant"
                    )
                table[what].append(found or 0.0)
        # These passes are not timed: one without work takes no time, any other an unknown time, never zero.
        for what in ("forward_mode", "estimated_update"):
            works = [getattr(cost, what) for cost in costs]
            table[what] = [math.nan if work is None or len(work.count) else 0.0 for work in works]
        trains = np.array([cost.num_trainable > 0 for cost in costs])
        arrays: dict[str, Any] = {what: np.array(found) for what, found in table.items()}
        return BlockSeconds(**arrays, trains=trains)

    def block_errors(self) -> np.ndarray:
        """[N] predicted over measured time of every pass over a block, minus one."""
        return np.array([one.predicted_s / one.time.median_s - 1 for one in self.blocks])


def this_machine() -> Machine:
    """Identify the machine this runs on."""
    return Machine(
        cpu=_cpu_name(),
        architecture=platform.machine(),
        system=f"{platform.system()} {platform.release()}",
        memory_bytes=_memory_bytes(),
        threads=torch.get_num_threads(),
        torch_version=torch.__version__,
        transformers_version=transformers.__version__,
    )


def _memory_bytes() -> int | None:
    """Physical memory; None where the system does not report it."""
    if not hasattr(os, "sysconf"):
        return None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _cpu_name() -> str:
    """The processor's name; on Linux from the kernel, since :func:`platform.processor` is often empty there."""
    path = Path("/proc/cpuinfo")
    cores = f"{os.cpu_count()} cores"
    if path.is_file():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            name, separator, value = line.partition(":")
            if (
                separator
                and name.strip().lower() in {"model name", "hardware", "model"}
                and not value.strip().isdigit()
            ):
                return f"{value.strip()}, {cores}"
    return f"{platform.processor() or platform.machine()}, {cores}"


def measure_machine(
    scenario: Scenario,
    on_progress: Callable[[str, float], None] = lambda what, share: None,
    clock: Clock = time.perf_counter,
) -> MachineProfile:
    """Measure the machine this runs on: single operators, and every kind of block of a scenario's model.

    Parameters
    ----------
    scenario
        Whose blocks to time.
    on_progress
        Called with what is being done and the share done.
    clock
        What times are read from; with one thread, ``time.process_time`` leaves out what other processes take.

    Raises
    ------
    ScenarioError, ProfileError
        If the scenario's model cannot be built or traced.
    """
    machine = this_machine()
    on_progress("timing operators", 0.0)
    single = [(kernel, kernel.cost(), timed(kernel.run, clock=clock)) for kernel in kernels()]
    passes: list[BlockPass] = []
    for one in time_blocks(scenario, clock):
        on_progress(f"timed {one.what} of block {one.block}", 0.5)
        passes.append(one)
    on_progress("fitting the roofline", 0.9)
    device = _fitted(machine, single, passes, scenario.name)
    on_progress("done", 1.0)
    return MachineProfile(
        machine=machine,
        scenario=scenario.name,
        kernels=tuple(
            _measured(kernel.name, kernel.operator_class.name.lower(), work, took, device)
            for kernel, work, took in single
        ),
        blocks=tuple(_measured(one.block, one.what, one.work, one.took, device) for one in passes),
        device=device,
    )


def _measured(name: str, kind: str, work: OperatorCost, took: Timed, device: Device) -> Measured:
    timing = MeasuredWork(name, kind, work, took.median_s)
    predicted_s = float((relative_errors([timing], device)[0] + 1) * took.median_s)
    return Measured(
        name=name, kind=kind, time=took, flops=work.total_flops, moved_bytes=work.total_bytes, predicted_s=predicted_s
    )


def _fitted(
    machine: Machine, single: Sequence[tuple[Kernel, OperatorCost, Timed]], passes: Sequence[BlockPass], scenario: str
) -> Device:
    """The machine as a device; its peaks are the highest rates that any single operator reached."""
    products = [(w.total_flops, t.median_s) for k, w, t in single if k.operator_class > OperatorClass.RANDOM]
    copies = [(w.total_bytes, t.median_s) for k, w, t in single if k.operator_class is OperatorClass.MEMORY]
    random = [(w.flops.sum(), t.median_s) for k, w, t in single if k.operator_class is OperatorClass.RANDOM]
    numbers_per_s = max(flops / RANDOM_FLOPS_PER_ELEMENT / seconds for flops, seconds in random)
    device = Device(
        name=f"this machine ({machine.cpu}, {machine.threads} threads)",
        kind="measured",
        memory_bytes=machine.memory_bytes,
        memory_bandwidth_bytes_per_s=max(size / seconds for size, seconds in copies),
        fp32_flops_per_s=max(flops / seconds for flops, seconds in products),
        confidence=Confidence.MEASURED,
        source=f"measured here with PyTorch {machine.torch_version} on operators and the blocks of {scenario}",
    )
    timings = [
        MeasuredWork(k.name, k.name, w, t.median_s, _KERNEL_WEIGHT)
        for k, w, t in single
        if k.operator_class is not OperatorClass.RANDOM
    ]
    longest_s = max((one.took.median_s for one in passes), default=1.0)
    timings += [
        MeasuredWork(
            one.block, f"{one.what} of {one.block}", one.work, one.took.median_s, (one.took.median_s / longest_s) ** 0.5
        )
        for one in passes
    ]
    found: list[tuple[float, RooflineEfficiency]] = []
    for unfolds, hides in product((False, True), (False, True)):
        start = RooflineEfficiency(
            **_START,
            random_numbers_per_s=float(numbers_per_s),
            unfolds_convolutions=unfolds,
            arithmetic_hides_traffic=hides,
        )
        efficiency = fit_efficiency(timings, device, start, _FREE)
        errors = np.log1p(relative_errors(timings, with_efficiency(device, efficiency)))
        found.append((float(np.mean(np.abs(errors) * [one.weight for one in timings])), efficiency))
    best = min(found, key=lambda one: one[0])[1]
    rounded = {
        name: float(f"{value:.4g}") if isinstance(value, float) and math.isfinite(value) else value
        for name, value in best.model_dump().items()
    }
    return with_efficiency(device, RooflineEfficiency.model_validate(rounded))
