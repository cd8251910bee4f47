"""When policies plan again, with a search whose plans and values are given: every key decides something."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest

from hybridsplit.orchestrator.replanning.beliefs import Beliefs
from hybridsplit.orchestrator.replanning.policies import EveryN, OnChange
from hybridsplit.runtime.replay.changing import Boundary, MovedBytes, NewPlan, Observed, RoundObserved
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.sections.replanning import Replanning
from hybridsplit.solver.planner import make_plan
from hybridsplit.testing.instances import random_instance


class GivenPlan:
    """Finds a plan whose value is a fraction of the present one's, and remembers for what it was asked."""

    def __init__(self, plan: Plan, present: Plan, saving: float, worse_below: float = 0.0) -> None:
        self.plan, self.present, self.saving, self.worse_below = plan, present, saving, worse_below
        self.asked: list[Beliefs] = []

    def plan_for(self, beliefs: Beliefs, present: Plan) -> Plan:
        self.asked.append(beliefs)
        return self.plan

    def value_s(self, plan: Plan, beliefs: Beliefs) -> float:
        slowest = max((max(pair) for pair in beliefs.stretch.values()), default=1.0)
        if plan is self.present:
            return slowest
        return slowest * (1.0 - self.saving if slowest >= self.worse_below else 1.1)


class GivenMoves:
    def __init__(self, size: int) -> None:
        self.size = size

    def between(self, before: Plan, after: Plan) -> dict[str, MovedBytes]:
        return {before.clients[0].id: MovedBytes(down=self.size)} if self.size else {}


@pytest.fixture(scope="module")
def case() -> tuple[Scenario, Plan, Plan]:
    instance = random_instance(3)
    plan = make_plan(instance.scenario, instance.table, "static")
    return instance.scenario, plan, plan.model_copy(update={"notes": ("another",)})


def asked(
    case: tuple[Scenario, Plan, Plan], stretches: Sequence[float], settings: dict[str, Any], *,
    saving: float = 0.1, worse_below: float = 0.0, moved_bytes: int = 0,
) -> tuple[NewPlan | None, GivenPlan]:  # fmt: skip
    """Ask after rounds in which the first client's transfers took so many times as long as planned."""
    scenario, plan, other = case
    search = GivenPlan(other, plan, saving, worse_below)
    kind = EveryN if settings["policy"] == "every-n" else OnChange
    policy = kind(scenario, Replanning(**settings), search, GivenMoves(moved_bytes))  # type: ignore[arg-type]
    rounds = tuple(
        RoundObserved(1.0, {plan.clients[0].id: Observed(8, 8, stretch, stretch, 1.0, 1.0, 1.0)})
        for stretch in stretches
    )
    return policy.next_plan(Boundary(len(rounds), float(len(rounds)), plan, rounds)), search


ON_CHANGE = {"policy": "on-change", "change": 0.5, "hysteresis_rounds": 2}


@pytest.mark.parametrize(
    ("stretches", "settings", "keywords", "changes"),
    [
        ([2, 2], ON_CHANGE, {}, True),
        ([2], ON_CHANGE, {}, False),  # one round is not two in a row
        ([2, 1, 2], ON_CHANGE, {}, False),
        ([2], {**ON_CHANGE, "hysteresis_rounds": 1}, {}, True),
        ([1.4, 1.4], ON_CHANGE, {}, False),
        ([1.4, 1.4], {**ON_CHANGE, "change": 0.3}, {}, True),
        ([0.5, 0.5], ON_CHANGE, {}, True),  # faster counts as slower does
        ([2, 2], {**ON_CHANGE, "gain": 0.2}, {}, False),
        ([2, 2, 2], ON_CHANGE, {}, False),  # believed by then: nothing has changed since
        ([2, 2, 1, 1], ON_CHANGE, {}, True),
        ([2, 8], ON_CHANGE, {"worse_below": 4.0}, False),  # better in the last round alone
        ([8, 8], ON_CHANGE, {"worse_below": 4.0}, True),
        ([2, 2], ON_CHANGE, {"moved_bytes": 10**12}, False),  # does not pay for what it moves
        ([2, 2], {**ON_CHANGE, "horizon_rounds": 1_000_000}, {"moved_bytes": 10**6}, True),
        ([2, 2], {"policy": "every-n", "every_rounds": 2}, {}, True),
        ([2, 2], {"policy": "every-n", "every_rounds": 3}, {}, False),
    ],
)  # fmt: skip
def test_a_plan_changes_when_the_keys_say_so(
    case: tuple[Scenario, Plan, Plan], stretches: list[float], settings: dict[str, Any], keywords: dict[str, Any],
    changes: bool,
) -> None:  # fmt: skip
    new, _ = asked(case, stretches, settings, **keywords)
    assert (new is not None) == changes
    if new is not None:
        assert new.plan is case[2]
        assert new.expected_saving == pytest.approx(0.1)


def test_the_window_is_what_rates_are_averaged_over(case: tuple[Scenario, Plan, Plan]) -> None:
    client = case[1].clients[0].id
    for rounds, mean in ((1, 4.0), (2, 3.0), (3, 7 / 3)):
        settings = {"policy": "every-n", "every_rounds": 3, "window_rounds": rounds}
        _, search = asked(case, [1, 2, 4], settings)
        assert search.asked[-1].stretch[client] == pytest.approx((mean, mean))


def test_memory_that_differs_from_what_was_seen_first_counts(case: tuple[Scenario, Plan, Plan]) -> None:
    scenario, plan, other = case
    for memory, changes in (((100.0, 100.0, 100.0), False), ((100.0, 30.0, 30.0), True)):
        search = GivenPlan(other, plan, 0.1)
        rounds = tuple(
            RoundObserved(1.0, {plan.clients[0].id: Observed(8, 8, 1.0, 1.0, 1.0, 1.0, 1.0, size)}) for size in memory
        )
        policy = OnChange(scenario, Replanning(**ON_CHANGE), search, GivenMoves(0))  # type: ignore[arg-type]
        assert (policy.next_plan(Boundary(3, 3.0, plan, rounds)) is not None) == changes
        assert bool(search.asked) == changes


def test_beliefs_differ_by_the_factor_between_them_either_way() -> None:
    one, other = Beliefs({"a": (1.0, 2.0)}), Beliefs({"a": (1.0, 0.5)})
    assert one.differ(other) == other.differ(one) == pytest.approx(3.0)
    assert one.differ(one) == 0.0
    assert Beliefs({}, {"a": 100.0}).differ(Beliefs({}, {"a": 50.0})) == pytest.approx(1.0)


def test_links_that_stood_still_are_not_believed_to_stand_for_ever() -> None:
    seen = RoundObserved(1.0, {"a": Observed(8, 0, math.inf, 0.0, 1.0, 0.0, 1.0)})
    up, down = Beliefs.from_rounds([seen], Beliefs({"a": (1.0, 3.0)})).stretch["a"]
    assert math.isfinite(up)
    assert down == 3.0, "nothing came down, so what was believed stands"


def test_a_scenario_without_the_key_has_no_policy() -> None:
    assert not load_scenario("quickstart").training.changes_plans
