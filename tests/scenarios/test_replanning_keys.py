"""What the section ``training.replanning`` refuses, all at once."""

from __future__ import annotations

import pytest

from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.loader import load_scenario


@pytest.mark.parametrize(
    ("stated", "says"),
    [
        ("{policy: every-n}", "needs every_rounds as well"),
        ("{policy: on-change}", "needs change, hysteresis_rounds as well"),
        ("{policy: on-change, every_rounds: 2, change: 0.2}", "needs hysteresis_rounds as well.*every_rounds belongs"),
        ("{policy: oracle, change: 0.2}", "change belongs to another policy"),
        ("{policy: sometimes}", "sometimes"),
        ("{policy: on-change, change: 0, hysteresis_rounds: 1}", "change"),
    ],
)
def test_keys_that_do_not_fit_the_policy_are_named_together(stated: str, says: str) -> None:
    with pytest.raises(ScenarioError, match=f"(?s){says}"):
        load_scenario("quickstart", [f"training.replanning={stated}"])


@pytest.mark.parametrize(
    ("beside", "says"),
    [
        ("objective.late=skip", "objective.late 'skip'"),
        ("objective.minimise=energy", "objective.minimise 'energy'"),
        ("clients.0.drop_price_s=1", "a drop_price_s of pi4"),
        ("training.overlap={staleness: [0, 1]}", "training.overlap, whose gradients"),
    ],
)
def test_what_decides_once_for_all_rounds_is_refused_beside_a_plan_that_changes(beside: str, says: str) -> None:
    with pytest.raises(ScenarioError, match=says):
        load_scenario("quickstart", [beside, "training.replanning={policy: every-n, every_rounds: 2}"])
    load_scenario("quickstart", [beside, "training.replanning={policy: static}"])
