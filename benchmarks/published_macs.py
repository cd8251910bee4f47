"""Forward multiply-adds and parameters as counted here against published ones, and against OPT's closed form.

    python benchmarks/published_macs.py [FOLDER OF torchvision_params_gmacs.csv AND opt_configs.csv]

The published figures are torchvision's metadata (it calls multiply-adds FLOPS). Every architecture of its list that
transformers builds is compared; where transformers' model differs from torchvision's of the same name, how stands
beside the row.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as tf
from architectures import Build, convnext, efficientnet, mobilenet_v2, regnet, resnet, step_cost, swin, vit
from torch import nn

from hybridsplit.profiler.kernels import CPU_KERNELS
from hybridsplit.profiler.operators import OperatorCounter
from hybridsplit.profiler.shapes import shapes_only

ARCHITECTURES: dict[str, Build] = {
    "resnet18": resnet("basic", [2, 2, 2, 2]),
    "resnet34": resnet("basic", [3, 4, 6, 3]),
    "resnet50": resnet("bottleneck", [3, 4, 6, 3]),
    "resnet152": resnet("bottleneck", [3, 8, 36, 3]),
    "vit_b_16": vit(768, 12, 12),
    "vit_b_32": vit(768, 12, 12, patch=32),
    "vit_l_16": vit(1024, 24, 16),
    "convnext_tiny": convnext([96, 192, 384, 768], [3, 3, 9, 3]),
    "convnext_large": convnext([192, 384, 768, 1536], [3, 3, 27, 3]),
    "mobilenet_v2": mobilenet_v2(1.0),
    "efficientnet_b1": efficientnet(1.0, 1.1, 240, (16,)),
    "efficientnet_b3": efficientnet(1.2, 1.4, 300, (5, 18)),
    "efficientnet_b5": efficientnet(1.6, 2.2, 456, (13, 27)),
    "efficientnet_b7": efficientnet(2.0, 3.1, 600, (18,)),
    "regnet_x_400mf": regnet("x", [1, 2, 7, 12], [32, 64, 160, 400], 16),
    "regnet_x_8gf": regnet("x", [2, 5, 15, 1], [80, 240, 720, 1920], 120),
    "regnet_x_16gf": regnet("x", [2, 6, 13, 1], [256, 512, 896, 2048], 128),
    "regnet_x_32gf": regnet("x", [2, 7, 13, 1], [336, 672, 1344, 2520], 168),
    "regnet_y_400mf": regnet("y", [1, 3, 6, 6], [48, 104, 208, 440], 8),
    "regnet_y_8gf": regnet("y", [2, 4, 10, 1], [224, 448, 896, 2016], 56),
    "regnet_y_16gf": regnet("y", [2, 4, 11, 1], [224, 448, 1232, 3024], 112),
    "regnet_y_32gf": regnet("y", [2, 5, 12, 1], [232, 696, 1392, 3712], 232),
    "swin_s": swin(96, [2, 2, 18, 2], [3, 6, 12, 24]),
    "swin_v2_t": swin(96, [2, 2, 6, 2], [3, 6, 12, 24], kind="Swinv2", window_size=8, image_size=256),
    "swin_v2_b": swin(128, [2, 2, 18, 2], [4, 8, 16, 32], kind="Swinv2", window_size=8, image_size=256),
}
NOTES = {
    "swin_v2_t": "transformers' has no bias on keys in its attention, torchvision's keeps one at zero",
    "swin_v2_b": "transformers' has no bias on keys in its attention, torchvision's keeps one at zero",
}
WITHIN = 0.02
DEFAULT = Path(__file__).resolve().parents[2] / "shared/data/models"


def opt_macs(row: dict[str, str], tokens: int) -> float:
    """Closed form: per token 4 D² + 2 D F of each layer's products, 2 S D of its attention, D V of the head."""
    layers, d, ffn, vocab = (int(row[key]) for key in ("layers", "hidden", "ffn", "vocab"))
    return tokens * (layers * (4 * d * d + 2 * d * ffn + 2 * tokens * d) + d * vocab)


def counted_opt(row: dict[str, str], tokens: int) -> tuple[float, int]:
    """Multiply-adds of one sequence and parameters, as counted."""
    config: dict[str, Any] = {
        "hidden_size": int(row["hidden"]), "num_hidden_layers": int(row["layers"]), "ffn_dim": int(row["ffn"]),
        "num_attention_heads": int(row["heads"]), "word_embed_proj_dim": int(row["word_embed_proj_dim"]),
        "vocab_size": int(row["vocab"]), "max_position_embeddings": int(row["max_positions"]),
    }  # fmt: skip
    with torch.device("meta"):
        model: nn.Module = tf.OPTForCausalLM(tf.OPTConfig(**config, dropout=0.0, use_cache=False))
    with shapes_only(CPU_KERNELS), torch.no_grad():
        counter = OperatorCounter()
        with counter:
            model(input_ids=torch.empty(1, tokens, dtype=torch.long, device="meta"))
    parameters = {id(p): p.numel() for p in model.parameters()}
    return counter.cost().total_flops / 2, sum(parameters.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=DEFAULT)
    folder = parser.parse_args().folder
    for name in ("torchvision_params_gmacs.csv", "opt_configs.csv"):
        if not (folder / name).is_file():
            raise SystemExit(f"{folder / name}: absent; give the folder that holds it")
    errors: list[float] = []
    absent: list[str] = []
    print(f"{'model':>16} {'GMAC':>8} {'published':>10} {'error':>8} {'parameters':>12} {'published':>12} {'error':>8}")
    with (folder / "torchvision_params_gmacs.csv").open(newline="") as handle:
        for row in csv.DictReader(handle):
            name = row["model"]
            if name not in ARCHITECTURES:
                absent.append(name)
                continue
            cost = step_cost(ARCHITECTURES[name], 1, int(row["input_crop_px"]))
            macs = cost.forward.total_flops / 2e9
            published, parameters = float(row["gmacs_forward_per_image"]), int(row["params"])
            errors.append(macs / published - 1)
            print(
                f"{name:>16} {macs:>8.3f} {published:>10.3f} {macs / published - 1:>+8.2%} {cost.num_parameters:>12} "
                f"{parameters:>12} {cost.num_parameters / parameters - 1:>+8.2%}  {NOTES.get(name, '')}",
                flush=True,
            )
    found = np.abs(errors)
    print(
        f"{len(found)} architectures: median {np.median(found):.2%}, worst {found.max():.2%}, "
        f"within {WITHIN:.0%}: {(found <= WITHIN).sum()}"
    )
    print(f"torchvision only: {', '.join(absent)}")
    print("OPT against its closed form:")
    with (folder / "opt_configs.csv").open(newline="") as handle:
        for row in csv.DictReader(handle):
            macs, num_parameters = counted_opt(row, 512)
            closed, parameters = opt_macs(row, 512), int(row["params_total_tied_head"])
            print(
                f"{row['model']:>16} {macs / 1e9:>8.1f} {closed / 1e9:>10.1f} {macs / closed - 1:>+8.2%} "
                f"{num_parameters:>12} {parameters:>12} {num_parameters / parameters - 1:>+8.2%}  512 tokens"
            )


if __name__ == "__main__":
    main()
