"""Options with the head on the client: which exist, and what they cost, by identities with those without."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hybridsplit.profiler.cache import load_profile, save_profile
from hybridsplit.profiler.memory import client_memory, server_memory
from hybridsplit.profiler.mode_costs import server_step_s
from hybridsplit.profiler.model_profile import profile_model
from hybridsplit.profiler.models import traced_model
from hybridsplit.profiler.options import build_options, profile_scenario
from hybridsplit.profiler.profiles import Choice
from hybridsplit.profiler.three_parts import head_step
from hybridsplit.scenarios.contracts.options import OPTION_COLUMNS
from hybridsplit.scenarios.contracts.three_part import HEAD_COLUMNS, WHOLE_OF
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.scenarios.modes import MODES, Asks
from hybridsplit.scenarios.modes.passes import BlockSeconds
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.testing.families import OPT, family_scenario

MODES_OF_HEADS = ["fo", "fo-recompute", "frozen"]
ADAMW = {"name": "adamw", "learning_rate": 0.01}


def scenario_of(family: str = "opt-causal", **training: object) -> Scenario:
    settings = {"head_blocks": [0, 1, 2], "modes": MODES_OF_HEADS, "optimizer": ADAMW, **training}
    return family_scenario(family, **settings)


def test_every_cut_that_leaves_a_block_between_has_a_head() -> None:
    scenario = scenario_of(modes=["fo", "frozen", "zo-loss"])
    table = profile_scenario(scenario).table
    last = traced_model(scenario).model.num_blocks
    own = table[table["client"] == table["client"].iloc[0]]
    found = {(mode, head): sorted(rows["cut"].tolist()) for (mode, head), rows in own.groupby(["mode", "head_blocks"])}
    for mode in ("fo", "frozen"):
        for head in (1, 2):
            assert found[mode, head] == list(range(1, last - head))
    assert ("zo-loss", 1) not in found
    assert found["fo", 0] == list(range(1, last + 1))


def test_where_it_is_certain_no_other_option_sends_labels() -> None:
    scenario = scenario_of(head_blocks=1)
    table = profile_scenario(scenario).table
    last = traced_model(scenario).model.num_blocks
    assert ((table["head_blocks"] == 1) | (table["cut"] == last)).all()
    local = table[table["cut"] == last]
    assert (local["uplink_bytes"] == local["model_upload_bytes"]).all()


def test_tables_without_heads_have_no_columns_of_them() -> None:
    table = profile_scenario(family_scenario("opt-causal", modes=["fo"])).table
    assert list(table.columns) == list(OPTION_COLUMNS)
    assert (table["head_blocks"] == 0).all()


@pytest.mark.parametrize("family", ["opt-causal", "bert", "resnet"])
def test_rows_differ_from_those_without_by_the_head_alone(family: str) -> None:
    """Bytes to the byte; energy and seconds of the device by the head's; all parts within their wholes."""
    scenario = scenario_of(family, modes=["fo", "frozen"])
    profile = profile_model(scenario)
    table, of_batch = build_options(scenario, profile).table, next(iter(profile.by_batch_size.values()))
    own = table[table["client"] == table["client"].iloc[0]].set_index(["cut", "mode", "head_blocks"])
    steps, last = scenario.training.local_steps, of_batch.num_blocks
    for cut, mode, head in own.index:
        if head == 0:
            continue
        row, without = own.loc[(cut, mode, head)], own.loc[(cut, mode, 0)]
        features = steps * of_batch.smashed_bytes[last - head - 1]
        exchanged = sum(cost.exchanged_bytes for cost in of_batch.costs[last - head :])
        assert row["head_features_bytes"] == row["head_gradient_bytes"] == features
        assert row["uplink_bytes"] - without["uplink_bytes"] == features + exchanged - steps * of_batch.label_bytes
        assert row["downlink_bytes"] - without["downlink_bytes"] == features + exchanged
        assert row["model_upload_bytes"] - without["model_upload_bytes"] == exchanged
        assert row["model_download_bytes"] - without["model_download_bytes"] == exchanged
        assert row["client_compute_s"] - without["client_compute_s"] == pytest.approx(row["head_compute_s"])
        assert without["server_compute_s"] > row["server_compute_s"] > row["server_backward_s"] > 0
        assert row["server_state_bytes"] < without["server_state_bytes"] + 2 * features
        assert row["progress"] == without["progress"]
        for part, whole in WHOLE_OF.items():
            assert 0 < row[part] <= row[whole]
    assert (own.loc[(slice(None), slice(None), 0), list(HEAD_COLUMNS)] == 0).all().all()


