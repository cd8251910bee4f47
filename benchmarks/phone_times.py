"""Phones: figures fitted to measured training times of two, carried to others by their scores.

    python benchmarks/phone_times.py [FOLDER OF THE SHARED DATA]

Nexus 6 (low end) and Redmi Note 8 (mid range) were timed with DL4J on their CPUs (FLASH, BSD-2-Clause). The rates of
matrix products and of memory are fitted to every 40th row of the dense layer's grid, the rate of convolutions to the
two small CNNs, each predicted from the other as the honest error. DL4J's fixed time of a batch is fitted on the dense
layer and taken off; it is the framework's and not the phone's, so the catalogue leaves it out. The recurrent models
are not compared: the file does not state their sizes. Other phones are the Redmi Note 8 times the ratio of AI
Benchmark's CPU float score; the Nexus 6 is not in that ranking, so the ratio itself is unchecked.
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from hybridsplit.profiler.calibration import MeasuredWork, fit_efficiency, relative_errors, with_efficiency
from hybridsplit.profiler.costs import OperatorCost
from hybridsplit.profiler.kernels import CPU_KERNELS
from hybridsplit.profiler.operators import OperatorCounter
from hybridsplit.profiler.shapes import shapes_only
from hybridsplit.scenarios.devices import Device, RooflineEfficiency, catalogue

PHONES = {"nexus6": "phone_nexus_6", "redmi_note8": "phone_redmi_note_8"}
OTHERS = {
    "phone_galaxy_s3_neo": "Samsung Galaxy S3 Neo",
    "phone_moto_x_play": "Motorola Moto X Play",
    "phone_redmi_note_4": "Xiaomi Redmi Note 4",
    "phone_pixel_2_xl": "Google Pixel 2 XL",
    "phone_oneplus_6t": "OnePlus 6T",
    "phone_pixel_4": "Google Pixel 4",
    "phone_galaxy_s10_plus": "Samsung Galaxy S10+",
}
START = RooflineEfficiency(
    matmul=0.1, convolution=0.02, memory=0.05, operator_call_s=3e-3, unfolds_convolutions=True,
    arithmetic_hides_traffic=False,
)  # fmt: skip
DEFAULT = Path(__file__).resolve().parents[2] / "shared/data"
EVERY = 40


def femnist_cnn() -> nn.Module:
    """Two 5x5 convolutions, a dense layer of 2048 and one of 62 classes, on 28x28 images."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(3136, 2048), nn.ReLU(), nn.Linear(2048, 62),
    )  # fmt: skip


def celeba_cnn() -> nn.Module:
    """LEAF's: four 3x3 convolutions of 32 channels with normalisation and pooling, on 84x84 images."""
    layers: list[nn.Module] = []
    for channels in (3, 32, 32, 32):
        layers += [nn.Conv2d(channels, 32, 3, padding=1), nn.BatchNorm2d(32), nn.MaxPool2d(2), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(32 * 5 * 5, 2))


def step(model: nn.Module, *shape: int) -> OperatorCost:
    """Operators of a training step with plain SGD."""
    counter = OperatorCounter()
    with shapes_only(CPU_KERNELS):
        model = model.to("meta")
        x = torch.empty(*shape, device="meta")
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with counter:
            model(x).sum().backward()
            optimizer.step()
    return counter.cost()


def dense_timings(path: Path) -> list[MeasuredWork]:
    """Every 40th row of a dense layer's grid; a sequence is as many rows of a product."""
    with path.open(newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["seconds"]][::EVERY]
    found: list[MeasuredWork] = []
    for row in rows:
        inputs, outputs, batch, length = (int(row[key]) for key in ("in_size", "out_size", "batch_size", "seq_len"))
        with torch.device("meta"):
            layer = nn.Linear(inputs, outputs)
        found.append(
            MeasuredWork(f"{inputs}x{outputs}", "dense", step(layer, batch * length, inputs), float(row["seconds"]))
        )
    return found


