"""One cluster for all of them, and what they are compared with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import ray
from ray.cluster_utils import Cluster

from hybridsplit.runtime.executors.inline import InlineExecutor
from hybridsplit.runtime.run.rounds import TrainingResult, train
from tests.runtime.faults.runs import ROUNDS, assignments_of, scenario_with


@pytest.fixture(scope="package")
def undisturbed() -> TrainingResult:
    scenario = scenario_with()
    with InlineExecutor(scenario) as executor:
        return train(scenario, assignments_of(scenario), executor, ROUNDS)


@pytest.fixture(scope="package")
def cluster() -> Iterator[Cluster]:
    """Two machines on this one."""
    head = {"num_cpus": 2, "include_dashboard": False, "resources": {"pi5": 1}}
    machines = Cluster(initialize_head=True, head_node_args=head)
    yield machines
    ray.shutdown()
    machines.shutdown()
