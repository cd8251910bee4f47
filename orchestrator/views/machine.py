"""What ``profile --machine`` prints: times of this computer, and the roofline fitted to them."""

from __future__ import annotations

import math

import numpy as np
from rich.markup import escape
from rich.table import Table

from hybridsplit.orchestrator.views.fitting import FittingTable
from hybridsplit.profiler.machine import MachineProfile, Measured
from hybridsplit.scenarios.units import format_bytes, format_seconds

_KIND_WORDS = {"backward_without_input": "backward, lowest", "perturbed_forward": "perturbed forward"}


def measured_table(title: str, rows: tuple[Measured, ...]) -> Table:
    """Return times with their spread, beside what the fitted roofline predicts.

    Parameters
    ----------
    title
        What was measured.
    rows
        The measurements.
    """
    table = FittingTable(title)
    for name in ("what", "kind", "median", "spread", "repeats", "GFLOP/s", "moved", "predicted", "error"):
        table.add_column(name, justify="left" if name in ("what", "kind") else "right", no_wrap=True)
    for row in rows:
        rate = row.flops / row.time.median_s / 1e9
        table.add_row(
            escape(row.name), _KIND_WORDS.get(row.kind, row.kind.replace("_", " ")), format_seconds(row.time.median_s),
            f"±{row.time.spread_s / row.time.median_s:.0%}", str(row.time.repeats), f"{rate:.1f}" if rate else "-",
            format_bytes(row.moved_bytes), format_seconds(row.predicted_s),
            f"{row.predicted_s / row.time.median_s - 1:+.0%}",
        )  # fmt: skip
    return table


def machine_summary(profile: MachineProfile) -> str:
    """Return the machine and how well the roofline describes it, in two lines."""
    machine, errors = profile.machine, np.abs(profile.block_errors())
    memory = format_bytes(machine.memory_bytes) if machine.memory_bytes else "unknown memory"
    fit = f"median error {np.median(errors):.0%}, worst {errors.max():.0%}" if len(errors) else "no blocks"
    software = f"{machine.threads} threads, PyTorch {escape(machine.torch_version)}"
    return (
        f"[bold]{escape(machine.cpu)}[/], {memory}, {software}\n"
        f"the fitted roofline against the passes of {escape(profile.scenario)}'s blocks: {fit}"
    )


def machine_document(profile: MachineProfile, device_file: str) -> dict[str, object]:
    """Return the profile as JSON values, with where its device file is."""
    document: dict[str, object] = profile.model_dump(mode="json")
    worst = float(np.abs(profile.block_errors()).max(initial=0.0))
    return document | {"device_file": device_file, "worst_block_error": worst if math.isfinite(worst) else None}
