"""Plans with heads on the clients: the order of a step, two crossings each way, bounds, and replays that agree."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridsplit.runtime.replay import replay
from hybridsplit.runtime.replay.traces import BandwidthTrace
from hybridsplit.scenarios.contracts.jobs import StatedCosts, crossings, num_exchanges, round_jobs
from hybridsplit.scenarios.contracts.ledger import Source
from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.contracts.phases import HEAD_PHASES, Phase
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.contracts.schedule import Dispatch, Turns
from hybridsplit.scenarios.contracts.three_part import HEAD_COLUMNS, HeadCosts
from hybridsplit.scenarios.errors import InfeasibleError, SolverFailure
from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.solver.dispatch.sequences import Sequences
from hybridsplit.solver.dispatch.walk import ends_s
from hybridsplit.solver.planner import make_plan
from hybridsplit.solver.problem.build import build_problem
from hybridsplit.solver.shares.synchronised import best_shares
from hybridsplit.solver.shares.timing import jobs_of, turns_timing
from hybridsplit.solver.verify.plan import verify_plan
from hybridsplit.testing.instances import Instance, random_instance
from tests.tiers import one_of


def instance_of(
    seed: int, choices: tuple[int, ...] = (0, 1), *, delay_s: float = 0.02, num_clients: int = 3, steps: int = 4,
    num_options: int | None = 4, **options: Any,
) -> Instance:  # fmt: skip
    """A random instance that offers every exact option with a server part with a head on the client as well."""
    modes = ("fo", "fo-recompute")
    plain = random_instance(seed, num_clients=num_clients, num_options=num_options, modes=modes, **options)
    document = plain.scenario.resolved()
    document["training"] |= {"local_steps": steps, "head_blocks": list(choices)}
    for one in document["clients"]:
        one["link"]["latency_s"] = delay_s
    scenario = validate_scenario(json.loads(json.dumps(document)), "test")
    rows = plain.table.table.assign(**dict.fromkeys(HEAD_COLUMNS, 0))
    able = rows[(rows["server_compute_s"] > 0) & (rows["uplink_bytes"] > 0)]
    rng = np.random.default_rng(seed)
    frames = [rows if 0 in choices else rows.drop(able.index)]
    for head_blocks in (number for number in choices if number):
        number = len(able)
        features, head_s = rng.integers(1, 400_000, number), rng.uniform(0.0, 0.3, number)
        before_s = able["server_compute_s"] * rng.uniform(0.2, 0.9, number)
        head = {"head_compute_s": head_s, "head_features_bytes": features, "head_gradient_bytes": features}
        frames.append(
            able.assign(
                head_blocks=head_blocks,
                **head,
                client_compute_s=able["client_compute_s"] + head_s,
                uplink_bytes=able["uplink_bytes"] + features,
                downlink_bytes=able["downlink_bytes"] + features,
                server_backward_s=able["server_compute_s"] - before_s,
                progress=able["progress"] * (1 + 0.3 * head_blocks),
            )
        )
    table = pd.concat(frames).sort_values("client", kind="stable", ignore_index=True)
    kinds = {name: kind for name, kind in HEAD_COLUMNS.items() if kind == "int64"}
    return Instance(scenario, OptionTable(table.astype({**kinds, "head_compute_s": float})))


def heads_only(instance: Instance) -> Instance:
    """The same, with options of three parts alone."""
    rows = instance.table.table
    return Instance(instance.scenario, OptionTable(rows[rows["head_blocks"] > 0].reset_index(drop=True)))


@pytest.mark.parametrize("seed", one_of(4, range(12)))
@pytest.mark.parametrize("strategy", ["optimal", "static", "time-shared"])
def test_plans_are_verified_bounded_and_replayed_to_nine_digits(seed: int, strategy: str) -> None:
    link_model = "shannon" if seed % 2 and strategy != "time-shared" else "fixed"
    for delay_s in (0.0, 0.05):
        for instance in (
            instance_of(seed, (0, 1, 2), delay_s=delay_s, link_model=link_model),
            heads_only(instance_of(seed, delay_s=delay_s, link_model=link_model, num_options=None)),
        ):
            plan = make_plan(instance.scenario, instance.table, strategy)
            verify_plan(plan, instance.scenario, instance.table)
            assert plan.schedule_lower_bound_s <= plan.objective_s * (1 + 1e-9)
            played = replay(plan, instance.scenario, num_rounds=2)
            assert played.round_latency_s == pytest.approx([plan.round_latency_s] * 2, rel=1e-9)


@pytest.mark.parametrize("seed", one_of(4, range(8)))
def test_replay_and_plan_agree_phase_by_phase(seed: int) -> None:
    """Constant shares: every phase takes what is planned, the head's by their own names."""
    instance = heads_only(instance_of(seed, num_options=None))
    plan = make_plan(instance.scenario, instance.table, "static")
    entries = {
        source: {(e.client, e.phase): e for e in ledger.entries() if e.phase != Phase.BARRIER and e.round == 0}
        for source, ledger in (
            (Source.PLANNED, plan.ledger()), (Source.REPLAYED, replay(plan, instance.scenario, num_rounds=1).ledger),
        )
    }  # fmt: skip
    planned, replayed = entries[Source.PLANNED], entries[Source.REPLAYED]
    assert {phase for _, phase in planned} >= set(HEAD_PHASES)
    assert planned.keys() == replayed.keys()
    for key, entry in planned.items():
        assert replayed[key].seconds == pytest.approx(entry.seconds, rel=1e-9, abs=1e-12)
        assert replayed[key].bytes == entry.bytes


