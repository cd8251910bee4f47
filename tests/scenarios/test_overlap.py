"""What cannot overlap is refused with what was found and what to do."""

from __future__ import annotations

from typing import Any

import pytest

from hybridsplit.scenarios.agreement import disagreements
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.scenarios.modes import MODES
from hybridsplit.scenarios.sections.overlap import Overlap

AHEAD = "training.overlap.staleness=[0,1]"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["training.modes=[zo-loss]"], "zo-loss asks the server again and again"),
        (["training.modes=[fo-recompute]"], "or add one of fo"),
        (["training.modes=[frozen]"], "frozen clients wait for nothing"),
        (["training.server_model=shared-sequential"], "use server_model: per-client"),
        (["training.server_model=shared-mean"], "use server_model: per-client"),
        (["training.local_steps=1"], "at most one step less than that ahead"),
        (["objective.late=skip"], "use late: wait"),
        (["objective.links=recorded"], "use links: nominal"),
        (["clients.0.memory_trace=memory.tsv"], "clients.0.memory_trace"),
        (["training.overlap.staleness=[1,1]"], "lists a value twice"),
        (["training.overlap.staleness=[17]"], "needs a number of at most 16"),
        (["training.overlap.staleness=[]"], "training.overlap.staleness"),
        (["training.overlap.gradient=late"], "training.overlap.gradient"),
    ],
)
def test_refusals_say_what_to_do(given: list[str], said: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        load_scenario("quickstart", [AHEAD, *given])
    assert said in str(caught.value)


def test_pilot_runs_say_nothing_of_late_gradients() -> None:
    document = {"training": {"overlap": {"staleness": [0, 2]}}, "objective": {"minimise": "time-to-target"}}
    assert any("pilot runs say nothing" in said for said in disagreements(document))


def test_nothing_is_refused_where_nothing_overlaps() -> None:
    scenario = load_scenario("quickstart", ["training.overlap.staleness=[0]", "training.local_steps=1"])
    assert scenario.training.overlap.most == 0


@pytest.mark.parametrize("gradient", ["stash", "current"])
def test_only_modes_that_can_are_offered_staleness(gradient: Any) -> None:
    overlap = Overlap(staleness=(2, 0, 1), gradient=gradient)
    for name, mode in MODES.items():
        assert overlap.of_mode(name) == ((0, 1, 2) if gradient in mode.overlaps else (0,))
    assert "stash" not in MODES["fo-recompute"].overlaps
    assert not MODES["zo-loss"].overlaps
    assert not MODES["frozen"].overlaps
