"""A client's memory by the allocator's counters, which here are those of an allocator that stands in for CUDA's.

It counts what all of the process has allocated, in blocks of 512 bytes, with workspaces that operators take while they
run or keep: what a GPU would report, where no GPU is.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from hybridsplit.runtime.session import client as session
from hybridsplit.runtime.session.client import run_client_round
from hybridsplit.runtime.split.allocated_bytes import AllocatedBytes, meter_of
from hybridsplit.runtime.split.live_bytes import LiveBytes
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.contracts.placement import Placement
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.testing.families import family_batch, family_model, family_scenario

WORKSPACE = 1 << 26
PRODUCTS = {torch.ops.aten.mm.default, torch.ops.aten.addmm.default}


class Blocks(LiveBytes):  # type: ignore[no-untyped-call]
    """Live bytes in whole blocks: what a client takes where operators take nothing."""

    def _born(self, key: int, size_bytes: int) -> Any:
        return super()._born(key, -(-size_bytes // 512) * 512)


class StandIn(Blocks):  # type: ignore[no-untyped-call]
    """The counters of a whole process; products take a workspace for as long as they run, or the first keeps it."""

    def __init__(self, workspace_bytes: int = 0, *, keeps: bool = False) -> None:
        super().__init__()
        self.workspace_bytes, self.keeps, self.kept_bytes, self.most_bytes = workspace_bytes, keeps, 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = super().__torch_dispatch__(func, types, args, kwargs)
        taken = self.workspace_bytes * (func in PRODUCTS and not self.kept_bytes)
        if self.keeps and taken:
            self.kept_bytes, taken = taken, 0
        self.most_bytes = max(self.most_bytes, self.allocated() + taken)
        return result

    def _born(self, key: int, size_bytes: int) -> Any:
        block = super()._born(key, size_bytes)
        self.most_bytes = max(self.most_bytes, self.allocated())
        return block

    def allocated(self, device: Any = None) -> int:
        return self.live_bytes + self.kept_bytes

    def reset(self, device: Any = None) -> None:
        self.most_bytes = self.allocated()

    def serve(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "memory_allocated", self.allocated)
        monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: self.most_bytes)
        monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", self.reset)
        monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)


def peak_by(meter: LiveBytes, monkeypatch: pytest.MonkeyPatch, mode: str, family: str = "bert", cut: int = 2) -> int:
    """Measured peak of a round of two steps."""
    scenario = family_scenario(family, local_steps=2, optimizer={"name": "adamw", "learning_rate": 0.01})
    monkeypatch.setattr(session, "meter_of", lambda *about: meter)
    placement = Placement(cut=cut, mode=mode, batch_size=scenario.training.batch_size)
    model = family_model(scenario)
    report = run_client_round(
        model, model.whole.snapshot(), Assignment("pi-0", placement, 1.0, 1 << 40),
        lambda step: family_batch(scenario, padded=False, seed=step), scenario, 0, measure_memory=True,
    ).report  # fmt: skip
    assert report.peak_bytes is not None
    return report.peak_bytes


@pytest.mark.parametrize("mode", ["fo", "fo-recompute", "zo-projection", "zo-loss", "frozen"])
def test_without_workspaces_it_is_live_tensors_in_whole_blocks(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the server part allocates beside the client, and keeps."""
    expected = peak_by(Blocks(), monkeypatch, mode)
    counters = StandIn()
    counters.serve(monkeypatch)
    with counters:
        assert peak_by(AllocatedBytes(torch.device("cpu")), monkeypatch, mode) == expected


@pytest.mark.parametrize("keeps", [False, True])
def test_workspaces_of_the_client_count(keeps: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = peak_by(Blocks(), monkeypatch, "fo")
    counters = StandIn(WORKSPACE, keeps=keeps)
    counters.serve(monkeypatch)
    with counters:
        found = peak_by(AllocatedBytes(torch.device("cpu")), monkeypatch, "fo")
    if keeps:
        assert found == expected + WORKSPACE, "also after the server's work, which finds it there"
    else:
        assert WORKSPACE < found <= expected + WORKSPACE


@pytest.mark.parametrize("keeps", [False, True])
def test_workspaces_of_the_server_do_not(keeps: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client of convolutions takes none; the head, on the server, is a product."""
    expected = peak_by(Blocks(), monkeypatch, "fo", "resnet", 1)
    counters = StandIn(WORKSPACE, keeps=keeps)
    counters.serve(monkeypatch)
    with counters:
        assert peak_by(AllocatedBytes(torch.device("cpu")), monkeypatch, "fo", "resnet", 1) == expected
    assert counters.peak_bytes > 0


def test_what_is_counted_is_what_is_planned() -> None:
    """By the allocator for a device that states what CUDA takes, by tensors for all others, and on a CPU."""
    gpu = torch.device("cuda", 0)
    plain = load_scenario("quickstart")
    with_cuda = load_scenario("quickstart", ["clients.orin.device=jetson_orin_nano_8gb_cuda"])
    assert type(meter_of(torch.device("cpu"), with_cuda, "orin-0")) is LiveBytes
    assert type(meter_of(gpu, with_cuda, "orin-0")) is AllocatedBytes
    assert type(meter_of(gpu, with_cuda, "pi5-0")) is LiveBytes
    assert type(meter_of(gpu, plain, "orin-0")) is LiveBytes