@pytest.mark.parametrize("seed", one_of(2, range(6)))
def test_arrays_of_the_solver_are_the_jobs_of_the_contract(seed: int) -> None:
    steps = 3 + seed % 3
    instance = instance_of(seed, (0, 1), steps=steps, num_options=None)
    problem = build_problem(instance.table, instance.scenario)
    rows = np.arange(problem.num_rows)
    jobs, table = jobs_of(problem, rows), problem.table
    up_s, down_s = problem.work.uplink.seconds(1.0), problem.work.downlink_s
    for row in rows:
        own = table.iloc[row]
        head = HeadCosts.of_row(own)
        sizes = {
            Phase.UPLINK: int(own["uplink_bytes"] - own["model_upload_bytes"] - head.head_gradient_bytes),
            Phase.DOWNLINK: int(own["downlink_bytes"] - own["model_download_bytes"] - head.head_features_bytes),
        }
        listed = round_jobs(StatedCosts(own["client_compute_s"], own["server_compute_s"], sizes, head=head), steps)
        up, down = up_s[row] / max(own["uplink_bytes"], 1), down_s[row] / max(own["downlink_bytes"], 1)
        for phase, array, unit in (
            (Phase.UPLINK, jobs.uplink_s, up), (Phase.SERVER_COMPUTE, jobs.server_s, 1.0),
            (Phase.HEAD_DOWNLINK, jobs.head_down_s, down), (Phase.HEAD_COMPUTE, jobs.head_s, 1.0),
            (Phase.HEAD_UPLINK, jobs.head_up_s, up), (Phase.SERVER_BACKWARD, jobs.server_backward_s, 1.0),
            (Phase.DOWNLINK, jobs.downlink_s, down),
        ):  # fmt: skip
            amounts = {job.step: job.amount * unit for job in listed if job.phase is phase}
            assert array[:, row] == pytest.approx([amounts.get(step, 0.0) for step in range(steps)])


@pytest.mark.parametrize("seed", one_of(4, range(12)))
def test_no_choice_of_options_and_order_is_much_better(seed: int) -> None:
    """All options of three clients times all strict priorities, turns and best shares, each timed; bounds below all."""
    instance = instance_of(seed, (0, 1), delay_s=0.01 * (seed % 3), num_options=3, steps=1 + seed % 4)
    problem = build_problem(instance.table, instance.scenario, None)
    plan = make_plan(instance.scenario, instance.table, "optimal")
    static = make_plan(instance.scenario, instance.table, "static")
    sequences = Sequences(problem)
    ends = np.append(problem.starts[1:], problem.num_rows)
    by_priority, in_turns, at_shares = math.inf, math.inf, math.inf
    choices = itertools.product(*(range(s, e) for s, e in zip(problem.starts, ends, strict=True)))
    for number, rows in enumerate(map(np.array, choices)):
        own = [sequences.of(row) for row in rows]
        for order in itertools.permutations(range(3)):
            end_s = max(ends_s(own, [1e6 * place for place in order]))
            by_priority = min(by_priority, problem.objective_of(rows, end_s))
            turns = turns_timing(jobs_of(problem, rows).ordered(np.array(order)))
            in_turns = min(in_turns, problem.objective_of(rows, float(turns.latency_s.max())))
        if number % 7 == 0:
            at_shares = min(at_shares, problem.objective_of(rows, best_shares(problem, rows).round_latency_s))
    assert plan.objective_s <= by_priority * (1 + 1e-9)
    assert plan.schedule_lower_bound_s <= min(by_priority, in_turns) * (1 + 1e-9)
    assert static.objective_s <= at_shares * (1 + 1e-6)
    assert static.lower_bound_s <= at_shares * (1 + 1e-9)


