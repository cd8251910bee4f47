"""Errors of predicted forward passes on the Raspberry Pis beside those of full steps, and what a correction is worth.

    python benchmarks/forward_times.py [PATH OF raspberry_pi_training_times.csv] [--rows]

Zeroth-order and frozen clients are made of forward passes. The published times of training the head alone are such:
those of the architectures that the devices' figures were fitted to (``raspberry_pi_times.py``), of a family left out of
the fit, and, where timm is installed, of the networks in the file that no fit has seen. A correction is fitted to
forward passes of the first alone, and judged on the last alone. Prints the table of docs/devices.md; ``--rows`` prints
every network as well.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from architectures import StepCost, step_cost
from raspberry_pi_times import ARCHITECTURES, BOARDS, DEFAULT, FREE, TIED, Row, fitted, read
from torch import Tensor, nn

from hybridsplit.profiler.calibration import MeasuredWork, fit_efficiency, relative_errors, with_efficiency
from hybridsplit.scenarios.devices import Device, catalogue

CORRECTIONS: dict[str, tuple[str, ...]] = {
    "all figures of forward passes": tuple(name for name in FREE if name != "grouped_backward"),
    "memory and calls": ("memory", "grouped_call_s"),
    "memory": ("memory",),
}
"""Figures of a device that may be others for forward passes alone."""


class _OfTimm(nn.Module):
    """A network of timm, called as transformers' are."""

    def __init__(self, name: str) -> None:
        super().__init__()
        import timm

        self.network = timm.create_model(name)

    def forward(self, pixel_values: Tensor) -> Any:
        """Return the logits [B, K] of images [B, C, H, W], as an attribute."""
        return SimpleNamespace(logits=self.network(pixel_values))


def unseen(path: Path) -> list[Row]:
    """The rows of networks that the figures were not fitted to and timm has; none where timm is absent."""
    try:
        import timm
    except ModuleNotFoundError:
        return []
    rows: list[Row] = []
    costs: dict[str, StepCost] = {}
    with path.open(newline="", encoding="utf-8") as handle:
        for row in csv.DictReader(handle):
            name = row["model"]
            if name in ARCHITECTURES or name not in timm.list_models():
                continue
            if name not in costs:
                costs[name] = step_cost(lambda name=name: _OfTimm(name), 16)  # type: ignore[misc]
            full = MeasuredWork(name, name, costs[name].step, float(row["full_training_s_per_batch"]))
            forward_s = float(row["head_only_training_s_per_batch"])
            rows.append(Row(row["board"], full, MeasuredWork(name, name, costs[name].forward, forward_s)))
    return rows


def errors(rows: Sequence[Row], devices: Sequence[dict[str, Device]], what: str) -> np.ndarray:
    """[N] relative errors of ``full`` steps or ``forward`` passes, each by devices of its own."""
    found = [relative_errors([getattr(row, what)], own[row.board])[0] for row, own in zip(rows, devices, strict=True)]
    return np.array(found, dtype=float)


def corrected(rows: Sequence[Row], devices: dict[str, Device], free: Sequence[str]) -> dict[str, Device]:
    """Devices with some figures fitted to the forward passes of rows alone."""
    found = {}
    for board, device in devices.items():
        assert device.efficiency is not None
        own = [row.forward for row in rows if row.board == board]
        tied = TIED if "matmul" in free else {}
        found[board] = with_efficiency(device, fit_efficiency(own, device, device.efficiency, free, tied))
    return found


def line(name: str, found: np.ndarray) -> str:
    """A row of the table."""
    worst = found[np.abs(found).argmax()]
    sides = f"{np.median(found):+.1%} | {np.median(np.abs(found)):.1%} | {np.abs(found).mean():.1%} | {worst:+.0%}"
    return f"| {name} | {len(found)} | {sides} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", nargs="?", type=Path, default=DEFAULT)
    parser.add_argument("--rows", action="store_true", help="print every network")
    asked = parser.parse_args()
    if not asked.path.is_file():
        raise SystemExit(f"{asked.path}: absent; give the path of raspberry_pi_training_times.csv")
    seen, _ = read(asked.path)
    shipped = {board: catalogue()[device] for board, device in BOARDS.items()}
    without = {f: fitted([r for r in seen if r.full.family != f]) for f in {row.full.family for row in seen}}
    new = unseen(asked.path)
    print("| networks | rows | median, signed | median | mean | worst |")
    print("|---|---|---|---|---|---|")
    for what in ("full", "forward"):
        word = "full step" if what == "full" else "forward pass"
        print(line(f"{word}: in the fit", errors(seen, [shipped] * len(seen), what)))
        print(line(f"{word}: family left out", errors(seen, [without[r.full.family] for r in seen], what)))
        if new:
            print(line(f"{word}: in no fit", errors(new, [shipped] * len(new), what)))
    for name, free in CORRECTIONS.items() if new else ():
        own = corrected(seen, shipped, free)
        print(line(f"forward pass: in no fit, corrected by {name}", errors(new, [own] * len(new), "forward")))
    if not new:
        print("timm is absent: networks that no fit has seen are left out (pip install 'hybridsplit[timm]')")
    for row in (*seen, *new) if asked.rows else ():
        full, forward = (float(errors([row], [shipped], what)[0]) for what in ("full", "forward"))
        print(f"{row.board:20} {row.full.name:24} full {full:+.1%} forward {forward:+.1%}")


if __name__ == "__main__":
    main()
