"""Ask every machine of a Ray cluster what it has."""

from __future__ import annotations

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from hybridsplit.orchestrator.doctor import machine
from hybridsplit.orchestrator.doctor.checks import Node
from hybridsplit.runtime.executors.ray_cluster import RayCluster

_ANSWER_LIMIT_S = 60.0


def ask_nodes(address: str, paths: tuple[str, ...]) -> list[Node]:
    """Return what every machine of a cluster has and offers.

    Parameters
    ----------
    address
        Of the cluster.
    paths
        Files and folders to look for.

    Raises
    ------
    RunError
        If the cluster cannot be joined.
    """
    with RayCluster(address, 1):
        # The other machines may have no hybridsplit, or another one: the code that looks goes with the question.
        ray.cloudpickle.register_pickle_by_value(machine)
        try:
            look = ray.remote(num_cpus=0, max_retries=0)(machine.look_at_this_machine)
            alive = [node for node in ray.nodes() if node["Alive"]]
            asked = [
                look.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(
                    paths
                )
                for node in alive
            ]
            return [_node(node, question) for node, question in zip(alive, asked, strict=True)]
        finally:
            ray.cloudpickle.unregister_pickle_by_value(machine)


def _node(node: dict[str, object], question: ray.ObjectRef[machine.Machine]) -> Node:
    resources = node["Resources"]
    assert isinstance(resources, dict)
    name = f"{node['NodeManagerHostname']} {str(node['NodeID'])[:6]}"
    try:
        return Node(name, ray.get(question, timeout=_ANSWER_LIMIT_S), resources)
    except (ray.exceptions.RayError, ray.exceptions.GetTimeoutError) as error:
        return Node(name, None, resources, trouble=(str(error).strip().splitlines() or [type(error).__name__])[-1])
