"""Rounds of many clients: no plan is below what deadlines prove, and work lies within its windows."""

from __future__ import annotations

import itertools
import math
import time

import numpy as np
import pytest

from hybridsplit.runtime.replay_relays import play_relays
from hybridsplit.scenarios.contracts.relay_costs import RelayCosts
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.relays.loading import validate_relays
from hybridsplit.scenarios.relays.schema import RelayScenario
from hybridsplit.solver.relays.alike import alike_groups
from hybridsplit.solver.relays.assemble import make_relay_plan
from hybridsplit.solver.relays.columns import Column, column_of
from hybridsplit.solver.relays.crowd import Crowds
from hybridsplit.solver.relays.deadline import Deadline
from hybridsplit.solver.relays.jobs import NOWHERE, jobs_of
from hybridsplit.solver.relays.kernels.serving import Clients, Kinds, Standing, serve
from hybridsplit.solver.relays.routes import routes_of
from hybridsplit.solver.relays.task import Task, fits_memory, with_deep_depths, with_depths
from hybridsplit.solver.relays.walk import walk
from hybridsplit.solver.relays.windows import every_cuts, listed_placements
from hybridsplit.solver.verify.relay_plan import relay_violations
from tests.solver.relays.tasks import random_costs, relay_scenario
from tests.solver.relays.test_replicas import replicated


def small(seed: int, counts: tuple[int, ...], **changes: object) -> tuple[RelayScenario, RelayCosts, Task]:
    """A scenario whose exchange of blocks weighs, so that heads and tails do."""
    rng = np.random.default_rng(seed)
    minimise = "round-latency" if rng.random() < 0.8 else "inference-latency"
    rate_bps = float(10 ** rng.uniform(6.5, 8.5))
    scenario = relay_scenario(counts, minimise=minimise, numbers=(1, 2), rate_bps=rate_bps, **changes)  # type: ignore[arg-type]
    costs = random_costs(rng, 3, (1, 2), trains=minimise == "round-latency")
    return scenario, costs, Task(scenario, costs, routes_of(scenario, costs), math.inf)


def proven(task: Task, ends: int, high_s: float) -> float:
    counts = {group.group: group.count for group in task.scenario.clients}
    deadline = Deadline(task.routes, counts, task.memory_bytes)
    return deadline.shortest(0.0, high_s, time.monotonic() + 60, ends=ends)[0]


def check_instance(seed: int) -> float:
    """Compare a bound with placements of two or three clients in every order of service; return the best over it."""
    rng = np.random.default_rng([seed, 1])
    counts = ((2,), (1, 1), (2, 1))[seed % 3]
    _, _, task = small(seed, counts, shared=bool(rng.integers(2)), most_cuts=int(rng.integers(1, 4)))
    by_group: dict[str, list[Column]] = {}
    for route in task.routes:
        columns = [column_of(route, tuple(int(cut) for cut in cuts)) for cuts in every_cuts(route)]
        by_group.setdefault(route.group, []).extend(columns)
    best = math.inf
    for _ in range(25):
        drawn = [by_group[group][int(rng.integers(len(by_group[group])))] for group in task.groups]
        turns = tuple(int(turn) for turn in rng.permutation(len(drawn)))
        place = with_depths if rng.random() < 0.5 else with_deep_depths
        best = min(best, task.value_s(place(task, drawn), turns))
    bound = proven(task, 1 + seed % 4, best * 2)
    assert bound <= best * (1 + 1e-9), f"instance {seed}: the bound {bound} is above a plan of {best}"
    return best / bound


def test_no_plan_is_below_a_deadline_that_is_too_short() -> None:
    ratios = [check_instance(seed) for seed in range(60)]
    assert min(ratios) < 1.2, "bounds are near some plan"


