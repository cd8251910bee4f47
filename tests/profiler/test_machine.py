"""The machine at hand: what is measured, how it is kept, and that scenarios can use it."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import numpy as np
import pytest

from hybridsplit.profiler.compute import block_costs
from hybridsplit.profiler.machine import THIS_MACHINE, machine_key, machine_profile, measure_machine, this_machine
from hybridsplit.profiler.machine.blocks import PASSES, block_kinds
from hybridsplit.profiler.machine.profile import MachineProfile
from hybridsplit.profiler.machine.timing import timed
from hybridsplit.profiler.models import traced_model
from hybridsplit.profiler.options import profile_scenario
from hybridsplit.scenarios.cache_folder import CACHE_VARIABLE, cache_folder
from hybridsplit.scenarios.devices import Confidence
from hybridsplit.scenarios.errors import Notice, ProfileError, ScenarioError
from hybridsplit.scenarios.loader import builtin_text, load_scenario
from hybridsplit.testing.families import family_scenario


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[MachineProfile, Path]:
    return machine_profile(family_scenario("resnet"), tmp_path_factory.mktemp("cache"))


def test_timing_warms_up_repeats_and_prepares() -> None:
    calls: list[str] = []
    found = timed(lambda: calls.append("work"), lambda: calls.append("prepare"))
    assert found.repeats >= 5
    assert calls == ["prepare", "work"] * (found.repeats + 2)
    ticks = iter(range(1000))
    steady = timed(lambda: None, clock=lambda: float(next(ticks)))
    assert (steady.median_s, steady.spread_s) == (1.0, 0.0)


def test_blocks_of_the_scenario_are_measured_and_become_a_device(kept: tuple[MachineProfile, Path]) -> None:
    profile, _ = kept
    assert profile.device.confidence is Confidence.MEASURED
    assert profile.machine == this_machine()
    assert {"forward", "backward", "update", "perturbed_forward", "descend"} <= {one.kind for one in profile.blocks}
    assert all(one.time.median_s > 0 and one.predicted_s > 0 and one.time.repeats >= 5 for one in profile.blocks)


@pytest.mark.quiet
def test_the_fit_is_of_the_right_size(kept: tuple[MachineProfile, Path]) -> None:
    assert np.median(np.abs(kept[0].block_errors())) < 1.0


def test_measured_seconds_of_every_block(kept: tuple[MachineProfile, Path]) -> None:
    profile, _ = kept
    scenario = family_scenario("resnet")
    costs, kinds = block_costs(traced_model(scenario), scenario), block_kinds(scenario)
    found = profile.block_seconds(costs, kinds)
    assert len(found.forward) == len(costs)
    assert (found.forward > 0).all()
    assert found.exact_backward_s(0, len(costs), wants_input=False) > 0
    forward = {one.name: one.time.median_s for one in profile.blocks if one.kind == "forward"}
    assert set(found.forward) == set(forward.values())
    missing = profile.model_copy(update={"blocks": profile.blocks[:1]})
    with pytest.raises(ProfileError, match="was not timed"):
        missing.block_seconds(costs, kinds)
    assert set(PASSES) <= set(vars(found))


def test_a_kept_profile_is_read_and_a_damaged_one_is_not(
    kept: tuple[MachineProfile, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    profile, device_path = kept
    folder, scenario = device_path.parent, family_scenario("resnet")
    assert machine_profile(scenario, folder) == (profile, device_path)
    path = next(folder.glob("machine-*.json"))
    written = json.loads(path.read_text())
    written["scenario"] = "another"
    for damage in ("{", json.dumps(written)):
        path.write_text(damage)
        monkeypatch.setattr("hybridsplit.profiler.machine.cache.measure_machine", lambda *_: profile)
        with pytest.warns(Notice, match=r"machine-.*measured again"):
            assert machine_profile(scenario, folder)[0] == profile
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_the_key_changes_with_all_that_matters() -> None:
    machine, scenario = this_machine(), family_scenario("resnet")
    key = machine_key(machine, scenario)
    others = [machine.model_copy(update={name: "x"}) for name in ("cpu", "torch_version", "transformers_version")]
    others.append(machine.model_copy(update={"threads": machine.threads + 1}))
    assert len({key, *(machine_key(other, scenario) for other in others)}) == 5
    assert machine_key(machine, family_scenario("vit")) != key
    assert machine_key(machine, scenario) == key


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(CACHE_VARIABLE, raising=False)
    assert cache_folder() == tmp_path / "hybridsplit"
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.setenv(CACHE_VARIABLE, "off")
    assert cache_folder() is None


def test_a_scenario_uses_the_device_file(kept: tuple[MachineProfile, Path], tmp_path: Path) -> None:
    profile, device_path = kept
    (tmp_path / "here.yaml").write_text(device_path.read_text())
    mine = tmp_path / "mine.yaml"
    mine.write_text(builtin_text("quickstart") + "\ndevice_files: [here.yaml]\n")
    scenario = load_scenario(str(mine), [f"clients.pi4.device={THIS_MACHINE}"])
    assert scenario.devices[THIS_MACHINE] == profile.device
    assert scenario.device_files == ()
    table = profile_scenario(scenario).table
    assert set(table[table["device"] == THIS_MACHINE]["confidence"]) == {"measured"}


@pytest.mark.parametrize(
    ("text", "needle"),
    [
        (None, "no such file"),
        ("[", "stream end"),
        ("devices: []", "no mapping 'devices'"),
        ("schema_version: 2\ndevices: {}", "schema_version 2"),
        ("schema_version: 1\ndevices: {d: {name: d, kind: k, memory_bytes: 1 parsec}}", "devices.d.memory_bytes"),
        ("schema_version: 1\ndevices: {d: {name: d, kind: k}}", "described before"),
    ],
)
def test_a_wrong_device_file_is_named_with_its_key(text: str | None, needle: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "f.yaml").write_text(text)
    mine = tmp_path / "mine.yaml"
    mine.write_text(builtin_text("quickstart") + "\ndevice_files: [f.yaml]\ndevices: {d: {name: d, kind: k}}\n")
    with pytest.raises(ScenarioError, match=r"device_files\.0") as caught:
        load_scenario(str(mine))
    assert needle in str(caught.value)


def test_text_models_are_measured_too() -> None:
    profile = measure_machine(family_scenario("opt-causal"))
    assert {one.name.split()[1] for one in profile.blocks} >= {"OptEmbedding", "OptLayer", "OptHead"}
