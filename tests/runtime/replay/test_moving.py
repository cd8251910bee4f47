"""What it takes to move what a change of plan hands over, by hand; and whose state goes where."""

from __future__ import annotations

import pytest
import torch

from hybridsplit.runtime.replay.changing import MovedBytes
from hybridsplit.runtime.replay.moving import move
from hybridsplit.runtime.replay.planned_work import Circumstances, work_of
from hybridsplit.runtime.session.handing_over import handed_over
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.placement import Placement
from hybridsplit.scenarios.contracts.schedule import Dispatch
from hybridsplit.scenarios.loader import load_scenario


def test_constant_shares_move_at_once_and_everybody_waits_for_the_slowest(scenario_factory, plan_factory):
    scenario = scenario_factory(2)
    plan = plan_factory(scenario)
    # Half of 1 MHz at 4 bit/s/Hz down: 1 MB takes 4 s; at 2 bit/s/Hz up, 0.25 MB takes 2 s.
    wanted = {"pi-0": MovedBytes(down=1_000_000), "pi-1": MovedBytes(up=250_000)}
    spent, all_s = move(plan, work_of(plan, scenario, Circumstances()), wanted)
    assert all_s == pytest.approx(4.0)
    assert spent["pi-0"][Phase.MOVED_DOWN].seconds == pytest.approx(4.0)
    assert spent["pi-1"][Phase.MOVED_UP].seconds == pytest.approx(2.0)
    for phases in spent.values():
        assert sum(total.seconds + total.waiting_s for total in phases.values()) == pytest.approx(4.0)


def test_one_at_a_time_a_direction_is_shared_in_the_order_of_the_plan(scenario_factory, plan_factory):
    scenario = scenario_factory(2)
    shares = {"uplink_share": 1.0, "downlink_share": 1.0, "server_share": 1.0}
    plan = plan_factory(scenario, {"pi-0": shares, "pi-1": shares})
    plan = plan.model_copy(update={"schedule": Dispatch(order=("pi-1", "pi-0"), urgency_s=(0.0, 0.0))})
    wanted = {name: MovedBytes(down=1_000_000) for name in ("pi-0", "pi-1")}
    spent, all_s = move(plan, work_of(plan, scenario, Circumstances()), wanted)
    assert all_s == pytest.approx(4.0)
    assert spent["pi-1"][Phase.MOVED_DOWN].waiting_s == pytest.approx(2.0)  # for the other to be done
    assert spent["pi-0"][Phase.MOVED_DOWN].waiting_s == pytest.approx(2.0)  # for its turn


def test_state_of_moved_blocks_comes_back_as_it_went_and_ends_where_optimizers_differ() -> None:
    training = load_scenario("quickstart", ["training.optimizer_state=keep"]).training
    shallow, deep = (Placement(cut=cut, mode="fo", batch_size=1) for cut in (1, 3))
    client = {"blocks.0.w/momentum": torch.ones(2)}
    server = {f"blocks.{block}.w/momentum": torch.full((block,), 2.0) for block in (1, 2, 3)}

    def between(before: Placement, after: Placement) -> Assignment:
        return Assignment("a", after, 1.0, 0, before=before)

    down = handed_over(client, server, between(shallow, deep), training)
    assert set(down.client) == {f"blocks.{block}.w/momentum" for block in (0, 1, 2)}
    assert set(down.server) == {"blocks.3.w/momentum"}
    assert set(down.moved_down) == {"blocks.1.w/momentum", "blocks.2.w/momentum"}
    back = handed_over(down.client, down.server, between(deep, shallow), training)
    assert (back.client, back.server) == (client, server)
    assert set(back.moved_up) == set(down.moved_down)
    estimated = Placement(cut=3, mode="zo-projection", batch_size=1)
    anew = handed_over(client, server, between(shallow, estimated), training)
    assert anew.client == {}
    assert set(anew.server) == {"blocks.3.w/momentum"}
    assert anew.moved_up == anew.moved_down == {}
