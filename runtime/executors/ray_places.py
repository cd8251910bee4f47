"""Where Ray puts the processes of a run: cores, machines, real devices, and shares of GPUs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from hybridsplit.runtime.split.compute import CPU_ONLY, ComputeDevices
from hybridsplit.scenarios.errors import RunError

_UNITS = 10_000
"""Ray counts a GPU in ten-thousandths."""
_SERVERS = 2
"""The model server, and a shared server."""


@dataclass(frozen=True)
class Places:
    """What each process asks of Ray.

    Parameters
    ----------
    devices
        Where the run computes.
    gpu_share
        The part of a GPU that a process asks for which needs one.
    """

    devices: ComputeDevices = CPU_ONLY
    gpu_share: float = 0.0

    @classmethod
    def of(cls, devices: ComputeDevices, num_workers: int) -> Self:
        """Divide the cluster's GPUs among the processes of a run.

        Parameters
        ----------
        devices
            Where it computes.
        num_workers
            Worker processes.

        Raises
        ------
        RunError
            If there is no GPU, and one is needed.
        """
        if not devices.needs_gpu:
            return cls(devices)
        found = int(ray.cluster_resources().get("GPU", 0))
        if found < 1:
            raise RunError(
                f"--torch-device {devices.name}: no machine of the Ray cluster offers a GPU; join one with 'ray start "
                "--address=HEAD --num-gpus=1', or use --torch-device cpu"
            )
        return cls(devices, gpu_share(num_workers + _SERVERS, found))

    def worker(self, resource: str | None) -> dict[str, Any]:
        """Return the options of a worker; a real device joins without cores, so that nothing else is emulated on it."""
        where = {"num_cpus": 1} if resource is None else {"num_cpus": 0, "resources": {resource: 1}}
        return {**where, "num_gpus": self.gpu_share, "max_restarts": 0}

    def model_server(self) -> tuple[dict[str, Any], ComputeDevices]:
        """Return the options of the model server, and where it computes.

        It writes checkpoints on the driver's machine, and evaluates on a GPU where that machine offers one.
        """
        here = ray.get_runtime_context().get_node_id()
        has_gpu = any(node["NodeID"] == here and node["Resources"].get("GPU", 0) >= 1 for node in ray.nodes())
        devices = self.devices if has_gpu else CPU_ONLY
        gpus = self.gpu_share if devices.needs_gpu else 0.0
        return {"num_cpus": 0, "num_gpus": gpus, "max_restarts": 0, "scheduling_strategy": _on(here)}, devices

    def shared_server(self, most_waiting: int) -> dict[str, Any]:
        """Return the options of a shared server: on the driver's machine, or where there is a GPU.

        Parameters
        ----------
        most_waiting
            Requests that may wait for their turn.
        """
        here = ray.get_runtime_context().get_node_id()
        where = {"num_gpus": self.gpu_share} if self.devices.needs_gpu else {"scheduling_strategy": _on(here)}
        return {"num_cpus": 0, "max_restarts": 0, "max_concurrency": most_waiting, **where}


def gpu_share(num_processes: int, num_gpus: int) -> float:
    """Return the part of a GPU that each of some processes may ask for, so that all find a place.

    Parameters
    ----------
    num_processes
        Processes that need a GPU.
    num_gpus
        GPUs of the cluster. A process is on one of them, and gets no more than a whole one.
    """
    on_each = math.ceil(num_processes / num_gpus)
    return (_UNITS // on_each) / _UNITS


def _on(node: str) -> NodeAffinitySchedulingStrategy:
    return NodeAffinitySchedulingStrategy(node, soft=False)
