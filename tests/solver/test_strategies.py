"""What each strategy restricts, and that none is better than ``optimal`` on any instance.

What every strategy must keep stands in :class:`hybridsplit.testing.StrategyContract`.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hybridsplit.scenarios.errors import InfeasibleError, UsageError
from hybridsplit.solver.planner import compute_bounds, make_plan
from hybridsplit.solver.strategies import STRATEGIES, find_strategy
from hybridsplit.testing.instances import Instance, group, make_scenario, make_table, random_instance
from hybridsplit.testing.strategies import check_against_the_best
from tests.tiers import one_of

every_link = pytest.mark.parametrize("link_model", ["fixed", "shannon"])
every_objective = pytest.mark.parametrize("minimise", ["time-to-progress", "round-latency"])


instances = {
    "seed": st.integers(0, 10_000),
    "link_model": st.sampled_from(["fixed", "shannon"]),
    "minimise": st.sampled_from(["time-to-progress", "round-latency", "energy"]),
    "limits": st.sets(st.sampled_from(["server_memory", "energy_cap", "own_energy_cap", "coverage", "min_cut"])),
}


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(num_clients=st.integers(1, 4), **instances)
def test_optimal_is_no_worse_than_any_baseline(
    seed: int, num_clients: int, link_model: str, minimise: str, limits: set[str]
) -> None:
    check_all_strategies(seed, num_clients, link_model, minimise, limits)


@pytest.mark.slow
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(num_clients=st.integers(5, 8), **instances)
def test_optimal_is_no_worse_than_any_baseline_with_more_clients(
    seed: int, num_clients: int, link_model: str, minimise: str, limits: set[str]
) -> None:
    check_all_strategies(seed, num_clients, link_model, minimise, limits)


def check_all_strategies(seed: int, num_clients: int, link_model: str, minimise: str, limits: set[str]) -> None:
    instance = random_instance(
        seed, num_clients=num_clients, num_options=None, num_cuts=3, link_model=link_model, minimise=minimise,
        budgets=(3e6, 1e7), local_steps=2, **dict.fromkeys(limits, True),
    )  # fmt: skip
    try:
        best = make_plan(instance.scenario, instance.table, "static")
    except InfeasibleError as error:
        # Budgets are drawn after the options: sometimes nothing fits a client.
        failure = str(error)
        assert "no option fits" in failure
        return
    bounds = compute_bounds(instance.scenario, instance.table)
    for strategy in STRATEGIES:
        check_against_the_best(strategy, instance, best, bounds)


@pytest.mark.parametrize("num_clients", one_of(2, [60, 320]))
@every_link
def test_many_clients_come_close_to_the_bound(link_model: str, num_clients: int) -> None:
    instance = random_instance(2, num_clients=num_clients, num_options=10, num_cuts=6, link_model=link_model)
    plan = make_plan(instance.scenario, instance.table, "static")
    assert plan.gap <= 0.01


def test_splitfed_cuts_everybody_alike_at_equal_shares() -> None:
    instance = random_instance(3, num_clients=4, num_options=None)
    plan = make_plan(instance.scenario, instance.table, "splitfed")
    assert len({client.cut for client in plan.clients}) == 1
    shares = {share for c in plan.clients for share in (c.uplink_share, c.downlink_share, c.server_share)}
    assert shares == {0.25}


@every_objective
def test_splitfed_takes_the_best_uniform_cut(minimise: str) -> None:
    instance = random_instance(8, num_clients=3, num_options=None, num_cuts=3, minimise=minimise)
    plan = make_plan(instance.scenario, instance.table, "splitfed")
    weight = {c.id: c.data_weight for c in instance.scenario.expanded_clients()}
    per_cut: list[float] = []
    for cut in (1, 2, 3):
        fitting = instance.table.table[instance.table.table["fits"] & (instance.table.table["cut"] == cut)]
        choices: list[list[dict[str, float]]] = [[]]
        for name in weight:
            own = fitting[fitting["client"] == name].to_dict("records")
            choices = [[*choice, row] for choice in choices for row in own]
        for choice in choices:
            latency_s = max(_equal_latency(instance, row) for row in choice)
            progress = sum(weight[row["client"]] * row["progress"] for row in choice)
            if progress >= instance.scenario.objective.minimum_progress:
                per_cut.append(latency_s / (progress if minimise == "time-to-progress" else 1))
    assert plan.objective_s == pytest.approx(min(per_cut), rel=1e-9)


def _equal_latency(instance: Instance, row: dict[str, float]) -> float:
    clients = instance.scenario.expanded_clients()
    link = next(c.link for c in clients if c.id == row["client"])
    n, radio = len(clients), instance.scenario.radio
    up_s = 8 * row["uplink_bytes"] / (radio.uplink_hz * link.uplink_bps_per_hz / n)
    down_s = 8 * row["downlink_bytes"] / (radio.downlink_hz * link.downlink_bps_per_hz / n)
    return row["client_compute_s"] + up_s + down_s + row["server_compute_s"] * n


def test_splitfed_explains_when_no_cut_fits_everybody() -> None:
    scenario = make_scenario([group("deep", min_cut=2), group("small", memory_budget_bytes=100)])
    rows = [
        {"client": "deep-0", "cut": 2, "mode": "fo", "uplink_bytes": 10},
        {"client": "small-0", "cut": 1, "mode": "fo", "uplink_bytes": 10},
        {"client": "small-0", "cut": 2, "mode": "fo", "uplink_bytes": 10, "client_peak_bytes": 101},
    ]
    with pytest.raises(InfeasibleError, match="small-0 fits cuts up to 1, deep-0 starts at cut 2"):
        make_plan(scenario, make_table(scenario, rows), "splitfed")
    make_plan(scenario, make_table(scenario, rows), "static")


def test_splitfed_respects_server_memory() -> None:
    scenario = make_scenario([group("a", count=2)], server_memory_bytes=150)
    rows = [
        row
        for name in ("a-0", "a-1")
        for row in (
            {"client": name, "cut": 1, "mode": "fo", "uplink_bytes": 1000, "server_state_bytes": 100},
            {
                "client": name,
                "cut": 1,
                "mode": "zo-loss",
                "uplink_bytes": 1000,
                "server_state_bytes": 50,
                "progress": 0.5,
            },
        )
    ]
    plan = make_plan(scenario, make_table(scenario, rows), "splitfed")
    assert sorted(str(c.mode) for c in plan.clients) == ["fo", "zo-loss"]


def test_fedavg_keeps_the_whole_model_on_the_device() -> None:
    instance = random_instance(3, num_clients=4, num_options=None)
    plan = make_plan(instance.scenario, instance.table, "fedavg")
    assert {client.cut for client in plan.clients} == {4}
    assert {str(client.mode) for client in plan.clients} <= {"fo", "fo-recompute"}


def test_fedavg_says_who_lacks_how_much() -> None:
    scenario = make_scenario([group("phone", count=2, memory_budget_bytes=2 * 1024**2)])
    rows = [
        row
        for name in ("phone-0", "phone-1")
        for row in (
            {"client": name, "cut": 1, "mode": "fo", "uplink_bytes": 100, "server_compute_s": 1.0},
            {"client": name, "cut": 2, "mode": "fo", "uplink_bytes": 100, "client_peak_bytes": 3 * 1024**2},
        )
    ]
    with pytest.raises(
        InfeasibleError, match=r"2 clients.*phone-0.*3\.00 MiB.*2\.00 MiB.*1\.00 MiB \(1048576 bytes\) missing"
    ):
        make_plan(scenario, make_table(scenario, rows), "fedavg")


def test_unknown_strategies_name_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'splitfed'"):
        find_strategy("splitfad")


def test_fixed_options_are_kept() -> None:
    instance = random_instance(3, num_clients=3, num_options=None)
    plan = make_plan(instance.scenario, instance.table, "static", fixed={"g1-0": (2, "zo-loss")})
    assert (plan.client("g1-0").cut, str(plan.client("g1-0").mode)) == (2, "zo-loss")
    assert plan.objective_s >= make_plan(instance.scenario, instance.table, "static").objective_s * (1 - 1e-9)
    with pytest.raises(UsageError, match="no usable option cut 9"):
        make_plan(instance.scenario, instance.table, "static", fixed={"g1-0": (9, "fo")})
    with pytest.raises(UsageError, match="no client 'nobody'"):
        make_plan(instance.scenario, instance.table, "static", fixed={"nobody": (1, "fo")})
