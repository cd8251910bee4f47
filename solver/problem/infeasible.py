"""Say why no plan exists: who, how much is missing, and the cheapest relaxation the option table shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from hybridsplit.scenarios.errors import InfeasibleError
from hybridsplit.scenarios.schema import Client, Scenario
from hybridsplit.scenarios.units import format_bytes
from hybridsplit.solver.problem.arrays import BoolArray, FloatArray, IntArray
from hybridsplit.solver.problem.limits import COVERAGE, ENERGY, PROGRESS, SERVER_MEMORY, Limit

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
    """Return the row of least memory beyond its budget, by column."""
    missing = (rows["client_peak_bytes"] - rows["memory_budget_bytes"]).to_numpy()
    return rows.iloc[int(np.argmin(missing))]


def head_of(client: Client) -> str:
    """Return how a message names a client."""
    return f"{client.id} ({client.device}): "


def _why_client(rows: pd.DataFrame, client: Client, scenario: Scenario) -> str:
    allowed = rows["mode"].isin([str(mode) for mode in scenario.training.modes])
    deep = rows["cut"] >= client.min_cut
    fits = rows["fits"] & (rows["client_peak_bytes"] <= rows["memory_budget_bytes"])
    fixes: list[str] = []
    head = head_of(client)
    if (allowed & deep).any():
        row = cheapest_peak(rows[allowed & deep])
        missing = int(row["client_peak_bytes"]) - int(row["memory_budget_bytes"])
        need, budget = format_bytes(row["client_peak_bytes"]), format_bytes(row["memory_budget_bytes"])
        head += (
            f"its leanest option, {_named(row)}, peaks at {need} of a budget of {budget}: "
            f"{format_bytes(missing)} ({missing} bytes) missing"
        )
        fixes.append(f"give {client.id} {format_bytes(missing)} more (then {_named(row)} fits)")
        if row["head_blocks"]:
            fixes.append("list 0 in training.head_blocks, so that the head may be at the server")
    else:
        head += f"the table has no option at cut {client.min_cut} or deeper in the allowed modes"
    if client.energy_cap_j is not None and (fits & deep & allowed).any():
        row = rows[fits & deep & allowed].sort_values("client_energy_j", kind="stable").iloc[0]
        need_j = float(row["client_energy_j"])
        what = _named(row)
        if np.isnan(need_j):
            return (
                head_of(client) + "energy_cap_j is set and no power figure is published for this device; state its "
                "power under devices, or remove the cap"
            )
        return (
            head_of(client) + f"its thriftiest option within memory, {what}, takes {need_j:.6g} J of a cap of "
            f"{client.energy_cap_j:g} J: {need_j - client.energy_cap_j:.6g} J missing; raise energy_cap_j of "
            f"{client.id} by that (then {what} fits)"
        )
    if (fits & deep & ~allowed).any():
        row = rows[fits & deep & ~allowed].iloc[0]
        fixes.insert(0, f"allow {row['mode']} in training.modes (then cut {row['cut']} fits)")
    if (fits & allowed & ~deep).any():
        row = rows[fits & allowed & ~deep].sort_values("cut", kind="stable").iloc[-1]
        fixes.append(f"lower min_cut from {client.min_cut} to {row['cut']} (then {_named(row)} fits)")
    return head + "; " + ", or ".join(fixes or ["profile the scenario again with more modes"])


def _named(row: pd.Series) -> str:
    """Name an option, a head on the client included."""
    head = f" and a head of {row['head_blocks']}" if row["head_blocks"] else ""
    return f"cut {row['cut']} with {row['mode']}{head}"


def no_carrying_option(
    frame: pd.DataFrame, client_index: IntArray, usable: BoolArray, clients: Sequence[Client], scenario: Scenario
) -> InfeasibleError:
    """Explain clients whose every fitting option needs a link that carries nothing.

    Parameters
    ----------
    frame, client_index, clients
        Rows [K] of the option table, [K] the client of each, and the clients.
    usable
        [K] rows that fit and are permitted, whatever their link.
    scenario
        Gives the bands.
    """
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


def broken_limit(
    limit: Limit, gain: FloatArray, starts: IntArray, minimum_progress: float, coverage: float
) -> InfeasibleError:
    """Explain a limit that even the leanest options together break.

    Parameters
    ----------
    limit
        The limit.
    gain, starts
        [K] what each row adds to the progress, and [N] the first row of every client.
    minimum_progress, coverage
        What the objective asks for.
    """
    least = float(np.minimum.reduceat(limit.loads, starts).sum())
    if limit.name == SERVER_MEMORY:
        over = int(least - limit.capacity)
        return InfeasibleError(
            f"server.memory_bytes is {format_bytes(int(limit.capacity))} and the options that need least server memory "
            f"take {format_bytes(int(least))} together: {format_bytes(over)} ({over} bytes) missing; raise "
            "server.memory_bytes, or give clients the memory for deeper cuts"
        )
    if limit.name == ENERGY:
        return InfeasibleError(
            f"objective.energy_cap_j is {limit.capacity:g} J and the thriftiest options of all clients take "
            f"{least:.6g} J together: {least - limit.capacity:.6g} J missing; raise "
            "objective.energy_cap_j, or allow a mode that computes less in training.modes"
        )
    if limit.name == COVERAGE:
        return InfeasibleError(
            f"objective.coverage is {coverage:g} and the clients that have an exact option hold {1 - least:.6g} of the "
            "data; lower it, allow fo or fo-recompute in training.modes, or raise the memory that keeps the exact "
            "options out"
        )
    return too_little_progress(float(np.maximum.reduceat(gain, starts).sum()), minimum_progress)


def no_progress_at_all() -> InfeasibleError:
    """Explain that time-to-progress has no value."""
    return InfeasibleError(
        "no usable option makes progress, so time-to-progress has no value; allow a mode that trains "
        "(fo, fo-recompute, zo-projection or zo-loss) in training.modes"
    )


def limits_together(names: Sequence[str]) -> InfeasibleError:
    """Explain limits that can each be kept, and not all at once."""
    keys = {
        SERVER_MEMORY: "raise server.memory_bytes",
        ENERGY: "raise objective.energy_cap_j",
        COVERAGE: "lower objective.coverage",
        PROGRESS: "lower objective.minimum_progress",
    }
    fixes = [keys[name] for name in names if name in keys]
    return InfeasibleError(
        f"no choice of options keeps {' and '.join(names)} together, although each can be kept by itself; "
        f"{', or '.join(fixes)}"
    )


def unknown_energy(
    frame: pd.DataFrame, client_index: IntArray, known: BoolArray, clients: Sequence[Client]
) -> InfeasibleError:
    """Explain clients of unknown energy where energy is minimised or capped.

    Parameters
    ----------
    frame, client_index, clients
        Rows [K] of the option table, [K] the client of each, and the clients.
    known
        [K] True for the rows whose energy is known.
    """
    served = set(np.unique(client_index[known]).tolist())
    stuck = [client for i, client in enumerate(clients) if i not in served]
    lines = [
        f"{client.id} ({client.device}): no power figure is published for this device"
        for client in stuck[:MAX_NAMED_CLIENTS]
    ]
    return InfeasibleError(
        _listing("the energy is unknown", lines, len(stuck))
        + "; state its power under devices, or leave energy out of the objective and its caps"
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
