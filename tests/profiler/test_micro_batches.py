"""Options with batches in parts: which exist, and what they cost, by identities with whole batches."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hybridsplit.profiler.cache import load_profile, save_profile
from hybridsplit.profiler.memory import client_memory, server_memory
from hybridsplit.profiler.model_profile import profile_model
from hybridsplit.profiler.models import traced_model
from hybridsplit.profiler.options import build_options, profile_scenario
from hybridsplit.scenarios.contracts.options import OPTION_COLUMNS
from hybridsplit.scenarios.contracts.updates import UPDATE_COLUMNS, UPDATES_OF
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.testing.families import family_scenario

ADAMW = {"name": "adamw", "learning_rate": 0.01}


def scenario_of(family: str = "opt-causal", numbers: tuple[int, ...] = (1, 2, 4), **training: object) -> Scenario:
    settings = {"modes": ["fo", "fo-recompute", "zo-loss"], "optimizer": ADAMW, **training}
    return family_scenario(family, overlap={"micro_batches": list(numbers)}, **settings)


def test_every_cut_with_a_server_part_has_parts() -> None:
    scenario = scenario_of()
    table = profile_scenario(scenario).table
    last = traced_model(scenario).model.num_blocks
    own = table[table["client"] == table["client"].iloc[0]]
    found = {key: sorted(set(rows["cut"])) for key, rows in own.groupby(["mode", "micro_batches"])}
    for number in (2, 4):
        assert found["fo", number] == list(range(1, last))
        assert ("zo-loss", number) not in found
    assert found["fo", 1] == list(range(1, last + 1))


def test_where_whole_batches_are_not_listed_other_options_have_them_alone() -> None:
    scenario = scenario_of(numbers=(2,))
    table = profile_scenario(scenario).table
    last = traced_model(scenario).model.num_blocks
    exact = table["mode"].isin(["fo", "fo-recompute"]) & (table["cut"] < last)
    assert (table.loc[exact, "micro_batches"] == 2).all()
    assert (table.loc[~exact, "micro_batches"] == 1).all()
    assert exact.any()


def test_tables_without_parts_have_no_columns_of_them() -> None:
    table = profile_scenario(family_scenario("opt-causal", modes=["fo"])).table
    assert list(table.columns) == list(OPTION_COLUMNS)
    assert (table["micro_batches"] == 1).all()


@pytest.mark.parametrize("family", ["opt-causal", "bert", "vit"])
def test_rows_differ_from_those_of_whole_batches_by_seconds_and_memory(family: str) -> None:
    """The same bytes and progress; so many steps on a part of the batch, of which one updates."""
    scenario = scenario_of(family, modes=["fo"])
    size = scenario.training.batch_size
    table = profile_scenario(scenario).table
    own = table[table["client"] == table["client"].iloc[0]].set_index(["cut", "micro_batches"])
    of_parts = {
        number: profile_scenario(scenario_of(family, (1,), modes=["fo"], batch_size=size // number)).table
        for number in (2, 4)
    }
    for cut, number in own.index:
        if number == 1:
            continue
        row, whole = own.loc[(cut, number)], own.loc[(cut, 1)]
        for same in ("uplink_bytes", "downlink_bytes", "model_upload_bytes", "model_download_bytes", "progress"):
            assert row[same] == whole[same], same
        small = of_parts[number]
        part = small[(small["client"] == table["client"].iloc[0]) & (small["cut"] == cut)].iloc[0]
        for update, total in UPDATES_OF.items():
            assert 0 < row[update] < row[total]
            assert row[total] == pytest.approx(number * (part[total] - row[update]) + row[update])
            assert row[total] >= whole[total] * (1 - 1e-9)
        assert row["client_peak_bytes"] <= whole["client_peak_bytes"] * 1.01
    assert (own.loc[(slice(None), 1), list(UPDATE_COLUMNS)] == 0).all().all()


def test_peaks_of_the_table_are_those_of_a_trace_of_each() -> None:
    """At the server one part is worked on while the others may wait."""
    scenario = scenario_of(modes=["fo"])
    profile = profile_model(scenario)
    of_batch, traced = next(iter(profile.by_batch_size.values())), traced_model(scenario)
    table = build_options(scenario, profile).table
    own = table[(table["client"] == table["client"].iloc[0]) & (table["micro_batches"] > 1)]
    assert len(own) > 3
    for row in own.to_dict("records"):
        cut, number = row["cut"], row["micro_batches"]
        assert row["client_peak_bytes"] == client_memory(traced, scenario, cut, "fo", micro_batches=number).peak_bytes
        waiting = of_batch.smashed_bytes[cut - 1] * (number - 1) // number
        at_once = server_memory(traced, scenario, cut, "fo", micro_batches=number).peak_bytes
        assert row["server_state_bytes"] == at_once + waiting


def test_batch_norm_is_refused() -> None:
    with pytest.raises(ScenarioError, match=r"training\.overlap\.micro_batches: found 2, and block \d+ .* BatchNorm"):
        profile_model(scenario_of("resnet", modes=["fo"]))


def test_a_profile_with_parts_is_kept(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYBRIDSPLIT_CACHE", str(tmp_path))
    scenario = scenario_of(modes=["fo"])
    profile = profile_model(scenario)
    save_profile("a-key", profile)
    again = load_profile("a-key")
    assert again is not None
    of_batch, kept = (next(iter(one.by_batch_size.values())) for one in (profile, again))
    without = {"costs": (), "costs_of_parts": {}}
    assert replace(kept, **without) == replace(of_batch, **without)  # type: ignore[arg-type]
    assert build_options(scenario, again).table.equals(build_options(scenario, profile).table)
