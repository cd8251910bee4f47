"""The optimal strategy against trying every plan: all objectives, link models and couplings, one by one and mixed."""

from __future__ import annotations

import numpy as np
import pytest

from hybridsplit.scenarios.contracts.plan import Plan, PlanStatus
from hybridsplit.scenarios.errors import InfeasibleError
from hybridsplit.solver.planner import make_plan
from hybridsplit.testing.instances import Instance, random_instance
from tests.solver.brute import brute_force
from tests.tiers import one_of

TOLERANCE = 1e-6
COUPLINGS = ("server_memory", "energy_cap", "own_energy_cap", "coverage", "drop", "min_cut")


def check(instance: Instance) -> Plan | None:
    """Compare the plan with the truth, also where the truth is that there is none."""
    truth = brute_force(instance)
    if not np.isfinite(truth.upper):
        with pytest.raises(InfeasibleError):
            make_plan(instance.scenario, instance.table, "static")
        return None
    plan = make_plan(instance.scenario, instance.table, "static")
    by_energy = plan.objective == "energy"
    value = plan.objective_j if by_energy else plan.objective_s
    bound = plan.lower_bound_j if by_energy else plan.lower_bound_s
    assert value is not None
    assert bound is not None
    assert truth.lower * (1 - TOLERANCE) <= value <= truth.upper * (1 + TOLERANCE)
    assert bound <= truth.upper * (1 + 1e-9)
    assert plan.status is PlanStatus.OPTIMAL
    return plan


@pytest.mark.parametrize("minimise", ["time-to-progress", "round-latency", "energy"])
@pytest.mark.parametrize("link_model", ["fixed", "shannon"])
@pytest.mark.parametrize("coupling", ["none", *COUPLINGS])
@pytest.mark.parametrize("seed", one_of(3, range(3)))
def test_every_coupling_equals_brute_force(seed: int, coupling: str, link_model: str, minimise: str) -> None:
    if coupling == "drop" and minimise == "energy":
        return  # refused by the scenario
    rng = np.random.default_rng([seed, len(coupling)])
    chosen = {} if coupling == "none" else {coupling: True}
    check(
        random_instance(
            1000 + seed, num_clients=int(rng.integers(2, 5)), num_options=int(rng.integers(2, 5)), minimise=minimise,
            link_model=link_model, **chosen,
        )
    )  # fmt: skip


@pytest.mark.parametrize("seed", one_of(6, range(120)))
def test_mixed_couplings_equal_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    minimise = ("time-to-progress", "round-latency", "energy")[int(rng.choice(3, p=[0.45, 0.4, 0.15]))]
    chosen = {name: bool(rng.uniform() < 0.4) for name in COUPLINGS}
    chosen["drop"] &= minimise != "energy"
    instance = random_instance(
        5000 + seed,
        num_clients=int(rng.integers(1, 7)),
        num_options=int(rng.integers(1, 5)),
        link_model=("fixed", "shannon")[int(rng.uniform() < 0.3)],
        minimise=minimise,
        minimum_progress=None if rng.uniform() < 0.6 or minimise != "time-to-progress" else 0.5,
        **chosen,
    )
    check(instance)
