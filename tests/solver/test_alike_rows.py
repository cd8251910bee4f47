"""Clients of the same rows: what is worked out for one of them is, to the bit, what each by itself would get."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridsplit.profiler.options import profile_scenario
from hybridsplit.scenarios.contracts.option_rows import OptionRows
from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.scenarios.schema import Client
from hybridsplit.solver.planner import make_plan
from hybridsplit.solver.problem import build
from hybridsplit.solver.problem.alike_rows import AlikeRows, first_alike
from hybridsplit.solver.problem.build import build_problem, everything_of, problem_of_rows
from hybridsplit.solver.problem.planning_problem import PlanningProblem

SCENARIOS = {
    "quickstart": ("quickstart", []),
    "with delay, overlap and heads": (
        "quickstart",
        [
            "clients.phone.link.latency_s=10 ms",
            "training.overlap.staleness=[0, 1]",
            "training.head_blocks=[0, 1]",
            "clients.pi4.drop_price_s=1",
        ],
    ),
    "shannon": ("campus", []),
}


def equal(one: Any, other: Any) -> bool:
    """Say whether two values of a problem are the same, to the bit."""
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.tobytes() == other.tobytes()
    if isinstance(one, OptionRows):
        pd.testing.assert_frame_equal(one.frame(), other.frame())
        return True
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    if hasattr(one, "__dataclass_fields__") and not isinstance(one, Client):
        return type(one) is type(other) and all(
            equal(getattr(one, f.name), getattr(other, f.name)) for f in fields(one)
        )
    return bool(one == other)


@pytest.fixture(scope="module", params=list(SCENARIOS))
def problem(request: pytest.FixtureRequest) -> PlanningProblem:
    name, overrides = SCENARIOS[request.param]
    scenario = load_scenario(name, overrides)
    return build_problem(profile_scenario(scenario), scenario)


def test_rows_are_as_if_no_client_were_like_another(problem: PlanningProblem) -> None:
    frame, clients = problem.all_options, problem.clients
    rows = AlikeRows.of(frame, clients)
    assert len(rows.kept) < len(clients)
    by_itself = build._problem_of(frame, clients, problem.scenario)
    together = problem_of_rows(frame, problem.scenario)
    for field in fields(PlanningProblem):
        assert equal(getattr(by_itself, field.name), getattr(together, field.name)), field.name


def test_a_table_whose_rows_all_stand_by_themselves_gives_the_same_problem(problem: PlanningProblem) -> None:
    apart = OptionRows.of_frame(problem.all_options.frame())
    assert len(AlikeRows.of(apart, problem.clients).kept) == len(problem.clients)
    other = problem_of_rows(apart, problem.scenario)
    one = problem_of_rows(problem.all_options, problem.scenario)
    for field in fields(PlanningProblem):
        if field.name not in ("options", "all_options"):
            assert equal(getattr(one, field.name), getattr(other, field.name)), field.name


def test_all_rows_of_some_clients_are_those_of_all_clients(problem: PlanningProblem) -> None:
    chosen = np.array([1, len(problem.clients) - 1])
    few, everything = everything_of(problem, chosen), everything_of(problem)
    mask = np.isin(everything.client_index, chosen)
    assert [client.id for client in few.clients] == [problem.clients[i].id for i in chosen]
    for name, values in everything.figures_of(mask).items():
        if name != "limits":
            assert equal(getattr(few, name), values), name
    assert few.limits == ()


def test_reasons_are_the_same_where_clients_are_known_to_be_alike_and_where_not() -> None:
    scenario = load_scenario("quickstart")
    table = profile_scenario(scenario)
    apart = OptionTable(table.table)
    reasons = [[client.reason for client in make_plan(scenario, one).clients] for one in (table, apart)]
    assert reasons[0] == reasons[1]


@given(data=st.data(), sizes=st.lists(st.integers(1, 5), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_the_first_alike_is_found(data: st.DataObject, sizes: list[int]) -> None:
    base = load_scenario("quickstart").expanded_clients()[0]
    clients = [replace(base, id=f"g{g}-{i}", group=f"g{g}") for g, size in enumerate(sizes) for i in range(size)]
    rows = [data.draw(st.lists(st.integers(0, 1), min_size=1, max_size=2)) for _ in clients]
    own = np.array([data.draw(st.integers(0, 1)) for _ in clients])
    starts = np.cumsum([0, *map(len, rows)])
    found = first_alike(clients, starts[:-1].astype(np.int64), int(starts[-1]), [np.concatenate(rows)], [own])
    for i, client in enumerate(clients):
        of_group = [j for j, other in enumerate(clients) if other.group == client.group]
        first = of_group[0]
        sizes_of_group = {len(rows[j]) for j in of_group}
        is_alike = len(sizes_of_group) == 1 and rows[i] == rows[first] and own[i] == own[first]
        assert found[i] == (first if is_alike else i)
