"""Check a plan's clients one by one: costs, limits, and the seconds that shares and links give, in plain Python."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hybridsplit.scenarios.contracts.placement import PLACEMENT_COLUMNS
from hybridsplit.scenarios.contracts.plan import ClientPlan, Plan
from hybridsplit.scenarios.schema import Client, Scenario
from hybridsplit.solver.verify.phases import phase_violations
from hybridsplit.solver.verify.schedule import SHARE_TOLERANCE

if TYPE_CHECKING:
    from hybridsplit.scenarios.contracts.options import OptionTable

_COSTS = (
    "client_compute_s", "server_compute_s", "uplink_bytes", "downlink_bytes", "model_upload_bytes",
    "model_download_bytes", "client_peak_bytes", "memory_budget_bytes", "server_state_bytes", "progress", "data_weight",
    "confidence",
)  # fmt: skip
_ROW = (*_COSTS, "client_energy_j", "fits")
_OF_ONE_CLIENT = ("id", "reason")
"""What may differ between clients of a group that are alike; no limit or formula has to do with it."""


def client_violations(
    plan: Plan, scenario: Scenario, clients: Mapping[str, Client], table: OptionTable | None
) -> Iterator[str]:
    """Yield what is wrong with single clients of a plan.

    Parameters
    ----------
    plan, scenario
        The plan and its scenario.
    clients
        The scenario's clients by id.
    table
        The option table; without it costs are taken as the plan states them.
    """
    rows = None if table is None else _chosen_rows(plan, table)
    faultless: dict[str, tuple[dict[str, Any], tuple[Any, ...] | None]] = {}
    for planned in plan.clients:
        client = clients[planned.id]
        row = None if rows is None else rows.get(_key(planned))
        # Clients of a group have the same limits, so that one whose figures are those of the one before is as it is.
        facts = {name: value for name, value in vars(planned).items() if name not in _OF_ONE_CLIENT}, row
        if faultless.get(client.group) == facts:
            continue
        violations = [] if rows is None else list(_of_row(planned, row))
        if rows is None:
            violations += _of_stated_costs(planned, client)
        violations += _of_limits(planned, client, scenario)
        violations += phase_violations(planned, client, scenario)
        if not violations:
            faultless[client.group] = facts
        yield from violations


def _of_row(planned: ClientPlan, row: tuple[Any, ...] | None) -> Iterator[str]:
    """Compare a client's costs with the row of the option table that its placement names, ordered as ``_ROW``."""
    if row is None:
        yield f"{planned.id}: cut {planned.cut} with {planned.mode} is not in the option table"
        return
    *costs, energy_j, fits = row
    for name, cost in zip(_COSTS, costs, strict=True):
        if getattr(planned, name) != cost:
            yield f"{planned.id}: {name} is {getattr(planned, name)}, the option table has {cost}"
    if planned.client_energy_j != (energy_j if math.isfinite(energy_j) else None):
        yield f"{planned.id}: client_energy_j is {planned.client_energy_j}, the option table has {energy_j}"
    if not fits:
        yield f"{planned.id}: cut {planned.cut} with {planned.mode} is marked as not fitting"


def _of_stated_costs(planned: ClientPlan, client: Client) -> Iterator[str]:
    """Check what no table is needed for: parts within their whole, and the scenario's budget."""
    if planned.memory_budget_bytes != client.memory_budget_bytes:
        yield (
            f"{planned.id}: memory_budget_bytes is {planned.memory_budget_bytes}, the scenario has "
            f"{client.memory_budget_bytes}"
        )
    for part, whole in (("model_upload_bytes", "uplink_bytes"), ("model_download_bytes", "downlink_bytes")):
        size, of = getattr(planned, part), getattr(planned, whole)
        if size > of:
            yield f"{planned.id}: {part} is {size}, more than its {whole} of {of}"


def _key(planned: ClientPlan) -> tuple[Hashable, ...]:
    return (planned.id, *planned.key)


def _chosen_rows(plan: Plan, table: OptionTable) -> dict[tuple[Hashable, ...], tuple[Any, ...]]:
    """Rows of the table by key, those of the plan's placements only: a large table has hundreds of others a client."""
    import numpy as np  # late: a replay has no table, and no need of arrays

    cut_of = {client.id: client.cut for client in plan.clients}
    number, ids = table.table["client"].factorize()
    cuts = np.array([cut_of.get(str(name), -1) for name in ids.tolist()])
    near = table.table[cuts[number] == table.table["cut"].to_numpy()]
    wanted = {_key(client) for client in plan.clients}
    keys = list(zip(*(near[name].tolist() for name in ("client", *PLACEMENT_COLUMNS)), strict=True))
    places = [place for place, key in enumerate(keys) if key in wanted]
    chosen = near.iloc[places]
    rows = zip(*(chosen[name].tolist() for name in _ROW), strict=True)
    return {keys[place]: row for place, row in zip(places, rows, strict=True)}


def _of_limits(planned: ClientPlan, client: Client, scenario: Scenario) -> Iterator[str]:
    for name in ("uplink_share", "downlink_share", "server_share"):
        share = getattr(planned, name)
        if not 0 <= share <= 1:
            yield f"{planned.id}: {name} is {share:.12g}, outside [0, 1]"
    for name, budget in (
        ("its budget", planned.memory_budget_bytes),
        ("the scenario's budget", client.memory_budget_bytes),
    ):
        if planned.client_peak_bytes > budget:
            yield f"{planned.id}: peak of {planned.client_peak_bytes} bytes exceeds {name} of {budget}"
    if planned.cut < client.min_cut:
        yield f"{planned.id}: cut {planned.cut} is shallower than min_cut {client.min_cut}"
    if planned.mode not in scenario.training.modes:
        yield f"{planned.id}: mode {planned.mode} is not among training.modes"
    if planned.device != client.device:
        yield f"{planned.id}: device is {planned.device!r}, the scenario has {client.device!r}"
    if abs(planned.data_weight - client.data_weight) > SHARE_TOLERANCE:
        yield f"{planned.id}: data_weight is {planned.data_weight:.9g}, the scenario gives {client.data_weight:.9g}"
