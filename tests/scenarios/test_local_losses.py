"""What does not go with losses of the clients' own is refused with what was found and what to do."""

from __future__ import annotations

import pytest

from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.scenarios.modes import MODES
from hybridsplit.scenarios.sections.local_loss import LocalLoss

LOCAL = "training.modes=[fo-local]"
SELDOM = "training.local_loss.upload_every=[1,4]"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([LOCAL, "training.label_holder=server"], "need the labels for it; use label_holder: client"),
        (["training.modes=[zo-local]", "training.zo_prefix_blocks=1"], "use zo_prefix_blocks: 0"),
        ([LOCAL, SELDOM, "training.local_steps=3"], "use at most 3, or more local_steps"),
        ([LOCAL, SELDOM, "training.server_model=shared-mean"], "use server_model: per-client, or upload_every: [1]"),
        ([LOCAL, "training.local_loss.upload_every=[2,2]"], "lists a value twice: 2, 2"),
        ([LOCAL, "training.local_loss.upload_every=[0]"], "training.local_loss.upload_every"),
        ([LOCAL, "training.local_loss.upload_every=[]"], "training.local_loss.upload_every"),
        ([LOCAL, "training.local_loss.rank=0"], "training.local_loss.rank"),
        ([SELDOM], "add one of fo-local, zo-local to modes, or remove local_loss"),
        (["training.modes=[fo]", "training.local_loss.rank=4"], "or remove local_loss"),
    ],
)
def test_refusals_say_what_to_do(given: list[str], said: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        load_scenario("quickstart", given)
    assert said in str(caught.value)


@pytest.mark.parametrize("server", ["shared-mean", "shared-sequential"])
def test_a_shared_server_goes_with_uploads_in_every_step(server: str) -> None:
    scenario = load_scenario("quickstart", [LOCAL, f"training.server_model={server}"])
    assert scenario.training.local_loss == LocalLoss()


def test_only_modes_with_a_loss_of_their_own_may_send_seldom() -> None:
    settings = LocalLoss(upload_every=(4, 1, 2))
    for name, mode in MODES.items():
        assert settings.of_mode(name) == ((1, 2, 4) if mode.has_local_head else (1,))
    assert MODES["fo-local"].has_local_head
    assert MODES["zo-local"].has_local_head
    assert not MODES["frozen"].has_local_head


def test_no_scenario_has_them_by_default() -> None:
    modes = load_scenario("campus").training.model_fields["modes"].default
    assert not any(MODES[mode].has_local_head for mode in modes)
