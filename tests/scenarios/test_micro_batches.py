"""What batches in parts do not go with is refused with what was found and what to do."""

from __future__ import annotations

import pytest

from hybridsplit.scenarios.agreement import disagreements
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.scenarios.modes import MODES
from hybridsplit.scenarios.sections.overlap import Overlap

PARTS, CHOICE = "training.overlap.micro_batches=[4]", "training.overlap.micro_batches=[1,4]"
EXACT = "training.modes=[fo,fo-recompute]"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            ["training.batch_size=30"],
            "found 4 with batches of 30 samples, which have no 4 equal parts; use some of 1, 2",
        ),
        (["training.batch_sizes=[7]"], "use micro_batches: [1], or another batch_size"),
        (["training.modes=[zo-loss,frozen]"], "or add one of fo, fo-recompute"),
        (["training.server_model=shared-sequential"], "use server_model: per-client"),
        (["training.server_model=shared-mean"], "use server_model: per-client"),
        (["training.modes=[zo-loss]", "training.server_gradient=zeroth-order"], "use server_gradient: exact"),
        (["training.overlap.staleness=[1]"], "micro_batches: [1, 4], staleness: [0, 1]"),
        (["training.head_blocks=1", EXACT], "micro_batches: [1, 4], head_blocks: [0, 1]"),
        (["objective.late=skip"], "use late: wait, or micro_batches: [1]"),
        (["objective.links=recorded"], "use links: nominal, or micro_batches: [1]"),
        (["clients.0.memory_trace=memory.tsv"], "remove the recording, or use micro_batches: [1]"),
        (
            ["training.replanning.policy=every-n", "training.replanning.every_rounds=2"],
            "use micro_batches: [1], or policy: static",
        ),
        (["training.overlap.micro_batches=[2,2]"], "micro_batches lists a value twice: 2, 2"),
        (["training.overlap.micro_batches=[0]"], "training.overlap.micro_batches"),
        (["training.overlap.micro_batches=[]"], "training.overlap.micro_batches"),
        (["training.overlap.micro_batches=4"], "training.overlap.micro_batches"),
    ],
)
@pytest.mark.parametrize("listed", [PARTS, CHOICE])
def test_refusals_say_what_to_do(given: list[str], said: str, listed: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        load_scenario("quickstart", [listed, *given])
    assert said in str(caught.value)
    assert "micro_batches" in str(caught.value)
    assert len(str(caught.value)) <= 1000


@pytest.mark.parametrize("more", ["training.overlap.staleness=[0,1]", "training.head_blocks=[0,1]"])
def test_with_one_of_each_in_the_list_both_are_options(more: str) -> None:
    assert load_scenario("quickstart", [CHOICE, EXACT, more]).training.overlap.most_micro_batches == 4
    with pytest.raises(ScenarioError, match="no option is left with both"):
        load_scenario("quickstart", [PARTS, EXACT, more])


def test_pilot_runs_say_nothing_of_steps_that_overlap() -> None:
    for overlap, said in (({"micro_batches": [2]}, "use micro_batches: [1]"), ({"staleness": [1]}, "staleness: [0]")):
        document = {"training": {"overlap": overlap}, "objective": {"minimise": "time-to-target"}}
        assert any("pilot runs" in fault and said in fault for fault in disagreements(document))


def test_whole_batches_are_refused_nothing() -> None:
    scenario = load_scenario(
        "quickstart", ["training.overlap.micro_batches=[1]", "training.batch_size=31", "objective.late=skip"]
    )
    assert scenario.training.overlap.most_micro_batches == 1


def test_only_modes_that_add_up_exact_gradients_are_offered_parts() -> None:
    overlap = Overlap(micro_batches=(4, 1, 2))
    for name, mode in MODES.items():
        assert overlap.micro_batches_of_mode(name) == ((1, 2, 4) if mode.divides_batches else (1,))
    assert {name for name, mode in MODES.items() if mode.divides_batches} == {"fo", "fo-recompute"}
