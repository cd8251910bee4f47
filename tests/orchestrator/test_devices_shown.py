"""The catalogue in the terminal, and single figures of it that a scenario states."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner, Result

from hybridsplit.orchestrator.cli import app
from hybridsplit.profiler.options import profile_scenario
from hybridsplit.scenarios.devices import CUDA_SUFFIX, Device, catalogue, find_device
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.loader import load_scenario


def invoked(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "140"})
    assert result.exit_code == code, result.output
    return result


def test_every_device_is_listed_and_shown_with_its_source() -> None:
    text = invoked("devices").stdout
    assert all(name in text for name in catalogue())
    one = invoked("devices", "rpi4b_8gb").stdout
    assert catalogue()["rpi4b_8gb"].source in one
    assert "max_power_w: 7.2" in one


def test_json_is_what_a_scenario_may_hold() -> None:
    document = json.loads(invoked("devices", "--json").stdout)
    assert {key: Device.model_validate_json(json.dumps(value)) for key, value in document.items()} == dict(catalogue())
    assert list(json.loads(invoked("devices", "rpi5_8gb", "--json").stdout)) == ["rpi5_8gb"]


def test_an_unknown_device_names_the_nearest() -> None:
    assert "rpi5_8gb" in invoked("devices", "rpi5_16gb", code=2).output


def test_a_stated_figure_changes_and_all_others_stay() -> None:
    scenario = load_scenario("quickstart", ["devices.rpi5_8gb.price=80"])
    changed, known = find_device("rpi5_8gb", scenario.devices, "d"), catalogue()["rpi5_8gb"]
    assert changed.model_copy(update={"price": None, "source": known.source}) == known
    assert changed.source.endswith("Changed in the scenario: price.")


@pytest.mark.parametrize(
    ("key", "value", "confidence"),
    [("fp32_flops_per_s", "300 GFLOP/s", "derived"), ("max_power_w", "9 W", "calibrated"),
     ("efficiency.matmul", "0.5", "derived")],
)  # fmt: skip
def test_seconds_from_a_changed_figure_are_derived(key: str, value: str, confidence: str) -> None:
    scenario = load_scenario("quickstart", [f"devices.rpi5_8gb.{key}={value}"])
    changed, known = find_device("rpi5_8gb", scenario.devices, "d"), catalogue()["rpi5_8gb"]
    assert str(changed.confidence) == confidence
    assert changed.efficiency is not None
    assert known.efficiency is not None
    assert changed.efficiency.memory == known.efficiency.memory
    assert changed.memory_bytes == known.memory_bytes


def test_a_named_device_takes_the_place_of_the_catalogues() -> None:
    scenario = load_scenario("quickstart", {"devices": {"rpi5_8gb": {"name": "ours", "kind": "sbc"}}})
    assert find_device("rpi5_8gb", scenario.devices, "d").fp32_flops_per_s is None


def test_a_device_like_another_has_its_figures_where_it_states_none() -> None:
    entry = {"like": "rpi5_8gb", "memory_bytes": "1 GiB"}
    scenario = load_scenario("quickstart", {"devices": {"ours": entry, "rpi5_8gb": {"price": 9.0}}})
    ours, known = find_device("ours", scenario.devices, "d"), catalogue()["rpi5_8gb"]
    assert ours.memory_bytes == 2**30
    assert ours.name == f"ours (like {known.name})"
    assert str(ours.confidence) == "derived"
    assert ours.source.endswith("Changed in the scenario: memory_bytes.")
    same = {"name": known.name, "memory_bytes": known.memory_bytes, "source": known.source}
    assert ours.model_copy(update={**same, "confidence": known.confidence}) == known
    again = load_scenario("quickstart", {"devices": scenario.resolved()["devices"]})
    assert again.content_hash() == scenario.content_hash()


def test_a_device_like_another_without_figures_of_its_own_is_as_sure_as_that() -> None:
    scenario = load_scenario("quickstart", {"devices": {"ours": {"like": "rpi5_8gb"}}})
    ours, known = find_device("ours", scenario.devices, "d"), catalogue()["rpi5_8gb"]
    assert ours.model_copy(update={"name": known.name}) == known


def test_a_device_like_an_unknown_one_is_refused_by_the_nearest() -> None:
    with pytest.raises(ScenarioError, match=r"quickstart.*devices\.ours\.like: unknown device 'rpi5'.*rpi5_8gb"):
        load_scenario("quickstart", {"devices": {"ours": {"like": "rpi5"}}})
    with pytest.raises(ScenarioError, match=r"devices\.ours\.like: "):
        load_scenario("quickstart", {"devices": {"ours": {"like": 5, "name": "ours", "kind": "sbc"}}})


def test_a_wrong_figure_is_named_by_its_key() -> None:
    with pytest.raises(ScenarioError, match=r"devices\.rpi5_8gb\.memry_bytes: unknown key"):
        load_scenario("quickstart", ["devices.rpi5_8gb.memry_bytes=8 GB"])
    with pytest.raises(ScenarioError, match=r"devices\.rpi6\.name: this key is needed"):
        load_scenario("quickstart", ["devices.rpi6.price=8"])


def test_a_resolved_scenario_loads_to_itself() -> None:
    scenario = load_scenario("quickstart", ["devices.rpi5_8gb.max_power_w=9 W"])
    again = load_scenario("quickstart", {"devices": scenario.resolved()["devices"]})
    assert again.content_hash() == scenario.content_hash()


def test_devices_with_the_memory_of_cuda_have_all_other_figures_of_their_kind() -> None:
    found = {name.removesuffix(CUDA_SUFFIX): device for name, device in catalogue().items() if device.cuda is not None}
    assert {name for name, one in catalogue().items() if one.kind == "jetson" and one.cuda is None} <= set(found)
    for name, device in found.items():
        same = device.model_copy(update={"cuda": None, "name": catalogue()[name].name})
        assert same == catalogue()[name]
        assert device.cuda is not None
        # PyTorch's default is 4,096 KiB twice, and 16 of 8 KiB.
        assert device.cuda.cublas_workspace_bytes == (2 * 4096 + 16 * 8) * 1024


def test_their_peaks_have_the_workspace_of_cublas_in_them() -> None:
    budget = "clients.nano.memory_budget_bytes=64 MiB"
    plain, cuda = (
        profile_scenario(load_scenario("quickstart", [budget, f"clients.nano.device=jetson_nano_4gb{suffix}"])).table
        for suffix in ("", CUDA_SUFFIX)
    )
    key = ["client", "cut", "mode", "recompute"]
    both = plain.merge(cuda, on=key, suffixes=("", "_cuda"))
    more = both["client_peak_bytes_cuda"] - both["client_peak_bytes"]
    is_nano = both["client"] == "nano-0"
    assert (more[~is_nano] == 0).all()
    # The whole network on the device ends in a matrix product.
    assert (more[is_nano & (both["cut"] == both["cut"].max())] >= 8_519_680).all()
    assert (more[is_nano] > 0).all()
