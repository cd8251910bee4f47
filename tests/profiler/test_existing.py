"""Which options exist: who holds the labels, and blocks that are trained along common directions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hybridsplit.profiler.availability import existing_cuts
from hybridsplit.profiler.model_profile import profile_model
from hybridsplit.profiler.options import build_options, profile_scenario
from hybridsplit.profiler.profiles import ModelProfile
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.modes import MODES
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.testing.families import family_scenario

KEY = ["client", "cut", "mode", "recompute", "batch_size"]
ZEROTH_ORDER = ["zo-projection", "zo-loss"]


def with_mask(profile: ModelProfile, mask_bytes: int) -> ModelProfile:
    padded = {size: replace(of, mask_bytes=mask_bytes) for size, of in profile.by_batch_size.items()}
    return replace(profile, by_batch_size=padded)


@pytest.mark.parametrize("family", ["opt-classes", "resnet"])
def test_a_server_with_the_labels_needs_none_and_leaves_no_whole_model_on_a_device(family: str) -> None:
    settings: dict[str, Any] = {
        "local_steps": 3,
        "modes": [str(mode) for mode in Mode if not MODES[mode].has_local_head],
    }
    at_client, at_server = (
        family_scenario(family, **settings),
        family_scenario(family, **settings, label_holder="server"),
    )
    profile = profile_model(at_server)
    num_blocks = profile.by_batch_size[8].num_blocks
    sent = build_options(at_client, with_mask(profile_model(at_client), 100)).table.set_index(KEY)
    kept = build_options(at_server, with_mask(profile, 100)).table.set_index(KEY)
    assert set(kept.index) == {key for key in sent.index if key[1] < num_blocks}
    sent = sent.loc[kept.index]
    saved = sent["uplink_bytes"] - kept["uplink_bytes"]
    labels = [3 * profile.by_batch_size[key[4]].label_bytes for key in kept.index]
    assert saved.tolist() == labels
    assert min(labels) > 0
    same = [column for column in sent.columns if column != "uplink_bytes"]
    assert sent[same].equals(kept[same])


def test_the_mask_still_crosses_where_the_server_has_the_labels() -> None:
    scenario = family_scenario("bert", label_holder="server", local_steps=3)
    profile = profile_model(scenario)
    plain, padded = (build_options(scenario, with_mask(profile, size)).table for size in (0, 100))
    assert (padded["uplink_bytes"] - plain["uplink_bytes"] == 3 * 100).all()


def test_no_option_left_names_modes_and_label_holder() -> None:
    """With nothing trainable below any cut, a zeroth-order client has nothing to do."""
    scenario = family_scenario("opt-classes", modes=["zo-loss"], label_holder="server")
    costs = profile_model(scenario).by_batch_size[8].costs
    frozen = [replace(cost, num_trainable=0) for cost in costs]
    with pytest.raises(ScenarioError, match=r"training\.modes: zo-loss exist at no cut.*held by the server"):
        existing_cuts(range(1, len(costs) + 1), frozen, scenario.training)


def prefix(k: int, modes: list[str] = ZEROTH_ORDER, **training: Any) -> Scenario:
    return family_scenario("vit", modes=modes, zo_prefix_blocks=k, local_steps=3, **training)


@pytest.mark.parametrize("k", [1, 3])
def test_blocks_of_the_prefix_are_never_downloaded_and_zo_loss_gets_the_averaged_scalars(k: int) -> None:
    directions = prefix(0).training.zeroth_order.directions
    costs = profile_model(prefix(0)).by_batch_size[8].costs
    below = sum(cost.exchanged_bytes for cost in costs[:k])
    without, with_k = (profile_scenario(prefix(number)).table.set_index(KEY) for number in (0, k))
    assert set(with_k.index) == {key for key in without.index if key[1] >= k}
    without = without.loc[with_k.index]
    assert (without["model_download_bytes"] - with_k["model_download_bytes"] == below).all()
    scalars = [4 * directions * 3 if key[2] == "zo-loss" else 0 for key in with_k.index]
    assert (with_k["downlink_bytes"] - without["downlink_bytes"] + below).tolist() == scalars
    assert (with_k["model_upload_bytes"] == 0).all()
    same = [column for column in with_k.columns if column not in ("downlink_bytes", "model_download_bytes")]
    assert without[same].equals(with_k[same])
    at_k = with_k[with_k.index.get_level_values("cut") == k]
    assert (at_k["model_download_bytes"] == 0).all()


@pytest.mark.parametrize("modes", [["zo-projection"], ["zo-loss"], ZEROTH_ORDER])
def test_a_prefix_beyond_the_last_cut_names_the_key_and_the_blocks(modes: list[str]) -> None:
    num_blocks = profile_model(prefix(0, modes)).by_batch_size[8].num_blocks
    last = num_blocks if "zo-loss" in modes else num_blocks - 1
    assert set(profile_scenario(prefix(last, modes)).table["cut"]) == {last}
    for k in (last + 1, 10 * last):
        said = rf"training\.zo_prefix_blocks: found {k}; the model has {num_blocks} blocks.*last cut is {last}"
        with pytest.raises(ScenarioError, match=said):
            profile_scenario(prefix(k, modes))


def test_labels_at_the_server_move_the_last_cut_of_a_prefix() -> None:
    num_blocks = profile_model(prefix(0)).by_batch_size[8].num_blocks
    with pytest.raises(ScenarioError, match=rf"last cut is {num_blocks - 1}"):
        profile_scenario(prefix(num_blocks, label_holder="server"))


def test_a_prefix_of_zero_changes_nothing() -> None:
    scenario = family_scenario("vit", modes=ZEROTH_ORDER, local_steps=3)
    assert profile_scenario(scenario).table.equals(profile_scenario(prefix(0)).table)
