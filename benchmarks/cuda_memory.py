"""Predict measured CUDA peaks from this computer's CPU, and print the error.

    python benchmarks/cuda_memory.py [MEASURED.csv] [--warm]

The file holds peaks of the client part of OPT models on one H200 (``torch.cuda.max_memory_allocated``), by cut, batch,
sequence length, mode and dtype. Each mode is carried out here as it was there, on shapes: FO (SGD), FO_mom (momentum),
FO_adam, FO_ck (every layer recomputed), FO_lean (the same with the update inside backward), ZO (two forwards under
perturbation in place). Nothing is fitted to the file.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from transformers import OPTConfig
from transformers.models.opt.modeling_opt import OPTDecoder

from hybridsplit.profiler.cuda_memory import CudaMemory
from hybridsplit.profiler.kernels import CUDA_KERNELS
from hybridsplit.profiler.memory import MemoryTrace
from hybridsplit.profiler.shapes import ShapeMemo, shapes_only

MEASURED = Path(__file__).parents[2] / "shared/data/measured/h200_client_peak_memory.csv"
SHAPES = {
    "opt-125m": {"hidden_size": 768, "ffn_dim": 3072, "num_attention_heads": 12},
    "opt-1.3b": {"hidden_size": 2048, "ffn_dim": 8192, "num_attention_heads": 32},
}
STEPS = 3
LARGE_BYTES = 256 << 20


def decoder(model: str, cut: int, dtype: torch.dtype) -> Any:
    """Embeddings and the first layers of an OPT decoder, without dropout or final norm."""
    shape = SHAPES[model]
    config = OPTConfig(
        **shape, num_hidden_layers=cut, word_embed_proj_dim=shape["hidden_size"], dropout=0.0, attention_dropout=0.0,
        use_cache=False, attn_implementation="sdpa",
    )  # fmt: skip
    torch.set_default_dtype(dtype)
    try:
        part = OPTDecoder(config)
    finally:
        torch.set_default_dtype(torch.float32)
    part.final_layer_norm = None
    return part.train()


def update_inside_backward(parameters: Iterable[nn.Parameter]) -> None:
    """Apply SGD to each parameter as soon as its gradient exists."""

    def step(parameter: Tensor) -> None:
        assert parameter.grad is not None
        parameter.data.add_(parameter.grad, alpha=-1e-5)
        parameter.grad = None

    for parameter in parameters:
        parameter.register_post_accumulate_grad_hook(step)  # type: ignore[no-untyped-call]


def make_step(mode: str, part: Any, ids: Tensor, gradient: Tensor) -> Callable[[], None]:
    """Return one training step of a mode."""
    parameters = list(part.parameters())
    if mode == "ZO":
        return lambda: zeroth_order_step(part, parameters, ids, gradient)
    if mode in ("FO_ck", "FO_lean"):
        part.activation_checkpointing_enable()
    optimizer: torch.optim.Optimizer | None = None
    if mode == "FO_lean":
        update_inside_backward(parameters)
    elif mode == "FO_adam":
        optimizer = torch.optim.Adam(parameters, lr=1e-5, foreach=True)
    else:
        optimizer = torch.optim.SGD(parameters, lr=1e-5, momentum=0.9 if mode == "FO_mom" else 0.0, foreach=True)

    def step() -> None:
        h = part(input_ids=ids, use_cache=False).last_hidden_state
        h.backward(gradient)
        del h
        if optimizer is not None:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    return step


def zeroth_order_step(part: Any, parameters: list[nn.Parameter], ids: Tensor, gradient: Tensor) -> None:
    """Perturb in place, run forward, perturb back, run forward, restore, move."""

    def perturb() -> None:
        for parameter in parameters:
            noise = torch.randn(parameter.shape, dtype=parameter.dtype)
            parameter.data.add_(noise, alpha=1e-3)

    def projected() -> Tensor:
        return (part(input_ids=ids, use_cache=False).last_hidden_state * gradient).sum(dtype=torch.float32)

    with torch.no_grad():
        perturb()
        plus = projected()
        perturb()
        minus = projected()
        perturb()
        del plus, minus
        perturb()


def predicted_bytes(row: Any, memo: ShapeMemo, device: CudaMemory) -> int:
    """Peak of one row of the file."""
    dtype = getattr(torch, row.dtype)
    trace = MemoryTrace(device)
    with torch.device("meta"), shapes_only(CUDA_KERNELS, memo):
        with trace:
            part = decoder(row.model, row.cut, dtype)
            ids = torch.randint(5, 50000, (row.batch, row.seq))
            gradient = torch.randn(row.batch, row.seq, SHAPES[row.model]["hidden_size"], dtype=dtype)
        trace.start_peak_afresh()
        step = make_step(row.mode, part, ids, gradient)
        with trace:
            for _ in range(STEPS):
                step()
    return trace.peak_bytes


def error_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Absolute relative errors in per cent, by mode and dtype and for all."""

    def summary(errors: pd.Series[float]) -> pd.Series[float]:
        size = errors.abs()
        return pd.Series(
            {
                "cases": len(size),
                "median %": size.median(),
                "95th percentile %": np.percentile(size, 95),
                "worst %": size.max(),
                "lowest %": errors.min(),
            }
        )

    groups = {f"{mode} {dtype}": group["error_percent"] for (mode, dtype), group in rows.groupby(["mode", "dtype"])}
    table = pd.DataFrame(
        {name: summary(errors) for name, errors in (groups | {"all": rows["error_percent"]}).items()}
    ).T
    return table.astype({"cases": int})


def main() -> None:
    """Print the table, the shares within 2 %, and the worst cases by name."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("measured", nargs="?", type=Path, default=MEASURED)
    parser.add_argument("--warm", action="store_true", help="the first case is not the first of its process")
    arguments = parser.parse_args()
    path = arguments.measured
    if not path.is_file():
        raise SystemExit(f"{path}: no such file; needs measured CUDA peaks, see the head of this benchmark")
    rows = pd.read_csv(path)
    memo = ShapeMemo()
    rows["predicted_bytes"] = [
        # The first case of a process pays for the cuBLAS workspaces; later ones find them there.
        predicted_bytes(row, memo, CudaMemory(workspaces_exist=position > 0 or arguments.warm))
        for position, row in enumerate(rows.itertuples())
    ]
    rows["error_percent"] = 100 * (rows["predicted_bytes"] / rows["peak_bytes"] - 1)
    print(error_table(rows).round(3).to_string())
    size = rows["error_percent"].abs()
    large = rows[rows["peak_bytes"] > LARGE_BYTES]
    print(f"\nwithin 2 %: {100 * (size <= 2).mean():.1f} % of {len(rows)} cases; to the byte: {(size == 0).mean():.0%}")
    print(f"lowest prediction above 256 MiB: {large['error_percent'].min():+.3f} %")
    worst = rows.loc[size.nlargest(5).index, ["model", "cut", "batch", "seq", "mode", "dtype", "error_percent"]]
    print("\nworst cases\n" + worst.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
