"""The Ray executor for models that are cut several times: workers run the clients, and other processes the machines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from hybridsplit.runtime.executors.ray import RayExecutor
from hybridsplit.runtime.executors.ray_cluster import errors_of_workers
from hybridsplit.runtime.executors.ray_relay_host import RelayHost
from hybridsplit.runtime.executors.ray_relay_worker import Hosts, RayRelayWorker, RemoteRelayWorker
from hybridsplit.runtime.executors.ray_waiting import START_LIMIT_S, alive, result_of
from hybridsplit.runtime.worker.worker import Worker
from hybridsplit.scenarios.schema import Scenario

_MOST_CALLS = 10_000
"""Calls that a process may have open: every client at work has one for each micro-batch in flight at each machine."""


@dataclass(eq=False)
class _Process:
    """A process, the machines that it hosts, and what is done when it has died."""

    nodes: tuple[str, ...]
    resource: str | None
    actor: Any = None
    death: Any = None


class RelayHosts:
    """The processes of all machines; another one takes the place of one that has died.

    Parameters
    ----------
    start
        Starts a process on a machine that offers a custom resource, or on any one.
    nodes
        Custom resource by machine; None where it is emulated.
    most
        Most processes of emulated machines.
    say
        Called with what has happened to them, in words.
    answer_limit_s
        Seconds within which a process in doubt has to answer.
    """

    def __init__(
        self,
        start: Callable[[str | None], Any],
        nodes: Mapping[str, str | None],
        most: int,
        say: Callable[[str], None],
        answer_limit_s: float = START_LIMIT_S,
    ) -> None:
        self._start, self._say, self._is_doubtful = start, say, False
        self._answer_limit_s = answer_limit_s
        emulated = [node for node, resource in nodes.items() if resource is None]
        number = min(most, len(emulated))
        # Neighbours on a path work at the same time, so they go to different processes.
        self._processes = [_Process(tuple(emulated[at::number]), None) for at in range(number)]
        self._processes += [_Process((node,), resource) for node, resource in nodes.items() if resource is not None]

    def doubt(self) -> None:
        """Ask every process whether it lives before it is used again."""
        self._is_doubtful = True

    def reached(self) -> Hosts:
        """Return the process of every machine, all of them alive.

        Raises
        ------
        HybridSplitError
            If the model cannot be built there.
        RunError
            If a process cannot be kept alive.
        """
        for process in self._processes:
            if process.actor is not None and (end := self._end_of(process)) is not None:
                ray.kill(process.actor)
                process.actor = None
                self._say(f"the process of {_named(process)} {end}; another one took over")
        self._is_doubtful = False
        new = [process for process in self._processes if process.actor is None]
        for process in new:
            self._begin(process)
        with errors_of_workers():
            result_of([process.actor.prepare.remote() for process in new], "relays to build the model")
        return {node: process.actor for process in self._processes for node in process.nodes}

    def _begin(self, process: _Process) -> None:
        process.actor = alive(lambda: self._start(process.resource), f"the process of {_named(process)}")
        process.death = process.actor.lives.remote()

    def _end_of(self, process: _Process) -> str | None:
        """Return what has become of a process, in words; None where it lives."""
        if ray.wait([process.death], timeout=0)[0]:
            return "died"
        if not self._is_doubtful:
            return None
        # Whoever called it may know of its death before this process does.
        answered, _ = ray.wait([process.actor.is_there.remote()], timeout=self._answer_limit_s)
        try:
            ray.get(answered)
        except ray.exceptions.RayError:
            return "died"
        return None if answered else f"did not answer for {self._answer_limit_s:g} s"

    def stop(self) -> None:
        """Kill all processes."""
        for process in self._processes:
            if process.actor is not None:
                ray.kill(process.actor)
                process.actor = None


def _named(process: _Process) -> str:
    shown = ", ".join(process.nodes[:3])
    return shown if len(process.nodes) <= 3 else f"{shown} and {len(process.nodes) - 3} more"


class RayRelayExecutor(RayExecutor):
    """Trains over relays on a Ray cluster.

    Parameters
    ----------
    scenario
        The scenario of one cut with the same model, data and training.
    nodes
        Machines beside the clients, with the custom Ray resource of those that are real ones.
    num_workers
        Worker processes of clients, one core each, and most processes of emulated machines.
    num_threads
        Torch threads of each process.
    address
        Address of a running cluster; None starts one on this machine for the run.
    make_worker
        Makes the worker inside its process.
    """

    worker_class = RayRelayWorker

    def __init__(
        self,
        scenario: Scenario,
        nodes: Mapping[str, str | None],
        num_workers: int,
        num_threads: int = 1,
        address: str | None = None,
        make_worker: Callable[[Scenario, int], Worker] = RemoteRelayWorker,
    ) -> None:
        super().__init__(scenario, num_workers, num_threads, address, make_worker)
        limit_s = scenario.faults.client_timeout_s
        answer_limit_s = START_LIMIT_S if limit_s is None else min(START_LIMIT_S, limit_s)
        self.hosts = RelayHosts(self._start_host, nodes, num_workers, self._say, answer_limit_s)
        self._num_started = 0

    def _start_host(self, resource: str | None) -> Any:
        if resource is not None:
            self._cluster.offers(resource, "network.nodes.ray_resource")
        where = {"scheduling_strategy": self._next_machine()} if resource is None else {"resources": {resource: 1}}
        actor = ray.remote(num_cpus=0, max_restarts=0, max_concurrency=_MOST_CALLS, **where)(RelayHost)
        return actor.remote(self._scenario, self._num_threads, is_real=resource is not None)

    def _next_machine(self) -> NodeAffinitySchedulingStrategy:
        """Return the next of the machines that emulate anything: real devices join without cores."""
        machines = [one["NodeID"] for one in ray.nodes() if one["Alive"] and one["Resources"].get("CPU", 0) > 0]
        here = ray.get_runtime_context().get_node_id()
        self._num_started += 1
        chosen = machines[self._num_started % len(machines)] if machines else here
        return NodeAffinitySchedulingStrategy(chosen, soft=False)

    def _beside_groups(self) -> Sequence[Any]:
        return (self.hosts.reached(),)

    def _on_loss(self) -> None:
        self.hosts.doubt()

    def _stop_actors(self) -> None:
        self.hosts.stop()
        super()._stop_actors()
