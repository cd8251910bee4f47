"""What has to hold of machines: each difference is found, by its place, with what to do."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hybridsplit.orchestrator.cli import app
from hybridsplit.orchestrator.doctor.checks import Node, checks_here, checks_of_cluster, checks_of_node, named_files
from hybridsplit.orchestrator.doctor.machine import Machine, look_at_this_machine
from hybridsplit.orchestrator.views.doctor import verdict
from hybridsplit.scenarios.loader import load_scenario, validate_scenario
from hybridsplit.scenarios.relays.loading import validate_relays
from tests.solver.relays.tasks import relay_scenario


def machine(**changes: Any) -> Machine:
    found: dict[str, Any] = {**look_at_this_machine(()), "host": "box", "token": "private"}
    return Machine(**(found | changes))  # type: ignore[typeddict-item]


def wrong(checks: Any) -> dict[str, str]:
    return {check.what: check.found for check in checks if not check.is_right}


def test_a_machine_like_this_one_is_ready() -> None:
    assert wrong(checks_of_node(Node("box", machine(), {}), machine(), {})) == {}


@pytest.mark.parametrize("package", ["ray", "torch", "hybridsplit"])
def test_other_versions_are_named(package: str) -> None:
    here = machine()
    there = machine(packages={**here["packages"], package: "0.0.1"})
    checks = list(checks_of_node(Node("box", there, {}), here, {}))
    assert wrong(checks) == {package: "0.0.1"}
    assert f"box: {package}: pip install {package}=={here['packages'][package]}" in "\n".join(verdict(checks))


def test_other_pythons_open_tokens_and_silence_are_named() -> None:
    here = machine()
    assert wrong(checks_of_node(Node("box", machine(python="3.10.1", token="open"), {}), here, {})) == {
        "Python": "3.10.1",
        "Ray's token": "readable for other users",
    }
    silent = Node("box", None, {}, trouble="it ran out of memory")
    assert wrong(checks_of_node(silent, here, {})) == {"answer": "it ran out of memory"}
    assert wrong(checks_here(machine(python="3.9.0"), {})) == {"Python": "3.9.0"}


def test_files_are_compared_by_what_they_hold(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    paths = (str(folder), str(tmp_path / "absent"))
    before = look_at_this_machine(paths)["files"]
    (folder / "config.json").write_text("[]")
    after = look_at_this_machine(paths)["files"]
    assert before[paths[0]] != after[paths[0]]
    assert before[paths[1]] == after[paths[1]] == ""
    named = {"model.checkpoint": paths[0], "data.path": paths[1]}
    there = Node("box", machine(files=after), {})
    assert wrong(checks_of_node(there, machine(files=before), named)) == {
        "model.checkpoint": "another one",
        "data.path": "absent",
    }
    assert wrong(checks_here(machine(files=before), named)) == {"data.path": f"no {paths[1]}"}


def test_names_on_the_hub_are_no_files(tmp_path: Path) -> None:
    document = load_scenario("quickstart").resolved()
    document["model"] |= {"checkpoint": "someone/model", "config": None}
    assert "model.checkpoint" not in named_files(validate_scenario(document, "test"))
    document["model"]["checkpoint"] = str(tmp_path)
    assert named_files(validate_scenario(document, "test"))["model.checkpoint"] == str(tmp_path)


def test_what_the_scenario_wants_of_the_cluster_has_to_be_there() -> None:
    document = load_scenario("quickstart").resolved()
    document["clients"][0]["ray_resource"] = "pi4"
    scenario = validate_scenario(document, "test")
    devices = [Node("pi", machine(), {"pi4": 1.0}), Node("head", machine(), {"CPU": 2.0})]
    assert wrong(checks_of_cluster(devices, scenario)) == {}
    assert wrong(checks_of_cluster(devices[:1], scenario)) == {"cores": "0 on 1 machine"}
    assert wrong(checks_of_cluster(devices[1:], scenario)) == {"resource pi4": "0"}
    for group in document["clients"]:
        group["ray_resource"] = "pi4"
    assert wrong(checks_of_cluster(devices[:1], validate_scenario(document, "test"))) == {}


def test_machines_of_a_network_have_to_be_there_with_all_replicas() -> None:
    document = relay_scenario((1, 1)).resolved()
    for node in document["network"]["nodes"]:
        node["ray_resource"] = "aps" if node["node"].startswith("ap") else node["node"]
    for group in document["clients"]:
        group["ray_resource"] = "phone"
    document["training"]["partial_sums"] = 2
    document["network"]["nodes"][-1] |= {"replicas": 2, "replica_bps": 1e9}
    scenario = validate_relays(document, "test")
    offered = {"phone": 1.0, "aps": 2.0, "edge": 1.0, "cloud": 2.0}
    assert wrong(checks_of_cluster([Node("all", machine(), offered)], scenario)) == {}
    for name in offered:
        less = offered | {name: offered[name] - 1}
        missing = wrong(checks_of_cluster([Node("all", machine(), less)], scenario))
        assert missing == {f"resource {name}": f"{offered[name] - 1:g}"}
    document["network"]["nodes"][0]["ray_resource"] = None
    emulated = validate_relays(document, "test")
    assert wrong(checks_of_cluster([Node("all", machine(), offered)], emulated)) == {"cores": "0 on 1 machine"}


def test_the_token_is_looked_at_where_ray_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    token = tmp_path / "token"
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    assert look_at_this_machine(())["token"] == "absent"
    for mode, found in ((0o600, "private"), (0o644, "open")):
        token.touch()
        os.chmod(token, mode)  # noqa: PTH101
        assert look_at_this_machine(())["token"] == found


def test_the_command_says_what_it_found() -> None:
    done = CliRunner().invoke(app, ["doctor", "quickstart", "--json"])
    document = json.loads(done.stdout)
    assert done.exit_code == (0 if document["ready"] else 4)
    assert {"Python", "ray", "torch", "Ray's token"} <= {check["what"] for check in document["checks"]}
    table = CliRunner().invoke(app, ["doctor"], env={"COLUMNS": "200"})
    assert "Ready for a run?" in table.stdout
    assert table.exit_code == done.exit_code