@pytest.mark.parametrize("seed", one_of(3, range(6)))
def test_the_choice_of_a_head_never_makes_a_plan_worse(seed: int) -> None:
    instance = instance_of(seed, num_clients=5, num_options=None)
    rows = instance.table.table
    without = OptionTable(rows[rows["head_blocks"] == 0].reset_index(drop=True))
    for strategy in ("optimal", "static"):
        both, plain = (make_plan(instance.scenario, table, strategy) for table in (instance.table, without))
        assert both.objective_s <= plain.objective_s * (1 + 1e-9)


def test_turns_serve_what_comes_before_the_heads_first() -> None:
    """Two clients by hand: all work of a step at the server before the heads, then all after, in the order of turns."""
    instance = heads_only(instance_of(2, delay_s=0.0, num_clients=2, steps=1, num_options=None))
    plan = make_plan(instance.scenario, instance.table, "time-shared")
    assert isinstance(plan.schedule, Turns)
    first, second = (plan.client(name) for name in plan.schedule.order)
    free, now = dict.fromkeys(("up", "down", "server"), 0.0), {}

    def use(resource: str, at_s: float, took_s: float) -> float:
        free[resource] = max(at_s, free[resource]) + took_s
        return free[resource]

    clients = (first, second)
    for c in clients:
        now[c.id] = use("down", 0.0, c.phases_s[Phase.MODEL_DOWNLOAD]) + c.phases_s[Phase.CLIENT_COMPUTE] / 3
    for phases in (
        ((Phase.UPLINK, "up"), (Phase.SERVER_COMPUTE, "server"), (Phase.HEAD_DOWNLINK, "down")),
        ((Phase.HEAD_COMPUTE, ""), (Phase.HEAD_UPLINK, "up"), (Phase.SERVER_BACKWARD, "server"),
         (Phase.DOWNLINK, "down")),
    ):  # fmt: skip
        for phase, resource in phases:
            for c in clients:
                took_s = c.phases_s[phase]
                now[c.id] = use(resource, now[c.id], took_s) if resource else now[c.id] + took_s
    for c in clients:
        ready_s = now[c.id] + c.phases_s[Phase.CLIENT_COMPUTE] * 2 / 3
        assert use("up", ready_s, c.phases_s[Phase.MODEL_UPLOAD]) == pytest.approx(c.latency_s)


@pytest.mark.parametrize("strategy", ["optimal", "static", "time-shared"])
def test_heads_beside_links_of_the_clients_own(strategy: str) -> None:
    """Nobody shares a link; the server is shared before and after every head."""
    instance = heads_only(instance_of(5, num_options=None))
    document = instance.scenario.resolved()
    for one in document["clients"]:
        one["link"] = {"uplink_bps": 5e6, "downlink_bps": 9e6, "medium": "dedicated", "latency_s": 0.01}
    scenario = validate_scenario(document, "test")
    plan = make_plan(scenario, instance.table, strategy)
    verify_plan(plan, scenario, instance.table)
    played = replay(plan, scenario, num_rounds=2)
    assert played.round_latency_s == pytest.approx([plan.round_latency_s] * 2, rel=1e-9)


def planned(seed: int = 4, strategy: str = "static") -> tuple[Instance, Plan]:
    """A plan of which every client has a head."""
    instance = heads_only(instance_of(seed, num_options=None))
    return instance, make_plan(instance.scenario, instance.table, strategy)


@pytest.mark.parametrize("name", ["head_compute_s", "head_features_bytes", "head_gradient_bytes", "server_backward_s"])
@pytest.mark.parametrize("has_table", [True, False])
def test_altered_costs_of_a_head_are_refused(name: str, has_table: bool) -> None:
    instance, plan = planned()
    first, *others = plan.clients
    for value in (getattr(first, name) * 2 + 10**9, 0):
        altered = plan.model_copy(update={"clients": (first.model_copy(update={name: value}), *others)})
        with pytest.raises(SolverFailure):
            verify_plan(altered, instance.scenario, instance.table if has_table else None)


