"""What CUDA adds to live tensors, against measured peaks and the kernels' own rules."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from hybridsplit.profiler.cuda_memory import CudaMemory
from hybridsplit.profiler.kernels import CPU_KERNELS, CUDA_KERNELS, cpu_attention, cuda_attention
from hybridsplit.profiler.memory import MemoryTrace, client_memory
from hybridsplit.profiler.memory.cuda import column_sum_workspace_bytes
from hybridsplit.profiler.models import traced_model
from hybridsplit.profiler.shapes import ShapeMemo, shapes_only
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.modes import MODES
from hybridsplit.testing.families import family_scenario

ROOT = Path(__file__).resolve().parents[3]
MEASURED = ROOT.parent / "shared/data/measured/h200_client_peak_memory.csv"
MIB = 1 << 20


@pytest.mark.parametrize(("columns", "expected"), [(3072, 96 * MIB), (8192, 132 * MIB)])
def test_bias_gradients_of_4096_tokens_take_what_was_measured_on_an_h200(columns: int, expected: int) -> None:
    """Found as the difference between measured peaks and all tensors, of two model widths."""
    assert column_sum_workspace_bytes(4096, columns, CudaMemory()) == expected


def test_short_columns_are_summed_without_workspace() -> None:
    assert column_sum_workspace_bytes(128, 768, CudaMemory()) == 0


def test_a_device_with_fewer_multiprocessors_divides_columns_less() -> None:
    small = CudaMemory(multiprocessors=8)
    assert 0 < column_sum_workspace_bytes(16384, 768, small) < column_sum_workspace_bytes(16384, 768, CudaMemory())


@pytest.mark.skipif(not MEASURED.is_file(), reason="the measured CUDA peaks of shared/data are absent")
def test_measured_peaks_of_every_mode_are_predicted_within_two_per_cent() -> None:
    """A few rows of each mode and dtype; ``benchmarks/cuda_memory.py`` prints all."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        from cuda_memory import predicted_bytes
    finally:
        sys.path.pop(0)
    rows = pd.read_csv(MEASURED).iloc[1:].groupby(["mode", "dtype"]).sample(2, random_state=7)
    memo, warm = ShapeMemo(), CudaMemory(workspaces_exist=True)
    errors = [predicted_bytes(row, memo, warm) / row.peak_bytes - 1 for row in rows.itertuples()]
    assert max(map(abs, errors)) < 0.02
    assert sorted(map(abs, errors))[len(errors) // 2] < 0.005


def test_workspaces_come_once_a_thread() -> None:
    device = CudaMemory(cublas_workspace_bytes=5 * MIB)
    with torch.device("meta"), shapes_only(CUDA_KERNELS), MemoryTrace(device) as trace:
        layer = nn.Linear(64, 64)
        for _ in range(3):
            layer(torch.empty(8, 64)).sum().backward()
    assert trace.breakdown().workspace == 10 * MIB


def test_attention_on_cuda_keeps_what_its_kernels_keep() -> None:
    """Output and log-sum-exp per query, whatever the mask; keys and values are repeated for the efficient kernel."""
    with shapes_only(CUDA_KERNELS):
        q, k = torch.empty(2, 8, 96, 32, device="meta"), torch.empty(2, 2, 96, 32, device="meta")
        assert cuda_attention(q, k, k, is_causal=True, enable_gqa=True).shape == q.shape
        mask = torch.empty(2, 1, 96, 96, dtype=torch.bool, device="meta")
        assert cuda_attention(q, k, k, mask).shape == q.shape
        half = q.to(torch.bfloat16)
        assert cuda_attention(half, half, half).dtype == torch.bfloat16
        odd = torch.empty(2, 8, 96, 30, dtype=torch.bfloat16, device="meta")
        assert cuda_attention(odd, odd, odd).shape == odd.shape


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("masked", [False, True])
def test_attention_on_the_cpu_has_the_shapes_of_the_real_one(groups: int, masked: bool) -> None:
    q, k = torch.randn(2, 8, 12, 16), torch.randn(2, 8 // groups, 12, 16)
    mask = torch.ones(2, 1, 12, 12, dtype=torch.bool) if masked else None
    real = nn.functional.scaled_dot_product_attention(q, k, k, mask, enable_gqa=groups > 1)
    with shapes_only(CPU_KERNELS):
        meta = [None if t is None else t.to("meta") for t in (q, k, mask)]
        shape = cpu_attention(meta[0], meta[1], meta[1], meta[2], enable_gqa=groups > 1)
    assert shape.shape == real.shape


def test_a_cuda_client_needs_at_least_its_live_tensors_and_says_what_for() -> None:
    adamw = {"name": "adamw", "learning_rate": 0.01}
    scenario = family_scenario("opt-causal", modes=list(Mode), optimizer=adamw, local_steps=2)
    traced = traced_model(scenario)
    for mode in Mode:
        live = client_memory(traced, scenario, 3, mode)
        cuda = client_memory(traced, scenario, 3, mode, cuda=CudaMemory(cublas_workspace_bytes=MIB))
        assert cuda.workspace >= MIB
        assert cuda.peak_bytes - cuda.workspace >= 0.99 * live.peak_bytes
        assert live.workspace == 0
        assert (live.optimizer_state > 0) == MODES[mode].uploads_weights, mode
