"""Runs on other devices than the CPU: the second device stands in for one, and what is said where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import hybridsplit as hs
from hybridsplit.orchestrator.cli import app
from hybridsplit.orchestrator.pipeline import RunSettings
from hybridsplit.orchestrator.relays.running import relay_executor
from hybridsplit.runtime.executors.ray_places import gpu_share
from hybridsplit.runtime.split.compute import COMPUTE_DEVICES
from hybridsplit.scenarios.errors import ExitCode, RunError, UsageError

CASES = sorted(Path(__file__).parent.glob("*_cases.py"))


@pytest.mark.parametrize("tier", ["not slow", pytest.param("slow", marks=pytest.mark.slow)])
def test_a_second_device_gives_the_bits_of_the_cpu(tier: str) -> None:
    """In a process of its own: autograd knows no device that is registered after its first backward pass."""
    asked = ["-q", "--override-ini", "addopts=", "-p", "no:cacheprovider", "--tb=short", "-m", tier, *map(str, CASES)]
    done = subprocess.run([sys.executable, "-m", "pytest", *asked], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-6000:]
    assert len(CASES) >= 2


@given(st.integers(1, 300), st.integers(1, 16))
def test_all_processes_find_a_place_on_the_gpus(num_processes: int, num_gpus: int) -> None:
    share = gpu_share(num_processes, num_gpus)
    assert 0 < share <= 1
    assert int(round(1 / share, 6)) * num_gpus >= num_processes


def test_kernels_are_deterministic_on_a_gpu_and_as_they_were_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    for devices in (COMPUTE_DEVICES["cuda"], COMPUTE_DEVICES["server-cuda"]):
        with devices.ready():
            assert torch.are_deterministic_algorithms_enabled()
            assert not torch.backends.cudnn.allow_tf32
            assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
        assert not torch.are_deterministic_algorithms_enabled()
    with COMPUTE_DEVICES["cpu"].ready():
        assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "memory ran out.*fewer --workers"),
        (RuntimeError("x_cuda does not have a deterministic implementation"), "does not repeat.*--torch-device cpu"),
    ],
)
def test_what_a_gpu_cannot_do_is_said_with_what_to_do(error: Exception, said: str) -> None:
    with pytest.raises(RunError, match=said), COMPUTE_DEVICES["cuda"].computing():
        raise error


def test_other_errors_stay_what_they_are() -> None:
    for name in COMPUTE_DEVICES:
        with pytest.raises(RuntimeError, match="shapes"), COMPUTE_DEVICES[name].computing():
            raise RuntimeError("shapes do not fit")


@pytest.mark.skipif(torch.cuda.is_available(), reason="is about machines without a GPU")
@pytest.mark.parametrize("executor", ["inline", pytest.param("ray", marks=[pytest.mark.slow, pytest.mark.ray])])
@pytest.mark.parametrize("device", ["cuda", "server-cuda"])
def test_without_a_gpu_the_command_says_so(executor: str, device: str, tmp_path: Path) -> None:
    asked = ["run", "quickstart", "--strategy", "greedy", "--rounds", "1", "--executor", executor, "--workers", "1"]
    result = CliRunner().invoke(app, [*asked, "--torch-device", device, "--out", str(tmp_path / "run")])
    assert result.exit_code == ExitCode.FAILED
    assert f"--torch-device {device}: " in result.output
    assert "--torch-device cpu" in result.output.replace("\n", " ")


def test_relays_are_computed_on_the_cpu() -> None:
    with pytest.raises(UsageError, match=r"--torch-device cuda: a model that is cut several times"):
        relay_executor(cast("Any", None), RunSettings("inline", torch_device="cuda"))


def test_an_unknown_device_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="torch_device: found 'tpu'; needs one of cpu, cuda, server-cuda"):
        hs.run("quickstart", torch_device="tpu")
