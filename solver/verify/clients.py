"""Check a plan's clients one by one: costs, limits, and the seconds that shares and links give, in plain Python."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from hybridsplit.scenarios.contracts.placement import PLACEMENT_COLUMNS
from hybridsplit.scenarios.contracts.plan import ClientPlan, Plan
from hybridsplit.scenarios.contracts.three_part import WHOLE_OF
from hybridsplit.scenarios.contracts.updates import UPDATES_OF
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
_PARTS = {**WHOLE_OF, **UPDATES_OF}
"""Columns of tables with a split in three parts or with micro-batches, and the total that each is part of."""
_OF_ONE_CLIENT = ("id", "reason", "waiting_s", "latency_s")
"""What may differ between clients of a group that are alike. Waits and latency are checked for each; no limit or
formula has to do with the others."""
_PLACED = attrgetter(*PLACEMENT_COLUMNS)
_ALIKE = itemgetter(*(name for name in ClientPlan.model_fields if name not in _OF_ONE_CLIENT))
_WAITS_AND_LATENCY = itemgetter("waiting_s", "latency_s")
_Row: TypeAlias = tuple[Any, ...]
"""Where a row of the table is: the number of its kind, and what clients of the same rows do not share."""


class _Faultless(NamedTuple):
    """A client with whom nothing is wrong, and would not be at any latency."""

    facts: tuple[Any, ...]
    row: _Row | None
    waits_and_latency: tuple[Any, ...]
    derived: Alone


def client_violations(
    plan: Plan, scenario: Scenario, clients: Sequence[Client], table: OptionTable | None
) -> Iterator[str]:
    """Yield what is wrong with single clients of a plan.

    Parameters
    ----------
    plan, scenario
        The plan and its scenario.
    clients
        The scenario's clients, in the order of the plan's.
    table
        The option table; without it costs are taken as the plan states them.
    """
    rows = None if table is None else _ChosenRows(plan, table)
    faultless: dict[str, _Faultless] = {}
    row_of = itertools.repeat(None, len(clients)) if rows is None else rows.of
    for planned, client, row in zip(plan.clients, clients, row_of, strict=True):
        stated = vars(planned)
        # Clients of a group have the same limits, so that one whose figures are those of one before is as it is.
        facts, ends, before = _ALIKE(stated), _WAITS_AND_LATENCY(stated), faultless.get(client.group)
        if before is not None and before.facts == facts and before.row == row:
            if before.waits_and_latency != ends:
                yield from latency_violations(planned, before.derived)
            continue
        violations = [] if rows is None else list(_of_row(planned, rows.values(row)))
        if rows is None:
            violations += _of_stated_costs(planned, client)
        violations += _of_limits(planned, client, scenario)
        violations += ladder_violations(planned, client, scenario.training.local_steps)
        derived = alone(planned, client, scenario)
        violations += phase_violations(planned, derived)
        of_latency = list(latency_violations(planned, derived))
        if not (violations or of_latency) and are_exact(planned, derived):
            faultless[client.group] = _Faultless(facts, row, ends, derived)
        yield from violations
        yield from of_latency


def _of_row(planned: ClientPlan, row: tuple[Any, ...] | None) -> Iterator[str]:
    """Compare a client's costs with the row of the option table that its placement names."""
    if row is None:
        yield f"{planned.id}: cut {planned.cut} with {planned.mode} is not in the option table"
        return
    *costs, energy_j, fits = row
    for name, cost in zip((*_COSTS, *_PARTS), costs, strict=True):
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
    for part, whole in _PARTS.items():
        parts_of.setdefault(whole, []).append(part)
    for whole, parts in parts_of.items():
        of = getattr(planned, whole)
        if sum(getattr(planned, part) for part in parts) > of:
            found = ", ".join(f"{part} is {getattr(planned, part)}" for part in parts if getattr(planned, part))
            yield f"{planned.id}: {found}, more than its {whole} of {of}"
    if not planned.head_blocks and any(getattr(planned, part) for part in WHOLE_OF):
        yield f"{planned.id}: has costs of a head on the client, and no head blocks"


class _ChosenRows:
    """Rows of the table that the plan's placements name; a large table has hundreds of others a client.

    Parameters
    ----------
    plan, table
        The plan, and the option table.

    Attributes
    ----------
    of
        [N] where the row of every client of the plan is, None where there is none: clients of the same rows have equal
        ones.
    """

    def __init__(self, plan: Plan, table: OptionTable) -> None:
        import numpy as np  # late: a replay has no table, and no need of arrays

        number: dict[tuple[Any, ...], int] = {}
        placed = [number.setdefault(_PLACED(client), len(number)) for client in plan.clients]
        options = table.rows
        names, ids = options.own["client"].tolist(), [client.id for client in plan.clients]
        if names == ids:
            position = np.arange(len(names))
        else:
            place_of = {name: i for i, name in enumerate(ids)}
            position = np.array([place_of.get(str(name), -1) for name in names], dtype=np.int64)
        # The last number is that of clients that are not in the plan.
        wanted_of = np.array([*placed, len(number)], dtype=np.int64)[position][options.client]
        near = wanted_of < len(number)
        for column, name in enumerate(PLACEMENT_COLUMNS):
            # Every value as a number: rows are compared with their client's placement, column by column.
            code, values = options.coded(name)
            code_of = {value: place for place, value in enumerate(values)}
            wanted = np.array([*(code_of.get(placement[column], -1) for placement in number), -1])
            near &= code == wanted[wanted_of]
        chosen = options.take(np.flatnonzero(near))
        self._own = [name for name in options.own if name != "client"]
        self._columns = [name for name in (*_COSTS, *_PARTS, "client_energy_j", "fits") if name in options.kinds]
        used = np.unique(chosen.place)
        columns = (options.kinds[name].to_numpy()[used].tolist() for name in self._columns)
        self._of_place = dict(zip(used.tolist(), zip(*columns, strict=True), strict=True))
        own = (options.own[name][chosen.client].tolist() for name in self._own)
        rows: list[_Row] = list(zip(chosen.place.tolist(), *own, strict=True))
        found = np.full(len(ids), -1, dtype=np.int64)
        found[position[chosen.client]] = np.arange(len(rows))
        self.of: list[_Row | None] = [None if row < 0 else rows[row] for row in found.tolist()]

    def values(self, row: _Row | None) -> tuple[Any, ...] | None:
        """Return the costs in the order of ``_COSTS``, the energy (None where it is unknown), and whether it fits."""
        if row is None:
            return None
        place, *own = row
        found = dict(zip(self._columns, self._of_place[place], strict=True)) | dict(zip(self._own, own, strict=True))
        energy_j = found["client_energy_j"]
        costs = (*(found[name] for name in _COSTS), *(found.get(name, 0) for name in _PARTS))
        return (*costs, energy_j if math.isfinite(energy_j) else None, found["fits"])


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
