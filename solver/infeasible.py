"""Say why no plan exists: who, how much is missing, and the cheapest relaxation the option table shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from scenarios.errors import InfeasibleError
from scenarios.schema import Client, Scenario
from scenarios.units import format_bytes
from solver.arrays import BoolArray, FloatArray, IntArray

MAX_NAMED_CLIENTS = 5
"""Clients named in one message; the rest is a count."""


def no_fitting_option(
    frame: pd.DataFrame, client_index: IntArray, usable: BoolArray, clients: Sequence[Client], scenario: Scenario
) -> InfeasibleError:
    """Explain clients that have no option within their memory, minimum cut and modes.

    Parameters
    ----------
    frame
        All rows of the option table, also those that do not fit.
    client_index
        [K] index into ``clients`` of every row.
    usable
        [K] True for the rows that a plan may use.
    clients, scenario
        Who takes part, and the modes that are allowed.
    """
    served = set(np.unique(client_index[usable]).tolist())
    stuck = [i for i in range(len(clients)) if i not in served]
    lines = [_why_client(frame[client_index == i], clients[i], scenario) for i in stuck[:MAX_NAMED_CLIENTS]]
    return InfeasibleError(_listing("no option fits", lines, len(stuck)))


def cheapest_peak(rows: pd.DataFrame) -> pd.Series:
    """Return the row that needs the least memory beyond its budget."""
    missing = (rows["client_peak_bytes"] - rows["memory_budget_bytes"]).to_numpy()
    return rows.iloc[int(np.argmin(missing))]


def _why_client(rows: pd.DataFrame, client: Client, scenario: Scenario) -> str:
    allowed = rows["mode"].isin([str(mode) for mode in scenario.training.modes])
    deep = rows["cut"] >= client.min_cut
    fits = rows["fits"] & (rows["client_peak_bytes"] <= rows["memory_budget_bytes"])
    fixes: list[str] = []
    head = f"{client.id} ({client.device}): "
    if (allowed & deep).any():
        row = cheapest_peak(rows[allowed & deep])
        missing = int(row["client_peak_bytes"]) - int(row["memory_budget_bytes"])
        need, budget = format_bytes(row["client_peak_bytes"]), format_bytes(row["memory_budget_bytes"])
        head += (
            f"its leanest option, cut {row['cut']} with {row['mode']}, peaks at {need} of a budget of {budget}: "
            f"{format_bytes(missing)} ({missing} bytes) missing"
        )
        fixes.append(f"give {client.id} {format_bytes(missing)} more (then cut {row['cut']} with {row['mode']} fits)")
    else:
        head += f"the table has no option at cut {client.min_cut} or deeper in the allowed modes"
    if (fits & deep & ~allowed).any():
        row = rows[fits & deep & ~allowed].iloc[0]
        fixes.insert(0, f"allow {row['mode']} in training.modes (then cut {row['cut']} fits)")
    if (fits & allowed & ~deep).any():
        row = rows[fits & allowed & ~deep].sort_values("cut", kind="stable").iloc[-1]
        fixes.append(
            f"lower min_cut from {client.min_cut} to {row['cut']} (then cut {row['cut']} with {row['mode']} fits)"
        )
    return head + "; " + ", or ".join(fixes or ["profile the scenario again with more modes"])


def no_carrying_option(
    frame: pd.DataFrame, client_index: IntArray, usable: BoolArray, clients: Sequence[Client], scenario: Scenario
) -> InfeasibleError:
    """Explain clients whose every fitting option needs a link that carries nothing."""
    dead = [key for key, hertz in _bands(scenario).items() if hertz == 0]
    link = (
        " and ".join(f"{key} = 0 Hz" for key in dead) or "its link's gain or efficiency, whose rate is zero in numbers"
    )
    lines = []
    for i, client in enumerate(clients):
        rows = frame[usable & (client_index == i)]
        blocked = ((rows["uplink_bytes"] > 0) & ("radio.uplink_hz" in dead or not dead)) | (
            (rows["downlink_bytes"] > 0) & ("radio.downlink_hz" in dead or not dead)
        )
        if blocked.all():
            least = int((rows["uplink_bytes"] + rows["downlink_bytes"]).min())
            lines.append(
                f"{client.id} ({client.device}) must move at least {format_bytes(least)} a round and cannot: {link}"
            )
    fix = f"give {' and '.join(dead)} a bandwidth above zero" if dead else "give the link a higher path_gain_db"
    return InfeasibleError(
        _listing("bits must move over a link of rate zero", lines[:MAX_NAMED_CLIENTS], len(lines)) + f"; {fix}"
    )


def check_server_memory(server_state_bytes: IntArray, client_index: IntArray, memory_bytes: int | None) -> None:
    """Raise if even the leanest options together exceed the server's memory.

    Raises
    ------
    InfeasibleError
        Naming the bytes needed, available and missing.
    """
    if memory_bytes is None:
        return
    starts = np.flatnonzero(np.diff(client_index, prepend=-1))
    needed = int(np.minimum.reduceat(server_state_bytes, starts).sum())
    if needed > memory_bytes:
        raise InfeasibleError(
            f"server.memory_bytes is {format_bytes(memory_bytes)} and the options that need least server memory take "
            f"{format_bytes(needed)} together: {format_bytes(needed - memory_bytes)} ({needed - memory_bytes} bytes) "
            "missing; raise server.memory_bytes, or give clients the memory for deeper cuts"
        )


def check_progress(gain: FloatArray, client_index: IntArray, minimum: float, objective: str) -> None:
    """Raise if the options cannot reach the least progress, or make none at all where the objective divides by it.

    Raises
    ------
    InfeasibleError
        Naming the largest progress within reach.
    """
    starts = np.flatnonzero(np.diff(client_index, prepend=-1))
    reachable = float(np.maximum.reduceat(gain, starts).sum())
    if reachable < minimum * (1 - 1e-12):
        raise too_little_progress(reachable, minimum)
    if objective == "time-to-progress" and reachable <= 0:
        raise InfeasibleError(
            "no usable option makes progress, so time-to-progress has no value; allow a mode that trains "
            "(fo, fo-recompute, zo-projection or zo-loss) in training.modes"
        )


def too_little_progress(reachable: float, minimum: float) -> InfeasibleError:
    """Explain that no plan within the hard limits makes the least progress."""
    return InfeasibleError(
        f"objective.minimum_progress is {minimum:g} and the usable options reach at most {reachable:.6g}; lower it, "
        "allow an exact mode in training.modes, or raise the memory that keeps the exact options out"
    )


def _bands(scenario: Scenario) -> dict[str, float]:
    return {"radio.uplink_hz": scenario.radio.uplink_hz, "radio.downlink_hz": scenario.radio.downlink_hz}


def _listing(title: str, lines: Sequence[str], total: int) -> str:
    more = total - len(lines)
    noun = "client" if total == 1 else "clients"
    tail = [f"... and {more} more"] if more > 0 else []
    return f"{title} for {total} {noun}: " + "\n  ".join([*lines, *tail])
