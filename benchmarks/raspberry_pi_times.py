"""Predicted against published training times on Raspberry Pi 4 and 5, for architectures that transformers has.

    python benchmarks/raspberry_pi_times.py [PATH OF raspberry_pi_training_times.csv]

The published times are those of full training, batch 16, 224 x 224, fp32 (federated-embedded-vision, Apache-2.0). The
efficiencies of the two boards in ``scenarios/devices.yaml`` were chosen on ResNet-18, ResNet-50 and ViT-Base; the other
rows were not looked at for that.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

from profiler.compute import block_costs
from profiler.mode_costs import BlockSeconds, client_step_s
from profiler.models import traced_model
from profiler.operators import OperatorCost
from profiler.roofline import seconds
from scenarios.contracts.modes import Mode
from scenarios.devices import Device, catalogue
from scenarios.loader import load_scenario

RESNET: dict[str, Any] = {"model_type": "resnet", "num_channels": 3, "embedding_size": 64, "num_labels": 1000}
VIT: dict[str, Any] = {"model_type": "vit", "image_size": 224, "patch_size": 16, "num_labels": 1000}
TINY = {**VIT, "hidden_size": 192, "intermediate_size": 768, "num_attention_heads": 3}
SMALL = {**VIT, "hidden_size": 384, "intermediate_size": 1536, "num_attention_heads": 6}
CONFIGS: dict[str, dict[str, Any]] = {
    "resnet18": {**RESNET, "layer_type": "basic", "hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2]},
    "resnet50": {**RESNET, "layer_type": "bottleneck", "hidden_sizes": [256, 512, 1024, 2048], "depths": [3, 4, 6, 3]},
    "vit_base": VIT,
    "vit_tiny": TINY,
    "deit_tiny": TINY,
    "deit_small": SMALL,
}
CALIBRATED_ON = {"resnet18", "resnet50", "vit_base"}
BOARDS = {"raspberry_pi_4_8gb": "rpi4b_8gb", "raspberry_pi_5_8gb": "rpi5_8gb"}
DEFAULT = Path(__file__).resolve().parents[2] / "shared/data/measured/raspberry_pi_training_times.csv"


def predicted_s(config: dict[str, Any], device: Device) -> tuple[float, float]:
    """Seconds of a training step of a batch of 16, and forward GMACs an image."""
    scenario = load_scenario(
        "quickstart",
        [
            f"model.config={config}",
            "data.image_size=224",
            "training.batch_size=16",
            "training.optimizer={name: sgd, learning_rate: 0.1}",
        ],
    )
    costs = block_costs(traced_model(scenario), scenario)

    def clock(cost: OperatorCost) -> float:
        return seconds(cost, device)

    gmacs = sum(cost.forward.total_flops for cost in costs) / 2 / 16 / 1e9
    return client_step_s(BlockSeconds.on(clock, costs), Mode.FO, len(costs), 1), gmacs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", nargs="?", type=Path, default=DEFAULT)
    path = parser.parse_args().path
    if not path.is_file():
        raise SystemExit(f"{path}: absent; give the path of raspberry_pi_training_times.csv")
    print(
        f"{'board':>20} {'model':>11} {'GMAC published':>15} {'GMAC':>7} {'published s':>12} {'predicted s':>12} "
        f"{'error':>8}  use"
    )
    errors: list[float] = []
    with path.open(newline="") as handle:
        for row in csv.DictReader(handle):
            if row["model"] not in CONFIGS:
                continue
            found_s, gmacs = predicted_s(CONFIGS[row["model"]], catalogue()[BOARDS[row["board"]]])
            truth_s = float(row["full_training_s_per_batch"])
            error = found_s / truth_s - 1
            use = "calibration" if row["model"] in CALIBRATED_ON else "check"
            errors.append(abs(error))
            print(
                f"{row['board']:>20} {row['model']:>11} {row['gmacs_forward_per_image']:>15} {gmacs:>7.2f} "
                f"{truth_s:>12.2f} {found_s:>12.2f} {error:>+8.1%}  {use}",
                flush=True,
            )
    print(f"median absolute error {sorted(errors)[len(errors) // 2]:.1%}, worst {max(errors):.1%}")


if __name__ == "__main__":
    main()
