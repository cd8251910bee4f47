"""Check a plan's clients one by one: costs, limits, and the seconds that shares and links give, in plain Python."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from hybridsplit.scenarios.contracts.placement import PLACEMENT_COLUMNS
from hybridsplit.scenarios.contracts.plan import ClientPlan, Plan
from hybridsplit.scenarios.contracts.three_part import WHOLE_OF
from hybridsplit.scenarios.schema import Client, Scenario
from hybridsplit.scenarios.sections.three_part import head_blocks_of_mode
from hybridsplit.solver.verify.ladders import ladder_violations
from hybridsplit.solver.verify.phases import Alone, alone, are_exact, latency_violations, phase_violations
from hybridsplit.solver.verify.schedule import SHARE_TOLERANCE

if TYPE_CHECKING:
    from hybridsplit.scenarios.contracts.options import OptionTable

_COSTS = (
    "client_compute_s", "server_compute_s", "uplink_bytes", "downlink_bytes", "model_upload_bytes",
    "model_download_bytes", "client_peak_bytes", "memory_budget_bytes", "server_state_bytes", "progress", "data_weight",
    "confidence",
)  # fmt: skip
_OF_HEAD = tuple(WHOLE_OF)
"""Columns of tables with a split in three parts."""
_OF_ONE_CLIENT = ("id", "reason", "waiting_s", "latency_s")
"""What may differ between clients of a group that are alike. Waits and latency are checked for each; no limit or
formula has to do with the others."""
_PLACED = attrgetter(*PLACEMENT_COLUMNS)
_ALIKE = itemgetter(*(name for name in ClientPlan.model_fields if name not in _OF_ONE_CLIENT))


class _Faultless(NamedTuple):
    """A client with whom nothing is wrong at any latency."""

    facts: tuple[Any, ...]
    row: tuple[Any, ...] | None
    derived: Alone


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
    faultless: dict[str, _Faultless] = {}
    for planned in plan.clients:
        client = clients[planned.id]
        row = None if rows is None else rows.get(_key(planned))
        # Clients of a group have the same limits, so that one whose figures are those of the one before is as it is.
        facts, before = _ALIKE(vars(planned)), faultless.get(client.group)
        if before is not None and before.facts == facts and before.row == row:
            yield from latency_violations(planned, before.derived)
            continue
        violations = [] if rows is None else list(_of_row(planned, row))
        if rows is None:
            violations += _of_stated_costs(planned, client)
        violations += _of_limits(planned, client, scenario)
        violations += ladder_violations(planned, client, scenario.training.local_steps)
        derived = alone(planned, client, scenario)
        violations += phase_violations(planned, derived)
        if not violations and are_exact(planned, derived):
            faultless[client.group] = _Faultless(facts, row, derived)
        violations += latency_violations(planned, derived)
        yield from violations


def _of_row(planned: ClientPlan, row: tuple[Any, ...] | None) -> Iterator[str]:
    """Compare a client's costs with the row of the option table that its placement names."""
    if row is None:
        yield f"{planned.id}: cut {planned.cut} with {planned.mode} is not in the option table"
        return
    *costs, energy_j, fits = row
    for name, cost in zip((*_COSTS, *_OF_HEAD), costs, strict=True):
        if getattr(planned, name) != cost:
            yield f"{planned.id}: {name} is {getattr(planned, name)}, the option table has {cost}"
    if planned.client_energy_j != energy_j:
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
    parts_of = {"uplink_bytes": ["model_upload_bytes"], "downlink_bytes": ["model_download_bytes"]}
    for part, whole in WHOLE_OF.items():
        parts_of.setdefault(whole, []).append(part)
    for whole, parts in parts_of.items():
        of = getattr(planned, whole)
        if sum(getattr(planned, part) for part in parts) > of:
            found = ", ".join(f"{part} is {getattr(planned, part)}" for part in parts if getattr(planned, part))
            yield f"{planned.id}: {found}, more than its {whole} of {of}"
    if not planned.head_blocks and any(getattr(planned, part) for part in WHOLE_OF):
        yield f"{planned.id}: has costs of a head on the client, and no head blocks"


def _key(planned: ClientPlan) -> tuple[Hashable, ...]:
    return (planned.id, *_PLACED(planned))


def _chosen_rows(plan: Plan, table: OptionTable) -> dict[tuple[Hashable, ...], tuple[Any, ...]]:
    """Rows of the table by key, those of the plan's placements only: a large table has hundreds of others a client.

    A row holds the costs in the order of ``_COSTS``, the energy (None where it is unknown), and whether it fits.
    """
    import numpy as np  # late: a replay has no table, and no need of arrays

    placed = {client.id: _PLACED(client) for client in plan.clients}
    options = table.rows
    keys = [placed.get(str(name)) for name in options.own["client"].tolist()]
    near = np.array([key is not None for key in keys], dtype=bool)[options.client]
    for position, name in enumerate(PLACEMENT_COLUMNS):
        # Every value as a number: rows are compared with their client's placement, column by column.
        code, values = options.coded(name)
        code_of = {value: place for place, value in enumerate(values)}
        wanted = np.array([-1 if key is None else code_of.get(key[position], -1) for key in keys])
        near &= code == wanted[options.client]
    chosen = options.take(np.flatnonzero(near))
    names = ("client", *PLACEMENT_COLUMNS)
    found = zip(*(chosen[name].tolist() for name in names), strict=True)
    energy_j = [value if math.isfinite(value) else None for value in chosen["client_energy_j"].tolist()]
    of_head = (chosen[name].tolist() if name in chosen else [0] * len(chosen) for name in _OF_HEAD)
    costs = (*(chosen[name].tolist() for name in _COSTS), *of_head)
    rows = zip(*costs, energy_j, chosen["fits"].tolist(), strict=True)
    return dict(zip(found, rows, strict=True))


def _of_limits(planned: ClientPlan, client: Client, scenario: Scenario) -> Iterator[str]:
    offered = head_blocks_of_mode(scenario.training.head_blocks, planned.mode)
    if planned.head_blocks not in offered and (planned.head_blocks or planned.server_compute_s > 0):
        yield (
            f"{planned.id}: {planned.mode} with {planned.head_blocks} head blocks on the client is not on offer in "
            "training.head_blocks"
        )
    if planned.upload_every not in scenario.training.local_loss.of_mode(planned.mode):
        yield (
            f"{planned.id}: {planned.mode} with smashed data every {planned.upload_every} steps is not on offer in "
            "training.local_loss"
        )
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