def test_no_plan_with_replicas_or_little_memory_is_below_the_bound() -> None:
    for seed in range(12):
        rng = np.random.default_rng([seed, 2])
        pipeline = ("best", "1f1b", "gpipe")[seed % 3]
        scenario = replicated(
            (2, 1), shared=True, numbers=(1, 4), pipeline=pipeline, rate_bps=float(10 ** rng.uniform(7, 9)),
            memory_bytes=int(rng.integers(300_000, 900_000)),
        )  # fmt: skip
        costs = random_costs(rng, 4, (1, 4), trains=True)
        task = Task(scenario, costs, routes_of(scenario, costs), math.inf)
        by_group: dict[str, list[Column]] = {}
        for route in task.routes:
            columns = [column_of(route, tuple(int(cut) for cut in cuts)) for cuts in every_cuts(route)]
            by_group.setdefault(route.group, []).extend(columns)
        best = math.inf
        for _ in range(60):
            drawn = [by_group[group][int(rng.integers(len(by_group[group])))] for group in task.groups]
            if fits_memory(task, drawn):
                best = min(best, task.value_s(with_depths(task, drawn)))
        assert best < math.inf, "some plan is within memory"
        assert proven(task, 1 + seed % 3, best * 2) <= best * (1 + 1e-9)


def test_all_plans_of_two_clients_are_above_the_bound_and_the_planned_one_is_between() -> None:
    for seed in range(4):
        scenario, costs, task = small(seed, (2,), shared=True, most_cuts=2)
        columns = [column_of(r, tuple(int(c) for c in cuts)) for r in task.routes for cuts in every_cuts(r)]
        best = min(
            task.value_s(place(task, list(pair)))
            for pair in itertools.product(columns, repeat=2)
            for place in (with_depths, with_deep_depths)
        )
        plan = make_relay_plan(scenario, costs)
        assert proven(task, 3, best * 2) <= best * (1 + 1e-9)
        assert plan.lower_bound_s <= best * (1 + 1e-9)
        assert best * (1 - 1e-9) <= plan.value_s


