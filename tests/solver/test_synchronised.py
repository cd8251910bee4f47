"""Rounds of a shared server model, whose steps end together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.plan import Plan, PlanStatus
from hybridsplit.scenarios.contracts.schedule import Simultaneous
from hybridsplit.scenarios.errors import InfeasibleError, SolverFailure
from hybridsplit.solver.explain.decomposition import decompose
from hybridsplit.solver.planner import make_plan, rows_of_plan
from hybridsplit.solver.problem.build import build_problem
from hybridsplit.solver.problem.other_resources import with_band
from hybridsplit.solver.shares.conic import conic_shares, repair
from hybridsplit.solver.shares.solution import optimal_shares
from hybridsplit.solver.shares.synchronised import step_parts, synchronised_shares
from hybridsplit.solver.shares.timing import timing_of
from hybridsplit.solver.verify.plan import verify_plan
from hybridsplit.testing.instances import Instance, random_instance
from tests.tiers import one_of


def shared(seed: int, local_steps: int, server_model: str = "shared-mean", link_model: str = "fixed") -> Instance:
    """An instance that every strategy has a plan for."""
    return random_instance(
        seed,
        num_clients=3,
        num_cuts=3,
        num_options=None,
        local_steps=local_steps,
        server_model=server_model,
        link_model=link_model,
    )


@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 10_000), local_steps=st.integers(2, 3), shannon=st.booleans())
def test_the_bound_holds_and_the_optimum_is_claimed_only_within_it(seed: int, local_steps: int, shannon: bool) -> None:
    instance, relaxed = (
        random_instance(
            seed,
            num_clients=3,
            num_options=4,
            local_steps=local_steps,
            server_model=server_model,
            link_model="shannon" if shannon else "fixed",
        )
        for server_model in ("shared-mean", "per-client")
    )
    plan = make_plan(instance.scenario, instance.table, "static")
    without = make_plan(relaxed.scenario, relaxed.table, "static")
    assert plan.objective_s >= without.lower_bound_s * (1 - 1e-9)
    assert plan.lower_bound_s == pytest.approx(without.lower_bound_s, rel=1e-6)
    assert plan.gap == pytest.approx(plan.objective_s / plan.lower_bound_s - 1)
    assert (plan.status is PlanStatus.OPTIMAL) == (plan.gap <= 1e-6)


@pytest.mark.parametrize("link_model", ["fixed", "shannon"])
@pytest.mark.parametrize("seed", one_of(2, range(4)))
def test_polished_shares_are_no_worse_than_any_nearby(seed: int, link_model: str) -> None:
    instance = shared(seed, 3, link_model=link_model)
    problem = build_problem(instance.table, instance.scenario)
    rows = problem.starts
    found = synchronised_shares(problem, rows)

    def latency_s(shares: np.ndarray) -> float:
        return float(timing_of(problem, rows, shares, Simultaneous()).latency_s.max())

    assert found.round_latency_s == latency_s(found.shares)
    assert found.round_latency_s <= latency_s(optimal_shares(problem, rows).shares)
    rng = np.random.default_rng(seed)
    for spread in (1e-3, 1e-2, 0.1, 0.5):
        for _ in range(25):
            moved = found.shares * rng.uniform(1 - spread, 1 + spread, found.shares.shape)
            other = repair(moved, problem.work.take(rows))
            assert latency_s(other) >= found.round_latency_s * (1 - 1e-5)


def test_prices_of_the_polished_shares_are_what_more_of_a_resource_saves() -> None:
    instance = shared(1, 4)
    problem = build_problem(instance.table, instance.scenario)
    rows, more = problem.starts, 1e-3
    found = synchronised_shares(problem, rows)
    radio = instance.scenario.radio
    wider = with_band(problem, uplink_hz=radio.uplink_hz * (1 + more))
    saved_s = found.round_latency_s - synchronised_shares(wider, rows).round_latency_s
    assert found.prices_s[0] > 0
    assert saved_s == pytest.approx(more * found.prices_s[0], rel=0.02)


def test_the_program_without_meetings_is_the_one_with_two_meetings_of_equal_clients() -> None:
    instance = random_instance(2, num_clients=3, copies=3, num_options=4, local_steps=2, server_model="shared-mean")
    problem = build_problem(instance.table, instance.scenario)
    rows = problem.starts
    together = conic_shares(problem.work.take(rows), step_parts(problem, rows))
    alone = conic_shares(problem.work.take(rows))
    assert together.shares == pytest.approx(alone.shares, abs=1e-4)


def test_the_chain_of_restrictions_ends_at_the_rounds_own_latency() -> None:
    instance = shared(2, 4)
    steps = decompose(instance.scenario, instance.table)
    uniform = make_plan(instance.scenario, instance.table, "splitfed")
    assert steps.splitfed_s == pytest.approx(uniform.round_latency_s, rel=1e-9)
    assert steps.splitfed_s >= steps.shares_s >= steps.cuts_s >= steps.modes_s >= steps.modes_lower_bound_s
    in_turn = shared(2, 4, "shared-sequential")
    with pytest.raises(InfeasibleError, match="shared-sequential"):
        decompose(in_turn.scenario, in_turn.table)


def test_alike_clients_are_polished_as_one_kind() -> None:
    instance = random_instance(2, num_clients=6, copies=3, num_options=4, local_steps=3, server_model="shared-mean")
    problem = build_problem(instance.table, instance.scenario)
    rows, work = problem.starts, problem.work.take(problem.starts)
    found = synchronised_shares(problem, rows)
    one_by_one = repair(conic_shares(work, step_parts(problem, rows)).shares, work)
    latency_s = float(timing_of(problem, rows, one_by_one, Simultaneous()).latency_s.max())
    assert found.round_latency_s == pytest.approx(latency_s, rel=1e-5)
    assert len(np.unique(np.round(found.shares, 9), axis=0)) <= 2


@pytest.mark.slow
def test_no_single_exchange_improves_the_plan() -> None:
    instance = random_instance(7, num_clients=3, num_options=4, local_steps=4, server_model="shared-mean")
    problem = build_problem(instance.table, instance.scenario)
    plan = make_plan(instance.scenario, instance.table, "static")
    rows = rows_of_plan(problem, plan)
    assert rows is not None
    for row in range(problem.num_rows):
        other = rows.copy()
        other[problem.client_index[row]] = row
        found_s = problem.objective_of(other, synchronised_shares(problem, other).round_latency_s)
        assert plan.objective_s <= found_s * (1 + 1e-5)


def changed(plan: Plan, **keys: object) -> Plan:
    first, *others = plan.clients
    return plan.model_copy(update={"clients": (first.model_copy(update=keys), *others)})


@pytest.mark.parametrize("strategy", ["optimal", "time-shared", "split-sequential", "hsfl"])
def test_the_verifier_walks_the_steps_itself(strategy: str) -> None:
    instance = shared(3, 3)
    plan = make_plan(instance.scenario, instance.table, strategy)
    verify_plan(plan, instance.scenario, instance.table)
    first = plan.clients[0]
    longer = {**first.waiting_s, Phase.BARRIER: first.waiting_s.get(Phase.BARRIER, 0.0) + 0.01 * plan.round_latency_s}
    with pytest.raises(SolverFailure, match="s for barrier"):
        verify_plan(changed(plan, waiting_s=longer), instance.scenario, instance.table)
    with pytest.raises(SolverFailure, match="its schedule gives"):
        verify_plan(changed(plan, waiting_s={}), instance.scenario, instance.table)


def test_the_verifier_refuses_a_divided_server_that_serves_in_turn() -> None:
    mean, sequential = shared(3, 2), shared(3, 2, server_model="shared-sequential")
    plan = make_plan(mean.scenario, mean.table, "static")
    with pytest.raises(SolverFailure, match="serves one client after another"):
        verify_plan(plan, sequential.scenario, sequential.table)