def cnn_timings(path: Path) -> dict[str, dict[str, MeasuredWork]]:
    """Phone to data set to timing."""
    models = {"femnist": (femnist_cnn(), (10, 1, 28, 28)), "celeba": (celeba_cnn(), (10, 3, 84, 84))}
    work = {name: step(model, *shape) for name, (model, shape) in models.items()}
    found: dict[str, dict[str, MeasuredWork]] = {phone: {} for phone in PHONES}
    with path.open(newline="") as handle:
        for row in csv.DictReader(handle):
            if row["dataset"] in work:
                phone = row["phone"].split()[0]
                seconds = float(row["mean_ms_per_batch"]) / 1e3
                found[phone][row["dataset"]] = MeasuredWork(
                    row["dataset"], row["dataset"], work[row["dataset"]], seconds
                )
    return found


def show_others(path: Path, anchor: Device) -> None:
    """Print each phone's score against the anchor's, and whether the catalogue follows it."""
    with path.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    scores = {row["phone"]: float(row["cpu_float_score"]) for row in reversed(rows) if row["cpu_float_score"]}
    assert anchor.fp32_flops_per_s
    print(f"{'phone':>24} {'score':>6} {'ratio':>6} {'catalogue ratio':>16}")
    for device_id, name in OTHERS.items():
        device = catalogue()[device_id]
        assert device.fp32_flops_per_s
        ratio = scores[name] / scores["Xiaomi Redmi Note 8"]
        print(
            f"{name:>24} {scores[name]:>6.0f} {ratio:>6.2f} {device.fp32_flops_per_s / anchor.fp32_flops_per_s:>16.2f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=DEFAULT)
    folder = parser.parse_args().folder
    batches, ranking = folder / "measured/phone_batch_training_times.csv", folder / "devices/phones_ai_benchmark.csv"
    for path in (batches, ranking):
        if not path.is_file():
            raise SystemExit(f"{path}: absent; give the folder of the shared data")
    cnns = cnn_timings(batches)
    print(f"{'phone':>12} {'model':>8} {'measured s':>11} {'fit':>8} {'from the other':>15} {'catalogue':>10}")
    left_out: list[float] = []
    for phone, device_id in PHONES.items():
        device = catalogue()[device_id]
        dense = dense_timings(folder / f"measured/phone_layer_training_times/{phone}_output.csv")
        base = fit_efficiency(dense, device, START, ("matmul", "memory", "operator_call_s"))
        batch_s = base.operator_call_s * float(np.median([one.work.count.sum() for one in dense]))
        found = np.abs(relative_errors(dense, with_efficiency(device, base)))
        base = base.model_copy(update={"operator_call_s": 0.0})
        ours = {name: replace(one, seconds=one.seconds - batch_s) for name, one in cnns[phone].items()}
        both = fit_efficiency(list(ours.values()), device, base, ("convolution",))
        for name, timing in ours.items():
            other = [one for key, one in ours.items() if key != name]
            alone = fit_efficiency(other, device, base, ("convolution",))
            errors = [
                float(relative_errors([timing], with_efficiency(device, efficiency))[0])
                for efficiency in (both, alone, device.efficiency)
                if efficiency is not None
            ]
            left_out.append(abs(errors[1]))
            print(
                f"{phone:>12} {name:>8} {timing.seconds:>11.2f} {errors[0]:>+8.0%} {errors[1]:>+15.0%} "
                f"{errors[2]:>+10.0%}"
            )
        print(
            f"{phone:>12} dense layer, {len(dense)} sizes: median error {np.median(found):.0%}, worst {found.max():.0%}"
        )
        figures = {name: float(f"{getattr(both, name):.3g}") for name in ("matmul", "convolution", "memory")}
        print(f"{phone:>12} fitted: {figures}; DL4J's fixed time of a batch: {batch_s * 1e3:.0f} ms")
    print(f"a CNN from the other one: median absolute error {np.median(left_out):.0%}, worst {max(left_out):.0%}")
    show_others(ranking, catalogue()["phone_redmi_note_8"])


if __name__ == "__main__":
    main()
