"""The bound for any schedule where clients meet between steps: below every plan, and near the best ones."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridsplit.profiler.options import profile_scenario
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.solver.bound.meetings import bound_between_meetings
from hybridsplit.solver.dispatch.sequences import Sequences
from hybridsplit.solver.dispatch.walk import ends_s
from hybridsplit.solver.planner import make_plan
from hybridsplit.solver.problem.build import build_problem
from hybridsplit.solver.problem.planning_problem import PlanningProblem
from hybridsplit.solver.shares.synchronised import best_shares
from hybridsplit.testing.instances import random_instance


def never() -> bool:
    return False


def best_in_ranks(problem: PlanningProblem) -> float:
    """Try all options within the limits, in all ranks of the clients."""
    sequences, best_s = Sequences(problem), np.inf
    own = [np.flatnonzero(problem.client_index == client) for client in range(problem.num_clients)]
    for choice in itertools.product(*own):
        rows = np.array(choice)
        if not problem.keeps_limits(rows):
            continue
        kept = [sequences.of(row) for row in rows[~problem.is_dropped[rows]].tolist()]
        for ranks in itertools.permutations(range(len(kept))):
            ended_s = max(ends_s(kept, [1e9 * rank for rank in ranks]), default=0.0)
            best_s = min(best_s, problem.objective_of(rows, ended_s))
    return best_s


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    local_steps=st.integers(2, 4),
    link_model=st.sampled_from(["fixed", "shannon"]),
    minimise=st.sampled_from(["time-to-progress", "round-latency"]),
    limit=st.sampled_from(["", "server_memory", "coverage", "drop"]),
    copies=st.sampled_from([1, 3]),
)
def test_no_plan_is_below(seed: int, local_steps: int, link_model: str, minimise: str, limit: str, copies: int) -> None:
    instance = random_instance(
        seed, num_clients=3, copies=copies, num_options=3, local_steps=local_steps, server_model="shared-mean",
        link_model=link_model, minimise=minimise, **({limit: True} if limit else {}),
    )  # type: ignore[arg-type]  # fmt: skip
    problem = build_problem(instance.table, instance.scenario)
    best_s = best_in_ranks(problem)
    first = next(
        rows
        for choice in itertools.product(*(np.flatnonzero(problem.client_index == client) for client in range(3)))
        if problem.keeps_limits(rows := np.array(choice))
    )
    bound_s = bound_between_meetings(problem, first, never)
    assert bound_s <= best_s * (1 + 1e-9)
    shares = best_shares(problem, first)
    assert bound_s <= problem.objective_of(first, shares.round_latency_s) * (1 + 1e-9)


def test_two_alike_clients_wait_for_each_other() -> None:
    # Each passes the same resources in the same order, so that in every step one is done later than it would be alone.
    instance = random_instance(4, num_clients=2, copies=2, num_options=1, local_steps=3, server_model="shared-mean")
    problem = build_problem(instance.table, instance.scenario)
    rows = problem.starts
    best_s = best_in_ranks(problem)
    alone = Sequences(problem).of(int(rows[0]))
    longest_s = max(ends_s([alone], [0.0])) / problem.total_gain(rows)
    bound_s = bound_between_meetings(problem, rows, never)
    assert longest_s < bound_s <= best_s * (1 + 1e-9)
    assert bound_s == pytest.approx(best_s, rel=0.05)


@pytest.mark.parametrize(
    ("name", "gap"), [("quickstart", 1e-3), pytest.param("smart-home", 0.05, marks=pytest.mark.slow)]
)
def test_the_gap_of_steps_that_synchronise(name: str, gap: float) -> None:
    scenario = load_scenario(name, {"training.server_model": "shared-mean"})
    plan = make_plan(scenario, profile_scenario(scenario))
    assert plan.schedule_lower_bound_s <= plan.objective_s
    assert plan.gap <= gap
