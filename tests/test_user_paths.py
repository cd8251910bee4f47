"""Ways of users through the product that no page of the docs walks: forty boards to a plan report, a project on Ray.

The tutorial goes from an own network and a folder of images to a LaTeX table (``test_own_page.py``); the commands of a
cluster are run with two raylets in ``tests/orchestrator/doctor/test_two_machines.py``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from typer.testing import CliRunner

from hybridsplit.orchestrator.cli import app

BOARDS = ("rpi4b_8gb", "rpi5_8gb", "jetson_nano_4gb", "jetson_orin_nano_8gb")
NETWORK = """
from torch import nn
from torch.utils.data import TensorDataset
import torch

def network():
    hidden = [nn.Sequential(nn.Linear(24, 24), nn.Tanh()) for _ in range(3)]
    return nn.Sequential(nn.Linear(12, 24), *hidden, nn.Linear(24, 3))

def samples():
    drawn = torch.Generator().manual_seed(5)
    values = torch.randn(480, 12, generator=drawn)
    labels = values[:, :3].argmax(dim=1)
    return TensorDataset(values[:360], labels[:360]), TensorDataset(values[360:], labels[360:])
"""
PROJECT = """
import hybridsplit as hs

boards = hs.load({
    "name": "project", "model": {"task": "classification", "python": "project.py:network"},
    "data": {"python": "project.py:samples"},
    "training": {"optimizer": {"name": "adamw", "learning_rate": 0.01}, "batch_size": 16, "local_steps": 8},
    "server": {"device": "edge_rtx_a2000_6gb"},
    "radio": {"link_model": "fixed", "uplink_hz": "20 MHz", "downlink_hz": "20 MHz"},
    "clients": [{"group": "pi", "device": "rpi5_8gb", "count": 3, "memory_budget_bytes": "1 MiB",
                 "link": {"uplink_bps_per_hz": 2, "downlink_bps_per_hz": 4}}],
})
seen = []
plan = hs.plan(boards)
run = hs.run(plan, rounds=3, executor="ray", out="trained", on_round=lambda done: seen.append(done.test_accuracy))
assert seen == list(run.rounds["test_accuracy"]) and run.accuracy > 0.6, seen
"""


def test_forty_unlike_boards_come_to_a_plan_report(tmp_path: Path) -> None:
    """Boards with budgets and links of their own, single figures of a device overridden, all of them priced."""
    clients = [
        {
            "group": f"board-{n:02d}", "device": BOARDS[n % 4], "memory_budget_bytes": f"{400 + 40 * (n % 9)} KiB",
            "link": {"uplink_bps_per_hz": 2.0 + 0.05 * n, "downlink_bps_per_hz": 4.0 + 0.05 * n},
        }
        for n in range(40)
    ]  # fmt: skip
    document = {
        "name": "boards",
        "model": {
            "task": "image-classification",
            "config": {
                "model_type": "resnet", "num_channels": 1, "num_labels": 10, "embedding_size": 8,
                "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic",
            },
        },
        "data": {"source": "digits", "image_size": 16, "partition": {"scheme": "iid"}},
        "training": {"optimizer": {"name": "sgd", "learning_rate": 0.1}, "batch_size": 8, "rounds": 2},
        "server": {"device": "edge_rtx_a2000_6gb"},
        "radio": {"link_model": "fixed", "uplink_hz": "80 MHz", "downlink_hz": "80 MHz"},
        "clients": clients,
        "devices": {name: {"price": 60.0 + 20 * n} for n, name in enumerate(BOARDS)},
    }  # fmt: skip
    (tmp_path / "boards.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    page, plan = tmp_path / "boards.html", tmp_path / "plan.json"
    asked = ["plan", str(tmp_path / "boards.yaml"), "--report", str(page), "--out", str(plan)]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    text = page.read_text(encoding="utf-8")
    names = [client["id"] for client in json.loads(plan.read_text(encoding="utf-8"))["clients"]]
    assert len(names) == 40
    assert all(name in text for name in names)
    assert "3,600" in text, "the price of all boards"
    assert "What to buy first" in text


@pytest.mark.ray
@pytest.mark.slow
def test_a_project_of_pytorch_trains_on_ray_and_its_weights_go_home(tmp_path: Path) -> None:
    """Twenty lines of Python; what is exported loads into the module as it stands."""
    assert len(PROJECT.strip().splitlines()) <= 20
    (tmp_path / "project.py").write_text(NETWORK, encoding="utf-8")
    (tmp_path / "train.py").write_text(PROJECT, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "train.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    exported = CliRunner().invoke(app, ["export", str(tmp_path / "trained"), "--to", str(tmp_path / "weights")])
    assert exported.exit_code == 0, exported.output
    names: dict[str, object] = {}
    exec(compile(NETWORK, "project.py", "exec"), names)
    module, (_, test) = names["network"](), names["samples"]()  # type: ignore[operator]
    from safetensors.torch import load_file

    module.load_state_dict(load_file(next((tmp_path / "weights").glob("*.safetensors"))))
    values, labels = test.tensors
    summary = json.loads((tmp_path / "trained" / "summary.json").read_text(encoding="utf-8"))
    with torch.no_grad():
        assert float((module(values).argmax(1) == labels).float().mean()) == pytest.approx(
            summary["test_accuracy"], abs=1e-6
        )
