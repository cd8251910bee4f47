"""Plans of clients that send smashed data in some steps only: jobs, delays, and replays that agree with plans."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridsplit.runtime.replay import replay
from hybridsplit.runtime.replay.planned_work import Circumstances, work_of
from hybridsplit.scenarios.contracts.jobs import Resource, StatedCosts, crossings, num_exchanges, round_jobs
from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.errors import SolverFailure
from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.solver.planner import make_plan
from hybridsplit.solver.problem.build import build_problem
from hybridsplit.solver.shares.timing import jobs_of
from hybridsplit.solver.verify.plan import verify_plan
from hybridsplit.testing.instances import Instance, random_instance
from tests.tiers import one_of

AMOUNTS = st.integers(0, 10_000)


@given(AMOUNTS, AMOUNTS, AMOUNTS, AMOUNTS, st.integers(1, 12), st.integers(1, 12))
def test_jobs_of_a_round_do_all_of_it_and_exchange_in_every_qth_step(
    up: int, down: int, model_down: int, model_up: int, steps: int, every: int
) -> None:
    of_phase = {Phase.UPLINK: up, Phase.DOWNLINK: down, Phase.MODEL_DOWNLOAD: model_down, Phase.MODEL_UPLOAD: model_up}
    costs = StatedCosts(3.0, 2.0, of_phase, every)
    jobs = round_jobs(costs, steps)
    for phase, amount in of_phase.items():
        assert sum(job.amount for job in jobs if job.phase is phase) == amount
    for resource, seconds in ((Resource.DEVICE, 3.0), (Resource.SERVER, 2.0)):
        assert math.fsum(job.amount for job in jobs if job.resource is resource) == pytest.approx(seconds)
    each = {
        step: sum(job.amount for job in jobs if job.resource is Resource.DEVICE and job.step == step)
        for step in range(steps)
    }
    assert list(each.values()) == pytest.approx([3.0 / steps] * steps)
    sending = {job.step for job in jobs if job.phase in (Phase.UPLINK, Phase.SERVER_COMPUTE, Phase.DOWNLINK)}
    assert sending == {step for step in range(steps) if step % every == 0}
    assert num_exchanges(steps, every) == len(sending)
    carried = [job for job in jobs if job.resource is Resource.UPLINK]
    assert crossings(costs, steps)[0] == len(carried)
    assert [job.step for job in jobs] == sorted(job.step for job in jobs)


def instance_of(seed: int, *, delay_s: float = 0.02, steps: int = 5, **options: Any) -> Instance:
    """A random instance in which the rows of one mode are offered without answers and with fewer uploads as well."""
    plain = random_instance(seed, num_clients=3, num_options=4, modes=("fo", "fo-recompute"), **options)
    document = plain.scenario.resolved()
    document["training"] |= {
        "local_steps": steps, "modes": ["fo", "fo-recompute", "fo-local"], "local_loss": {"upload_every": [1, 2, 4]},
    }  # fmt: skip
    for one in document["clients"]:
        one["link"]["latency_s"] = delay_s
    scenario = validate_scenario(document, "test")
    rows = plain.table.table
    able = rows[(rows["server_compute_s"] > 0) & (rows["mode"] == "fo-recompute")]
    frames = [rows]
    for every in (1, 2, 4):
        part = num_exchanges(steps, every) / steps
        sent = able["uplink_bytes"] - able["model_upload_bytes"]
        frames.append(
            able.assign(
                mode="fo-local",
                upload_every=every,
                uplink_bytes=able["model_upload_bytes"] + (sent * part).astype("int64"),
                downlink_bytes=able["model_download_bytes"],
                server_compute_s=able["server_compute_s"] * part,
                progress=able["progress"] * (0.5 + 0.5 * part),
            )
        )
    table = pd.concat(frames).sort_values("client", kind="stable", ignore_index=True)
    return Instance(scenario, OptionTable(table))


@pytest.mark.parametrize("seed", one_of(4, range(12)))
@pytest.mark.parametrize("strategy", ["optimal", "static", "time-shared"])
def test_plans_are_verified_and_replayed_to_nine_digits(seed: int, strategy: str) -> None:
    instance = instance_of(seed, link_model="shannon" if seed % 2 and strategy != "time-shared" else "fixed")
    only = instance.table.table
    # Where some rows exchange less often, so that silent steps are in the plan.
    rows = only[(only["mode"] == "fo-local") & (only["upload_every"] > 1)]
    table = OptionTable(rows.reset_index(drop=True))
    if set(table.clients) != set(instance.table.clients):
        table = instance.table
    plan = make_plan(instance.scenario, table, strategy)
    verify_plan(plan, instance.scenario, table)
    played = replay(plan, instance.scenario, num_rounds=2)
    assert played.round_latency_s == pytest.approx([plan.round_latency_s] * 2, rel=1e-9)


def test_a_plan_may_mix_them_and_says_what_it_assumes() -> None:
    instance = instance_of(1)
    rows = instance.table.table
    first = rows["client"].iloc[0]
    kept = rows[(rows["client"] != first) | ((rows["mode"] == "fo-local") & (rows["upload_every"] == 4))]
    table = OptionTable(kept.reset_index(drop=True))
    plan = make_plan(instance.scenario, table, "static")
    assert plan.clients[0].upload_every == 4
    assert any("assumed, not measured" in note for note in plan.notes)
    other = plan.clients[0].model_copy(update={"upload_every": 2})
    with pytest.raises(SolverFailure):
        verify_plan(plan.model_copy(update={"clients": (other, *plan.clients[1:])}), instance.scenario, table)


def test_a_mode_that_needs_the_server_in_every_step_cannot_skip_uploads() -> None:
    instance = instance_of(2)
    rows = instance.table.table
    table = OptionTable(rows[rows["mode"] == "fo"].reset_index(drop=True))
    plan = make_plan(instance.scenario, table, "static")
    other = plan.clients[0].model_copy(update={"upload_every": 2})
    with pytest.raises(SolverFailure, match="on offer"):
        verify_plan(plan.model_copy(update={"clients": (other, *plan.clients[1:])}), instance.scenario, table)


@pytest.mark.parametrize("every", [1, 2, 3, 7])
def test_arrays_of_the_solver_are_the_jobs_of_the_contract(every: int) -> None:
    instance = instance_of(3, steps=7)
    table = instance.table.table.assign(upload_every=every)
    table = table.drop_duplicates(["client", "cut", "mode", "batch_size"], ignore_index=True)
    problem = replace(build_problem(OptionTable(table), instance.scenario))
    rows = np.arange(problem.num_rows)
    jobs = jobs_of(problem, rows)
    for row in rows:
        own = problem.table.iloc[row]
        sent = own["uplink_bytes"] - own["model_upload_bytes"]
        costs = StatedCosts(1.0, own["server_compute_s"], {Phase.UPLINK: int(sent)}, every)
        listed = round_jobs(costs, 7)
        per_byte_s = problem.work.take(np.array([row])).uplink.seconds(1.0)[0] / max(own["uplink_bytes"], 1)
        for phase, array, unit in (
            (Phase.UPLINK, jobs.uplink_s, per_byte_s),
            (Phase.SERVER_COMPUTE, jobs.server_s, 1.0),
        ):
            amounts = {job.step: job.amount * unit for job in listed if job.phase is phase}
            assert array[:, row] == pytest.approx([amounts.get(step, 0.0) for step in range(7)])


def test_clients_that_differ_in_their_uploads_alone_have_jobs_of_their_own() -> None:
    """Same link, bytes and seconds: the replay must not give one the other's round."""
    instance = instance_of(1)
    rows = instance.table.table
    table = OptionTable(rows[rows["mode"] == "fo-local"].reset_index(drop=True))
    plan = make_plan(instance.scenario, table, "static")
    client = plan.clients[0]
    for every in (1, 2, 5, 1):
        other = client.model_copy(update={"upload_every": every})
        work = work_of(plan.model_copy(update={"clients": (client, other)}), instance.scenario, Circumstances())
        assert [item.jobs for item in work] == [round_jobs(one, 5) for one in (client, other)]