def test_pieces_of_a_client_alone_lie_in_their_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every piece that a walk serves is within [head, end - tail] of some piece of the same length."""
    from hybridsplit.solver.relays import walk as module

    standings: list[Standing] = []

    def kept(kinds: Kinds, clients: Clients, standing: Standing) -> None:
        serve(kinds, clients, standing)
        standings.append(standing)

    monkeypatch.setattr(module, "serve", kept)
    for seed in range(6):
        _, _, task = small(seed, (1,), shared=True)
        for route in task.routes:
            listed = listed_placements(route, every_cuts(route))
            for place, cuts in enumerate(listed.cuts):
                column = column_of(route, tuple(int(cut) for cut in cuts))
                placed = with_deep_depths(task, [column])
                (end_s,) = walk(placed, trains=task.trains)
                jobs = jobs_of(*placed[0], trains=task.trains)
                served = [
                    (jobs.names[at], done_s - seconds, seconds)
                    for at, done_s, seconds in zip(jobs.resource, standings[-1].done_s, jobs.seconds, strict=True)
                    if at != NOWHERE
                ]
                assert end_s >= listed.alone_s[place] * (1 - 1e-9)
                for name, window in listed.windows.items():
                    total = float(window.seconds[place].sum())
                    assert total == pytest.approx(column.busy_s.get(name, 0.0), abs=1e-12)
                    for resource, start_s, seconds in served:
                        if resource == name:
                            fits = (
                                (np.abs(window.seconds[place] - seconds) < 1e-12)
                                & (window.head_s[place] <= start_s + 1e-9)
                                & (start_s + seconds + window.tail_s[place] <= end_s + 1e-9)
                            )
                            assert fits.any(), f"{name}: {seconds} s at {start_s} s are in no window"


def test_bounds_count_what_comes_before_and_after() -> None:
    """Clients of one shared machine: its work, after the shortest way to it and before the shortest way back."""
    scenario = relay_scenario((30,), shared=False, numbers=(1,), rate_bps=1e9, most_cuts=1)
    document = scenario.resolved()
    document["clients"][0]["min_cut"] = 2
    document["clients"][0]["memory_budget_bytes"] = 10_000_000
    costs = random_costs(np.random.default_rng(3), 3, (1,), trains=True)
    task = Task(scenario, costs, routes_of(scenario, costs), math.inf)
    columns = [column_of(r, tuple(int(c) for c in cuts)) for r in task.routes for cuts in every_cuts(r)]
    high_s = min(task.value_s(with_depths(task, [column] * 30)) for column in columns)
    work_only = make_relay_plan(scenario, costs, "client-only").value_s
    bound = proven(task, 4, high_s)
    busiest = min(max([c.own_s, *(30 * s for s in c.busy_s.values())]) for c in columns)
    assert busiest * 0.2 < bound <= min(high_s, work_only) * (1 + 1e-9)


def test_groups_that_differ_in_names_alone_are_alike() -> None:
    scenario = relay_scenario((3, 3, 3, 2), shared=True)
    costs = random_costs(np.random.default_rng(0), 3, (1, 4), trains=True)
    counts = {group.group: group.count for group in scenario.clients}
    assert alike_groups(routes_of(scenario, costs), counts) == [("g0",), ("g1", "g2"), ("g3",)]


def test_turns_decide_who_is_first_and_replay_and_verification_agree() -> None:
    scenario = relay_scenario((20, 14), shared=True, rate_bps=2e7, search={"time_limit_s": 6.0})
    costs = random_costs(np.random.default_rng(2), 5, (1, 4), trains=True)
    plan = make_relay_plan(scenario, costs)
    assert not list(relay_violations(plan, scenario, costs))
    played = play_relays(plan)
    assert played.value_s == pytest.approx(plan.value_s, rel=1e-9)
    for client in plan.clients:
        assert played.ends_s[client.id] == pytest.approx(client.latency_s, rel=1e-9)
    # Reversed: by turns of a crowd, or in the order of the clients where time ended before there were any.
    order = sorted(range(len(plan.clients)), key=lambda place: (plan.clients[place].turn, place), reverse=True)
    turn = {place: position for position, place in enumerate(order)}
    turned = plan.model_copy(
        update={
            "clients": tuple(one.model_copy(update={"turn": turn[place]}) for place, one in enumerate(plan.clients))
        }
    )
    assert play_relays(turned).ends_s != played.ends_s


def test_a_crowd_is_near_its_bound() -> None:
    scenario = relay_scenario(tuple([20] * 4), shared=True, rate_bps=1e9, search={"time_limit_s": 12.0})
    costs = random_costs(np.random.default_rng(5), 6, (1, 4), trains=True)
    task = Task(scenario, costs, routes_of(scenario, costs), math.inf)
    counts = {group.group: group.count for group in scenario.clients}
    deadline = Deadline(task.routes, counts, task.memory_bytes)
    bound, _ = deadline.shortest(0.0, 100.0, time.monotonic() + 20, ends=4)
    crowds = Crowds(task, deadline, bound, 2 * bound, time.monotonic() + 20)
    first = crowds.best
    crowds.change()
    crowd = crowds.best
    assert first is not None
    assert crowd is not None
    assert crowd.value_s <= first.value_s
    assert bound <= crowd.value_s <= bound * 1.15
    assert sorted(crowd.turns) == list(range(80)), "a crowd has turns of its own"


def test_too_many_ways_are_refused_with_the_node_where_they_part() -> None:
    document = relay_scenario((1,)).resolved()
    layers = [[f"l{i}-{j}" for j in range(5)] for i in range(4)]
    rates = {"uplink_bps": 1e8, "downlink_bps": 1e8}
    document["network"]["nodes"] = [{"node": n, "device": "jetson_nano_4gb"} for layer in layers for n in layer]
    document["network"]["nodes"].append({"node": "cloud", "device": "edge_tesla_t4"})
    stops = [["g0"], *layers, ["cloud"]]
    document["network"]["links"] = [
        {"from": a, "to": b, **rates} for here, there in itertools.pairwise(stops) for a in here for b in there
    ]
    scenario = validate_relays(document, "meshed")
    with pytest.raises(ScenarioError, match=r"more than 256 ways from g0 .* of l0-0, which leads on to l1-0, l1-1"):
        routes_of(scenario, random_costs(np.random.default_rng(0), 3, (1, 4), trains=True))
