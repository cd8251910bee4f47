"""Time to a target: exact at every depth of untrained blocks, never above a baseline, and checked like every plan."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.contracts.plan import Plan, PlanStatus
from hybridsplit.scenarios.errors import ContractError, InfeasibleError, SolverFailure
from hybridsplit.solver.planner import compute_bounds, make_plan
from hybridsplit.solver.verify.plan import verify_plan
from hybridsplit.testing.instances import Instance, for_target, random_instance
from tests.solver.brute import brute_force
from tests.tiers import one_of

TOLERANCE = 1e-6


def drawn(seed: int, **keys: object) -> Instance:
    rng = np.random.default_rng(seed)
    clients, options = int(rng.integers(1, 5)), int(rng.integers(2, 5))
    instance = random_instance(9000 + seed, num_clients=clients, num_options=options, **keys)  # type: ignore[arg-type]
    return for_target(instance, seed, most_untrained=float(rng.choice([0.0, 0.5, 2.0])))


@cache
def planned() -> tuple[Instance, Plan]:
    instance = drawn(5)
    return instance, make_plan(instance.scenario, instance.table, "static")


@pytest.mark.parametrize("seed", one_of(6, range(24)))
def test_every_depth_equals_brute_force(seed: int) -> None:
    rng = np.random.default_rng([seed, 1])
    coupling = ("none", "server_memory", "energy_cap", "coverage", "drop", "min_cut")[seed % 6]
    instance = drawn(
        seed, link_model=("fixed", "shannon")[int(rng.uniform() < 0.3)],
        **({} if coupling == "none" else {coupling: True}),
    )  # fmt: skip
    truth = brute_force(instance)
    if not np.isfinite(truth.upper):
        with pytest.raises((InfeasibleError, SolverFailure)):
            make_plan(instance.scenario, instance.table, "static")
        return
    plan = make_plan(instance.scenario, instance.table, "static")
    assert truth.lower * (1 - TOLERANCE) <= plan.objective_s <= truth.upper * (1 + TOLERANCE)
    assert plan.lower_bound_s <= truth.upper * (1 + 1e-9)
    assert plan.status is PlanStatus.OPTIMAL
    bounds = compute_bounds(instance.scenario, instance.table)
    assert bounds.lower_bound_s == pytest.approx(plan.lower_bound_s, rel=1e-6)


def test_the_instances_have_plans_at_several_depths() -> None:
    """Without them the test above would say nothing of depths."""
    depths = set()
    for seed in range(0, 24, 6):
        instance = drawn(seed)
        depths.add(make_plan(instance.scenario, instance.table, "static").untrained_blocks)
    assert 0 in depths
    assert len(depths) > 1


@pytest.mark.parametrize("strategy", ["greedy", "splitfed", "random", "ho-sfl", "smartsplit", "hsfl", "edgesplit"])
@pytest.mark.parametrize("seed", one_of(2, [3, 4]))
def test_no_baseline_beats_the_bound_or_the_optimum(seed: int, strategy: str) -> None:
    instance = drawn(seed, modes=("fo", "zo-projection"))
    best = make_plan(instance.scenario, instance.table, "optimal")
    try:
        plan = make_plan(instance.scenario, instance.table, strategy)
    except (InfeasibleError, SolverFailure):
        return
    assert plan.objective_s >= best.objective_s * (1 - TOLERANCE)
    assert plan.objective_s >= best.schedule_lower_bound_s * (1 - TOLERANCE)


def test_a_client_of_positive_gain_never_delays_the_target_at_the_same_latency() -> None:
    """Seconds are latency over the sum of gains: one term more, and the quotient falls."""
    instance = drawn(8)
    plan = make_plan(instance.scenario, instance.table, "static")
    gains = [client.gain for client in plan.clients if client.gain is not None and client.gain > 0]
    assert gains
    assert plan.gain is not None
    for gain in gains:
        assert plan.round_latency_s / plan.gain <= plan.round_latency_s / (plan.gain - gain) or plan.gain <= gain


def test_who_costs_more_than_it_adds_is_named_or_left_out() -> None:
    instance = drawn(2)
    rows = instance.table.table.copy()
    first = rows["client"].iloc[0]
    rows["delay"], rows["estimate_delay"], rows["noise_delay"] = 0.01 * rows["data_weight"], 0.0, 0.0
    rows.loc[rows["client"] == first, "delay"] = 4.0 * rows["gain"].max()
    plan = make_plan(instance.scenario, OptionTable(rows), "static")
    assert any(first in note and "more than it adds" in note for note in plan.notes)
    document = instance.scenario.model_copy(
        update={"clients": tuple(g.model_copy(update={"drop_price_s": 0.0}) for g in instance.scenario.clients)}
    )
    freed = make_plan(document, OptionTable(rows), "static")
    assert first in freed.dropped
    assert any(first in note and "left out" in note for note in freed.notes)
    assert freed.objective_s <= plan.objective_s * (1 + TOLERANCE)


@pytest.mark.parametrize(
    ("field", "value", "word"),
    [("gain", 0.9, "gain is"), ("untrained_blocks", 3, "untrained_blocks is"), ("gain", None, "lacks gains")],
)
def test_a_changed_figure_is_noticed(field: str, value: object, word: str) -> None:
    instance, plan = planned()
    with pytest.raises(SolverFailure, match=word):
        verify_plan(plan.model_copy(update={field: value}), instance.scenario, instance.table)


def test_a_changed_gain_of_a_client_is_noticed() -> None:
    instance, plan = planned()
    first = plan.clients[0]
    assert first.gain is not None
    assert plan.gain is not None
    more = first.model_copy(update={"gain": first.gain + 0.01})
    changed = plan.model_copy(update={"clients": (more, *plan.clients[1:]), "gain": plan.gain + 0.01})
    with pytest.raises(SolverFailure, match="the option table gives"):
        verify_plan(changed, instance.scenario, instance.table)


def test_a_table_without_gains_is_refused() -> None:
    instance = drawn(5)
    plain = OptionTable(instance.table.table.drop(columns=["gain", "delay", "estimate_delay", "noise_delay"]))
    with pytest.raises(ContractError, match="lacks the column gain"):
        make_plan(instance.scenario, plain)


def test_a_plan_for_a_target_survives_json() -> None:
    _, plan = planned()
    assert Plan.model_validate_json(plan.model_dump_json()) == plan