@pytest.mark.parametrize("mode", ["fo", "frozen"])
def test_head_and_middle_are_the_server_part_on_two_machines(mode: str) -> None:
    """On equally fast machines their seconds add up to those of the server part that they divide."""
    scenario = scenario_of(modes=[mode])
    profile = next(iter(profile_model(scenario).by_batch_size.values()))
    rng, num = np.random.default_rng(0), profile.num_blocks
    seconds = BlockSeconds(*rng.uniform(0.1, 1.0, (8, num)), trains=np.ones(num, dtype=bool))
    for cut in range(1, num):
        for head in range(1, num - cut):
            costs, server_s = head_step(
                Choice(cut, mode, head_blocks=head), profile, seconds, seconds, client_trains=True
            )
            whole_s = server_step_s(seconds, MODES[mode], cut, scenario.training, client_trains=True)
            assert costs.head_compute_s + server_s == pytest.approx(whole_s)
            forward_s = seconds.forward[cut : num - head].sum()
            assert server_s - costs.server_backward_s == pytest.approx(forward_s)
    assert MODES[mode].asks in (Asks.GRADIENT, Asks.NOTHING)


def test_peaks_of_the_table_are_those_of_a_trace_of_each() -> None:
    """A model of many alike blocks, most of whose cuts are composed and not traced."""
    scenario = scenario_of(batch_size=2)
    scenario = replace_model(scenario, {**OPT, "num_hidden_layers": 9})
    table, traced = profile_scenario(scenario).table, traced_model(scenario)
    own = table[(table["client"] == table["client"].iloc[0]) & (table["head_blocks"] > 0)]
    own = own[(own["mode"] != "fo-recompute") | (own["cut"] == 6)]
    assert len(own) > 20
    for row in own.to_dict("records"):
        cut, mode, head = row["cut"], row["mode"], row["head_blocks"]
        client = client_memory(traced, scenario, cut, mode, row["recompute"], head_blocks=head)
        assert row["client_peak_bytes"] == client.peak_bytes, row
        assert row["server_state_bytes"] == server_memory(traced, scenario, cut, mode, head_blocks=head).peak_bytes


def replace_model(scenario: Scenario, config: dict[str, object]) -> Scenario:
    """The scenario around another configuration."""
    return scenario.model_copy(update={"model": scenario.model.model_copy(update={"config": config})})


@pytest.mark.parametrize("head_blocks", [40, [0, 30]])
def test_a_head_of_more_blocks_than_there_are_is_refused(head_blocks: object) -> None:
    with pytest.raises(ScenarioError, match=r"training\.head_blocks: found \d+, and the model has .* use at most"):
        profile_model(scenario_of(head_blocks=head_blocks))


def test_a_profile_with_heads_is_kept(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYBRIDSPLIT_CACHE", str(tmp_path))
    profile = profile_model(scenario_of(modes=["fo"]))
    save_profile("a-key", profile)
    again = load_profile("a-key")
    assert again is not None
    of_batch, kept = (next(iter(one.by_batch_size.values())) for one in (profile, again))
    assert kept.client_peak_bytes == of_batch.client_peak_bytes
    assert kept.server_peak_bytes == of_batch.server_peak_bytes
    assert replace(kept, costs=(), heads=()) == replace(of_batch, costs=(), heads=())


def test_quickstart_offers_heads_to_the_planner() -> None:
    scenario = load_scenario("quickstart", ["training.head_blocks=[0,1]"])
    table = profile_scenario(scenario).table
    assert set(table["head_blocks"]) == {0, 1}
    assert (table.loc[table["mode"] == "zo-projection", "head_blocks"] == 0).all()
