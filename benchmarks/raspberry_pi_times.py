"""Roofline of the Raspberry Pi 4 and 5: predicted against published training times, a family at a time left out.

    python benchmarks/raspberry_pi_times.py [PATH OF raspberry_pi_training_times.csv] [--fit]

The published times (federated-embedded-vision, Apache-2.0) are those of a batch of 16 images of 224 x 224 in fp32: full
training, and training of the head alone, which is a forward pass. Every architecture of the file that transformers has
is used. Three errors are printed of full training: with the figures of ``scenarios/devices.yaml``, with figures fitted
to all rows (equal, or the catalogue is out of date), and with figures fitted to the other families' rows.
``--fit`` prints the fitted figures.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from architectures import (
    Build,
    StepCost,
    convnext,
    efficientnet,
    mobilenet_v2,
    mobilevit_v2,
    resnet,
    step_cost,
    swin,
    vit,
)

from hybridsplit.profiler.calibration import (
    MeasuredWork,
    carried_over,
    fit_efficiency,
    relative_errors,
    with_efficiency,
)
from hybridsplit.scenarios.devices import Device, RooflineEfficiency, catalogue

ARCHITECTURES: dict[str, tuple[str, Build]] = {
    "resnet18": ("resnet", resnet("basic", [2, 2, 2, 2])),
    "resnet50": ("resnet", resnet("bottleneck", [3, 4, 6, 3])),
    "mobilenetv2_050": ("mobilenetv2", mobilenet_v2(0.5)),
    "vit_tiny": ("vit, deit", vit(192, 12, 3)),
    "vit_base": ("vit, deit", vit(768, 12, 12)),
    "deit_tiny": ("vit, deit", vit(192, 12, 3, kind="DeiT")),
    "deit_small": ("vit, deit", vit(384, 12, 6, kind="DeiT")),
    "convnext_tiny": ("convnext", convnext([96, 192, 384, 768], [3, 3, 9, 3])),
    "convnext_base": ("convnext", convnext([128, 256, 512, 1024], [3, 3, 27, 3])),
    "efficientnet_b0": ("efficientnet", efficientnet(1.0, 1.0)),
    "efficientnet_b1": ("efficientnet", efficientnet(1.0, 1.1)),
    "efficientnet_b2": ("efficientnet", efficientnet(1.1, 1.2)),
    "efficientnet_b3": ("efficientnet", efficientnet(1.2, 1.4)),
    "swin_small": ("swin", swin(96, [2, 2, 18, 2], [3, 6, 12, 24])),
    "mobilevitv2_050": ("mobilevitv2", mobilevit_v2(0.5)),
    "mobilevitv2_100": ("mobilevitv2", mobilevit_v2(1.0)),
    "mobilevitv2_200": ("mobilevitv2", mobilevit_v2(2.0)),
}
PI4, PI5 = "raspberry_pi_4_8gb", "raspberry_pi_5_8gb"
BOARDS = {PI4: "rpi4b_8gb", PI5: "rpi5_8gb"}
FREE = ("matmul", "memory", "pointwise_forward", "grouped_backward", "grouped_call_s")
TIED = {"convolution": "matmul"}
START = RooflineEfficiency(
    matmul=0.75, convolution=0.75, memory=0.2, pointwise_forward=0.16, grouped_backward=0.02, grouped_call_s=3e-4,
    unfolds_convolutions=True, arithmetic_hides_traffic=False,
)  # fmt: skip
"""A product near the peak, traffic at a fifth of it; the rest to within a factor of about three."""
FORWARD_WEIGHT = 0.5
DEFAULT = Path(__file__).resolve().parents[2] / "shared/data/measured/raspberry_pi_training_times.csv"


@dataclass(frozen=True)
class Row:
    """One published row: full training and the forward pass of one architecture on one board."""

    board: str
    full: MeasuredWork
    forward: MeasuredWork


def read(path: Path) -> tuple[list[Row], list[str]]:
    """Return the rows of architectures that transformers has, and the names of the others."""
    rows: list[Row] = []
    others: set[str] = set()
    costs: dict[str, StepCost] = {}
    with path.open(newline="") as handle:
        for row in csv.DictReader(handle):
            name = row["model"]
            if name not in ARCHITECTURES:
                others.add(name)
                continue
            family, build = ARCHITECTURES[name]
            cost = costs.setdefault(name, step_cost(build, 16)) if name not in costs else costs[name]
            full = MeasuredWork(name, family, cost.step, float(row["full_training_s_per_batch"]))
            forward_s = float(row["head_only_training_s_per_batch"])
            rows.append(Row(row["board"], full, MeasuredWork(name, family, cost.forward, forward_s, FORWARD_WEIGHT)))
    return rows, sorted(others)


def fitted(rows: Sequence[Row]) -> dict[str, Device]:
    """Fit both boards; the Raspberry Pi 5, with rows of three families, starts from the Raspberry Pi 4."""
    timings = {board: [t for row in rows if row.board == board for t in (row.full, row.forward)] for board in BOARDS}
    pi4, pi5 = (catalogue()[BOARDS[board]] for board in (PI4, PI5))
    pi4 = with_efficiency(pi4, fit_efficiency(timings[PI4], pi4, START, FREE, TIED))
    start = carried_over(pi4, pi5, timings[PI5])
    pi5 = with_efficiency(pi5, fit_efficiency(timings[PI5], pi5, start, FREE, TIED))
    return {PI4: pi4, PI5: pi5}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", nargs="?", type=Path, default=DEFAULT)
    parser.add_argument("--fit", action="store_true", help="print the fitted figures")
    arguments = parser.parse_args()
    if not arguments.path.is_file():
        raise SystemExit(f"{arguments.path}: absent; give the path of raspberry_pi_training_times.csv")
    rows, others = read(arguments.path)
    shipped = {board: catalogue()[device] for board, device in BOARDS.items()}
    everything = fitted(rows)
    families = sorted({row.full.family for row in rows})
    without = {family: fitted([row for row in rows if row.full.family != family]) for family in families}
    print(f"{'board':>20} {'model':>16} {'family':>13} {'measured s':>11} {'catalogue':>10} {'fit':>8} {'left out':>9}")
    table: list[tuple[float, float, float]] = []
    for row in rows:
        kinds = (shipped, everything, without[row.full.family])
        errors = [float(relative_errors([row.full], devices[row.board])[0]) for devices in kinds]
        table.append((errors[0], errors[1], errors[2]))
        print(
            f"{row.board:>20} {row.full.name:>16} {row.full.family:>13} {row.full.seconds:>11.2f} "
            f"{errors[0]:>+10.1%} {errors[1]:>+8.1%} {errors[2]:>+9.1%}"
        )
    for position, what in enumerate(("catalogue", "fit", "leave one family out")):
        found = np.abs([errors[position] for errors in table])
        worst = int(np.argmax(found))
        print(
            f"{what}: median absolute error {np.median(found):.1%}, mean {found.mean():.1%}, "
            f"worst {table[worst][position]:+.1%} ({rows[worst].full.name}, {rows[worst].board})"
        )
    print(f"not in transformers, so not used: {', '.join(others)}")
    if arguments.fit:
        for device in everything.values():
            assert device.efficiency is not None
            print(device.name, {k: round(v, 6) for k, v in device.efficiency.model_dump().items() if v is not None})


if __name__ == "__main__":
    main()
