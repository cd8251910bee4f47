"""The cache gives back what was profiled, and its key changes with everything that matters."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pandas as pd
import pytest

from hybridsplit.profiler import cache
from hybridsplit.profiler.cuda_memory import CudaMemory
from hybridsplit.profiler.model_profile import profile_model
from hybridsplit.profiler.options import build_options, profile_scenario
from hybridsplit.scenarios.cache_folder import cache_folder
from hybridsplit.scenarios.contracts.sealed import sealed
from hybridsplit.scenarios.errors import Notice, UsageError
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.testing.families import family_scenario


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HYBRIDSPLIT_CACHE", str(tmp_path))
    return tmp_path / "profiles"


@pytest.mark.parametrize("family", ["opt-causal", "resnet"])
def test_a_kept_profile_gives_the_same_option_table(folder: Path, family: str) -> None:
    scenario = family_scenario(family, local_steps=2, batch_sizes=[4] if family == "resnet" else [])
    device = CudaMemory(multiprocessors=8, cublas_workspace_bytes=1 << 20)
    fresh = profile_model(scenario, cuda_devices=[device])
    cache.save_profile("one", fresh)
    kept = cache.load_profile("one")
    assert kept is not None
    pd.testing.assert_frame_equal(build_options(scenario, kept).table, build_options(scenario, fresh).table)
    for size, of_batch in fresh.by_batch_size.items():
        again = kept.by_batch_size[size]
        assert again.peaks_on(device) == of_batch.peaks_on(device)
        assert again.smashed_bytes == of_batch.smashed_bytes


def test_an_entry_that_is_not_as_written_is_dropped_with_a_word(folder: Path) -> None:
    scenario = family_scenario("opt-causal")
    fresh = profile_scenario(scenario)
    (entry,) = folder.iterdir()
    document = json.loads(entry.read_text())
    of_batch = document["by_batch_size"][0][1]
    smaller = [[*choice, size // 2] for *choice, size in of_batch["client_peak_bytes"]]
    halved = json.dumps(document | {"by_batch_size": [[4, of_batch | {"client_peak_bytes": smaller}]]})
    facts = {key: value for key, value in document.items() if key != "digest"}
    forged = {
        "half of the memory": halved,
        "cut off": entry.read_text()[:-30],
        "empty": "",
        "another version": json.dumps(sealed(facts | {"schema_version": 3})),
        "of another name": json.dumps(sealed(facts | {"key": "0" * 64})),
        "a part missing": json.dumps(sealed({key: facts[key] for key in facts if key != "split"})),
        "no object": "[]",
    }
    for what, text in forged.items():
        entry.write_text(text)
        with pytest.warns(Notice, match="profiled again"):
            again = profile_scenario(scenario)
        pd.testing.assert_frame_equal(again.table, fresh.table)
        assert json.loads(entry.read_text())["digest"] == document["digest"], what
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(entry.stat().st_mode) == 0o600


def test_the_second_profile_traces_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = family_scenario("opt-causal")
    first = profile_scenario(scenario)
    assert len(list(folder.iterdir())) == 1

    def refuse(*_: object) -> None:
        raise AssertionError("traced again")

    monkeypatch.setattr("hybridsplit.profiler.model_profile.profile_model", refuse)
    pd.testing.assert_frame_equal(profile_scenario(scenario).table, first.table)
    more_clients = load_changed(scenario, {"clients.0.count": 5, "radio.uplink_hz": "5 MHz"})
    assert len(profile_scenario(more_clients).clients) == 5


def load_changed(scenario: Scenario, changes: dict[str, object]) -> Scenario:
    document = scenario.resolved()
    for path, value in changes.items():
        *parents, last = path.split(".")
        place = document
        for part in parents:
            place = place[int(part)] if part.isdigit() else place[part]
        place[last] = value
    from hybridsplit.scenarios.loader import validate_scenario

    return validate_scenario(document, "changed")


@pytest.mark.parametrize(
    "changes",
    [
        {"model.config.hidden_size": 32, "model.config.word_embed_proj_dim": 32},
        {"model.dtype": "bfloat16"},
        {"training.batch_size": 4},
        {"training.batch_sizes": [4]},
        {"training.label_holder": "server"},
        {"training.sequence_length": 6},
        {"training.local_steps": 2},
        {"training.modes": ["fo"]},
        {"training.optimizer": {"name": "adamw", "learning_rate": 0.1}},
        {"training.trainable": {"method": "lora", "target_modules": ["q_proj"]}},
        {"training.zeroth_order.directions": 1},
        {"objective.gradient_split": "measured"},
        {"data.num_samples": 128},
        {"seed": 1},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_the_key_changes_with_what_matters(changes: dict[str, object]) -> None:
    scenario = family_scenario("opt-causal")
    assert cache.profile_key(load_changed(scenario, changes), []) != cache.profile_key(scenario, [])


def test_a_stated_noise_scale_is_no_part_of_the_profile_but_that_none_is_measured_is() -> None:
    measured = load_changed(family_scenario("opt-causal", batch_sizes=[4]), {"objective.gradient_split": "measured"})
    keys = [
        cache.profile_key(load_changed(measured, {"objective.gradient_noise_scale": scale}), [])
        for scale in (None, 3.0, 5.0)
    ]
    assert keys[0] != keys[1] == keys[2]


def test_the_key_is_that_of_the_model_not_of_the_clients() -> None:
    scenario = family_scenario("opt-causal")
    same = load_changed(scenario, {"clients.0.count": 9, "server.device": "rpi5_8gb", "description": "other"})
    assert cache.profile_key(same, []) == cache.profile_key(scenario, [])
    assert cache.profile_key(scenario, [CudaMemory()]) != cache.profile_key(scenario, [])


def test_the_key_changes_with_a_file_the_scenario_names(tmp_path: Path) -> None:
    table = tmp_path / "data.tsv"
    table.write_text("sentence\tlabel\na\t0\n")
    (tmp_path / "tokenizer").mkdir()
    text = {"source": "text-table", "path": str(table), "tokenizer": str(tmp_path / "tokenizer")}
    scenario = load_changed(family_scenario("bert"), {"data": text})
    before = cache.profile_key(scenario, [])
    assert before is not None
    os.utime(table, ns=(1, 1))
    assert cache.profile_key(scenario, []) not in (before, None)


def test_a_checkpoint_on_the_hub_is_not_kept() -> None:
    scenario = load_changed(family_scenario("opt-causal"), {"model": {"task": "causal-lm", "checkpoint": "no/where"}})
    assert cache.profile_key(scenario, []) is None


@pytest.mark.parametrize("damage", ["", "{", "[]", "{}", '{"cuts": 3}'])
def test_a_damaged_file_is_profiled_again(folder: Path, damage: str) -> None:
    scenario = family_scenario("resnet")
    first = profile_scenario(scenario)
    (kept,) = folder.iterdir()
    kept.write_text(damage)
    pd.testing.assert_frame_equal(profile_scenario(scenario).table, first.table)
    assert kept.read_text() != damage


def test_a_cache_that_is_off_or_cannot_be_written_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario = family_scenario("resnet")
    monkeypatch.setenv("HYBRIDSPLIT_CACHE", "off")
    assert cache_folder() is None
    expected = profile_scenario(scenario).table
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("HYBRIDSPLIT_CACHE", str(tmp_path / "file"))
    pd.testing.assert_frame_equal(profile_scenario(scenario).table, expected)


def test_a_user_without_a_home_keeps_nothing_and_another_users_home_must_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobodys_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("HYBRIDSPLIT_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nobodys_home)
    assert cache_folder() is None
    monkeypatch.setenv("HYBRIDSPLIT_CACHE", "~nosuchuser/x")
    with pytest.raises(UsageError, match="HYBRIDSPLIT_CACHE=~nosuchuser/x: is no folder"):
        cache_folder()