def test_another_head_than_the_scenario_offers_is_refused() -> None:
    instance, plan = planned()
    first, *others = plan.clients
    altered = plan.model_copy(update={"clients": (first.model_copy(update={"head_blocks": 3}), *others)})
    with pytest.raises(SolverFailure, match=r"training\.head_blocks"):
        verify_plan(altered, instance.scenario, None)


def test_a_head_that_does_not_fit_is_named_with_its_way_out() -> None:
    instance = heads_only(instance_of(4, num_options=None))
    table = OptionTable(instance.table.table.assign(client_peak_bytes=10**9, fits=False))
    with pytest.raises(InfeasibleError, match=r"and a head of 1, peaks at .* list 0 in training\.head_blocks"):
        make_plan(instance.scenario, table, "static")


def test_a_wait_that_is_left_out_is_noticed() -> None:
    instance, plan = planned(strategy="optimal")
    assert isinstance(plan.schedule, Dispatch)
    of_head = [c for c in plan.clients if any(c.waiting_s.get(phase, 0.0) > 0 for phase in HEAD_PHASES)]
    assert of_head
    changed = of_head[0]
    phase = next(phase for phase in HEAD_PHASES if changed.waiting_s.get(phase, 0.0) > 0)
    waited_s = changed.waiting_s[phase]
    other = changed.model_copy(
        update={"waiting_s": {**changed.waiting_s, phase: 0.0}, "latency_s": changed.latency_s - waited_s}
    )
    clients = tuple(other if c.id == changed.id else c for c in plan.clients)
    with pytest.raises(SolverFailure, match="its schedule gives"):
        verify_plan(plan.model_copy(update={"clients": clients}), instance.scenario, instance.table)


def test_a_plan_survives_its_file(tmp_path: Path) -> None:
    instance, plan = planned()
    plan.save(tmp_path / "plan.json")
    again = Plan.load(tmp_path / "plan.json")
    assert again == plan
    assert "head of 1" in plan.clients[0].described(names_batch=False)
    instance.table.save(tmp_path / "options.parquet")
    verify_plan(again, instance.scenario, OptionTable.load(tmp_path / "options.parquet"))


@settings(max_examples=15, deadline=None)
@given(up_s=st.floats(0, 1), down_s=st.floats(0, 1), steps=st.integers(1, 5))
def test_every_crossing_is_delayed_once(up_s: float, down_s: float, steps: int) -> None:
    """Two up and two down a step, and the exchange of the model; planner, verifier and replay."""
    instance = heads_only(instance_of(7, num_clients=2, steps=steps, num_options=None))
    document = instance.scenario.resolved()
    for one in document["clients"]:
        one["link"] |= {"latency_s": 0.0, "uplink_latency_s": up_s, "downlink_latency_s": down_s}
    scenario = validate_scenario(document, "test")
    plan = make_plan(scenario, instance.table, "static")
    for client in plan.clients:
        up, down = crossings(client, steps)
        assert up == down == 2 * num_exchanges(steps, 1) + 1
        assert client.phases_s.get(Phase.PROPAGATION, 0.0) == pytest.approx(up * up_s + down * down_s, abs=1e-12)
    played = replay(plan, scenario, num_rounds=1)
    assert played.round_latency_s[0] == pytest.approx(plan.round_latency_s, rel=1e-9)


@pytest.mark.parametrize("strategy", ["static", "time-shared", "optimal"])
def test_recorded_links_carry_all_bytes(strategy: str) -> None:
    """A trace at its mean all the time changes nothing; one that moves carries the same bytes in other seconds."""
    instance, plan = planned(strategy=strategy)
    still = {c.id: BandwidthTrace(np.ones(50), np.full(50, 1e6)) for c in plan.clients}
    played = replay(plan, instance.scenario, num_rounds=2, traces=still)
    assert played.round_latency_s == pytest.approx([plan.round_latency_s] * 2, rel=1e-9)
    rng = np.random.default_rng(0)
    moving = {c.id: BandwidthTrace(np.full(40, 0.3), rng.uniform(1e5, 2e6, 40)) for c in plan.clients}
    moved = replay(plan, instance.scenario, num_rounds=2, traces=moving)
    assert moved.round_latency_s != pytest.approx([plan.round_latency_s] * 2, rel=1e-3)
    for ledger in (played.ledger, moved.ledger):
        table = ledger.table
        for client in plan.clients:
            for phase, size in client.bytes_by_phase().items():
                own = table[(table["client"] == client.id) & (table["phase"] == phase)]
                assert own["bytes"].tolist() == [size] * 2
