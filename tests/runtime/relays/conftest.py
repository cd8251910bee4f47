"""One cluster for all of them, and what runs on it are compared with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import ray
from ray.cluster_utils import Cluster

from hybridsplit.runtime.run.rounds import TrainingResult
from tests.runtime.relays.runs import run_inline, small_plan, small_scenario


@pytest.fixture(scope="package")
def undisturbed() -> TrainingResult:
    scenario = small_scenario()
    return run_inline(scenario, small_plan(scenario)).result


@pytest.fixture(scope="package")
def cluster() -> Iterator[Cluster]:
    """Two machines on this one, of which the second is a real relay."""
    head = {"num_cpus": 2, "include_dashboard": False}
    machines = Cluster(initialize_head=True, head_node_args=head)
    machines.add_node(num_cpus=0, resources={"gateway": 1, "cards": 2})
    yield machines
    ray.shutdown()
    machines.shutdown()
