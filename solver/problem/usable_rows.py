"""Rows of an option table before they are a problem: put in order, checked, and marked where they are not usable."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hybridsplit.scenarios.contracts.option_rows import CLIENT, OptionRows, Rows
from hybridsplit.scenarios.contracts.options import TARGET_COLUMNS, OptionTable
from hybridsplit.scenarios.contracts.three_part import HEAD_COLUMNS
from hybridsplit.scenarios.contracts.updates import UPDATE_COLUMNS
from hybridsplit.scenarios.errors import ContractError
from hybridsplit.scenarios.schema import Client, Scenario
from hybridsplit.solver.problem.arrays import BoolArray, FloatArray, IntArray

DROPPED = "dropped"
"""Stands in the mode column of the row that leaves a client out of the round."""
_WEIGHT_TOLERANCE = 1e-9
_COSTS = (
    "client_compute_s", "uplink_bytes", "downlink_bytes", "model_upload_bytes", "model_download_bytes",
    "server_compute_s", "client_peak_bytes", "server_state_bytes", "client_energy_j", "progress",
)  # fmt: skip


def fits(frame: Rows) -> BoolArray:
    """[K] True for the rows within their client's memory budget, to the byte."""
    within = frame["client_peak_bytes"].to_numpy() <= frame["memory_budget_bytes"].to_numpy()
    return np.asarray(frame["fits"].to_numpy(dtype=bool) & within)


def permitted(frame: OptionRows, client_index: IntArray, clients: tuple[Client, ...], scenario: Scenario) -> BoolArray:
    """[K] True for rows of allowed modes within ``min_cut`` and energy cap of their client, and for those that drop it.

    An unknown energy is within no cap.

    Parameters
    ----------
    frame, client_index, clients
        Rows [K] of the option table, [K] the client of each, and the clients.
    scenario
        Gives the modes.
    """
    min_cut = np.array([client.min_cut for client in clients])
    cap_j = np.array([np.inf if client.energy_cap_j is None else client.energy_cap_j for client in clients])
    mode, names = frame.coded("mode")
    modes = set(map(str, scenario.training.modes))
    allowed = np.array([name in modes for name in names], dtype=bool)[mode]
    allowed &= frame["cut"].to_numpy() >= min_cut[client_index]
    allowed |= np.array([name == DROPPED for name in names], dtype=bool)[mode]
    if np.isfinite(cap_j).any():
        energy_j = frame["client_energy_j"].to_numpy(dtype=float)
        allowed &= np.isinf(cap_j[client_index]) | (energy_j <= cap_j[client_index])
    return np.asarray(allowed)


def penalty_s(frame: OptionRows, client_index: IntArray, clients: tuple[Client, ...]) -> FloatArray:
    """[K] price of leaving a row's client out, seconds, for the rows that do so; 0 for all others.

    Parameters
    ----------
    frame, client_index, clients
        Rows [K] of the option table, [K] the client of each, and the clients.
    """
    prices = np.array([client.drop_price_s or 0.0 for client in clients])
    if not prices.any():
        return np.zeros(len(client_index))
    return np.asarray(np.where((frame["mode"] == DROPPED).to_numpy(), prices[client_index], 0.0))


def with_drop_rows(rows: OptionRows, clients: tuple[Client, ...]) -> OptionRows:
    """Add one row, without cost and without progress, for every client that may be left out.

    Parameters
    ----------
    rows
        [K] rows of the option table, grouped by client in the order of the clients.
    clients
        The clients.

    Returns
    -------
    The rows ([K + D], still grouped by client).
    """
    index = np.array([i for i, client in enumerate(clients) if client.drop_price_s is not None], dtype=np.int64)
    if not len(index):
        return rows
    # Clients of a group differ in nothing that such a row holds.
    number: dict[str, int] = {}
    place = np.array([number.setdefault(clients[i].group, len(number)) for i in index.tolist()], dtype=np.int64)
    first = [clients[i] for i in index[np.unique(place, return_index=True)[1]].tolist()]
    extra = [
        {"device": client.device, "cut": 0, "mode": DROPPED, "recompute": "", "batch_size": 0}
        | {"staleness": 0, "upload_every": 1, "head_blocks": 0, "micro_batches": 1}
        | dict.fromkeys(_COSTS, 0)
        | dict.fromkeys((name for name in (*HEAD_COLUMNS, *UPDATE_COLUMNS) if name in rows), 0)
        | {"memory_budget_bytes": client.memory_budget_bytes, "data_weight": client.data_weight}
        | {"fits": True, "confidence": ""}
        | {name: 0.0 for name in TARGET_COLUMNS if name in rows}
        for client in first
    ]
    joined = rows.joined(pd.DataFrame(extra).reindex(columns=rows.kinds.columns), place, index)
    return joined.take(np.argsort(joined.client, kind="stable"))


def ordered(table: OptionTable, clients: tuple[Client, ...]) -> OptionRows:
    """Return the rows of a table ([K]) grouped by client in the scenario's order, and numbered by it.

    Raises
    ------
    ContractError
        If the table has a client that the scenario does not, lacks one, or gives one another share of the data.
    """
    rows = table.rows
    names, ids = rows.own[CLIENT], [client.id for client in clients]
    # Tables of our own have the clients in the scenario's order.
    place = np.arange(len(ids)) if names.tolist() == ids else _places(names, ids)
    index = place[rows.client]
    order = np.arange(len(index)) if np.all(np.diff(index) >= 0) else np.argsort(index, kind="stable")
    if absent := [clients[i].id for i in np.flatnonzero(np.bincount(index, minlength=len(clients)) == 0)]:
        raise ContractError(
            f"the option table has no row for client {absent[0]} ({len(absent)} clients in all); needs rows for every "
            "client of the scenario: profile this scenario again"
        )
    back = np.argsort(place)
    found = OptionRows(
        rows.kinds, rows.place[order], index[order], {name: values[back] for name, values in rows.own.items()}
    )
    expected = np.array([client.data_weight for client in clients])
    if "data_weight" in found.own:
        of_client = np.asarray(found.own["data_weight"], dtype=float)
        wrong = (np.abs(of_client - expected) > _WEIGHT_TOLERANCE)[found.client]
    else:
        wrong = np.abs(found["data_weight"].to_numpy(dtype=float) - expected[found.client]) > _WEIGHT_TOLERANCE
    if wrong.any():
        row = found.frame(np.flatnonzero(wrong)[:1]).iloc[0]
        raise ContractError(
            f"the option table gives client {row['client']} the data weight {row['data_weight']:.9g}; needs "
            f"{expected[found.client[int(np.argmax(wrong))]]:.9g} as the scenario has it: profile this scenario again"
        )
    return found


def _places(names: NDArray[Any], ids: list[str]) -> IntArray:
    """Return the place among the scenario's clients of those that a table names."""
    position = {client: i for i, client in enumerate(ids)}
    place = np.array([position.get(str(name), -1) for name in names.tolist()], dtype=np.int64)
    if (place < 0).any():
        unknown = names[int(np.argmin(place))]
        raise ContractError(
            f"the option table has client {unknown}, which the scenario does not; needs the clients of the scenario: "
            "profile this scenario again"
        )
    return place
