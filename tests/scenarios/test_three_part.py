"""What does not go with a head on the client is refused with what was found and what to do."""

from __future__ import annotations

import pytest

from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.scenarios.modes import MODES
from hybridsplit.scenarios.sections.three_part import choices_of, head_blocks_of_mode

HEAD, CHOICE = "training.head_blocks=1", "training.head_blocks=[0,1]"
EXACT = "training.modes=[fo,fo-recompute]"
AHEAD = "training.overlap.staleness"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([HEAD], "modes lists zo-projection, which ask the server for more than one gradient"),
        ([HEAD, "training.modes=[fo,zo-loss]"], "or list 0 too: head_blocks: [0, 1]"),
        ([HEAD, "training.modes=[zo-loss]"], "add one of fo, fo-recompute, frozen, or use head_blocks: 0"),
        ([CHOICE, "training.modes=[zo-loss,zo-projection]"], "none of which trains with the head on the client"),
        ([HEAD, "training.modes=[fo,fo-local]"], "modes lists fo-local"),
        ([CHOICE, "training.server_model=shared-mean"], "use server_model: per-client, or head_blocks: 0"),
        ([CHOICE, "training.server_model=shared-sequential"], "use server_model: per-client, or head_blocks: 0"),
        (
            [HEAD, "training.modes=[frozen]", "training.server_gradient=zeroth-order"],
            "use server_gradient: exact, or head_blocks: 0",
        ),
        ([CHOICE, "training.label_holder=server"], "use label_holder: client, or head_blocks: 0"),
        ([HEAD, EXACT, f"{AHEAD}=[0,1]"], "use overlap.staleness: [0], or list 0 in both"),
        ([CHOICE, EXACT, f"{AHEAD}=[1]"], "head_blocks: [0, 1], overlap.staleness: [0, 1]"),
        (
            [CHOICE, "training.replanning.policy=every-n", "training.replanning.every_rounds=2"],
            "use replanning.policy: static, or head_blocks: 0",
        ),
        (["training.head_blocks=[1,1]", EXACT], "head_blocks: lists a number twice: 1, 1"),
        (["training.head_blocks=-1"], "training.head_blocks"),
        (["training.head_blocks=[]"], "training.head_blocks"),
        (["training.head_blocks=one"], "training.head_blocks"),
    ],
)
def test_refusals_say_what_to_do(given: list[str], said: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        load_scenario("quickstart", given)
    assert said in str(caught.value)
    assert "head_blocks" in str(caught.value)


def test_one_number_and_a_list_are_choices() -> None:
    assert choices_of(2) == (2,)
    assert choices_of((3, 0, 1)) == (0, 1, 3)
    assert load_scenario("quickstart", [HEAD, EXACT]).training.head_block_choices == (1,)
    assert load_scenario("quickstart", [CHOICE]).training.head_block_choices == (0, 1)
    assert load_scenario("quickstart").training.head_block_choices == (0,)


def test_only_modes_with_one_exact_exchange_have_a_head_on_the_client() -> None:
    able = {name for name, mode in MODES.items() if mode.splits_in_three}
    assert able == {"fo", "fo-recompute", "frozen"}
    for name in MODES:
        assert head_blocks_of_mode((0, 2, 1), name) == ((0, 1, 2) if name in able else (0,))
        assert head_blocks_of_mode(1, name) == ((1,) if name in able else ())


def test_modes_without_it_stay_where_zero_is_listed() -> None:
    training = load_scenario("quickstart", [CHOICE, "training.modes=[fo,zo-loss,fo-local]", f"{AHEAD}=[0,1]"]).training
    assert training.modes == ("fo", "zo-loss", "fo-local")
