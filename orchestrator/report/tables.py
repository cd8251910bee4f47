"""The tables about the plan: who got what, and what they share."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from statistics import fmean

import pandas as pd

from hybridsplit.orchestrator.plan_words import SCREENFUL, bottlenecks, energy_j
from hybridsplit.orchestrator.report.cells import NOTHING, Cell, Column, Table, percent
from hybridsplit.orchestrator.report.data import Bunch, ReportData, bunches, device_name, replayed_s
from hybridsplit.scenarios.contracts.ledger import Source
from hybridsplit.scenarios.contracts.phases import DOWNLINK_PHASES, SERVER_PHASES, UPLINK_PHASES, Phase
from hybridsplit.scenarios.contracts.plan import ClientPlan, Plan
from hybridsplit.scenarios.units import format_bytes, format_bytes_of, format_joules, format_seconds

_PHASES = {"Uplink": UPLINK_PHASES, "Downlink": DOWNLINK_PHASES, "Server": SERVER_PHASES}
_SHARES = (("Uplink", "uplink_share"), ("Downlink", "downlink_share"), ("Server", "server_share"))


def plan_table(data: ReportData) -> Table:
    """Return one row a client, or one row for the clients of a group with the same placement.

    Parameters
    ----------
    data
        The report's data.
    """
    columns = (
        Column("Client"),
        Column("Device", is_wide=True),
        Column("Cut", is_number=True),
        Column("Mode"),
        *([Column("Batch", is_number=True)] if data.chooses_batch_size else []),
        *([Column("Steps ahead", is_number=True)] if data.offers_overlap else []),
        *([Column("Sends every", is_number=True)] if data.offers_seldom_uploads else []),
        *([Column("Head blocks", is_number=True)] if data.offers_heads else []),
        *([Column("Micro-batches", is_number=True)] if data.offers_micro_batches else []),
        *(Column(name, is_number=True, group=_group(data)) for name, _ in _SHARES),
        Column("Latency", is_number=True),
        Column("Peak of budget", is_number=True),
        *([Column("Energy", is_number=True)] if energy_j(data.plan.clients) is not None else []),
        Column("Why", is_prose=True),
    )
    rows = []
    for bunch in bunches(data.plan):
        choices: dict[tuple[object, ...], list[ClientPlan]] = {}
        for client in bunch.clients:
            choices.setdefault(client.key, []).append(client)
        rows += [_plan_row(data, bunch, tuple(clients)) for clients in choices.values()]
    return Table(columns, tuple(rows))


def _plan_row(data: ReportData, bunch: Bunch, clients: tuple[ClientPlan, ...]) -> tuple[Cell, ...]:
    first = clients[0]
    slowest = max(clients, key=lambda client: client.latency_s)
    fullest = max(clients, key=lambda client: client.client_peak_bytes / max(1, client.memory_budget_bytes))
    devices = Counter(client.device for client in clients)
    is_part = len(clients) < len(bunch.clients)
    reasons = Counter(client.reason for client in clients if client.reason)
    mean_s = fmean(client.latency_s for client in clients)
    fraction = fullest.client_peak_bytes / max(1, fullest.memory_budget_bytes)
    return (
        Cell(
            bunch.label,
            note=f"{len(clients):,} of them" if is_part else "",
            tag="slowest" if _is_slowest(data, clients) else "",
        ),
        Cell(device_name(data.scenario, first.device), note=f"and {len(devices) - 1} more" if len(devices) > 1 else ""),
        Cell(str(first.cut), value=first.cut),
        Cell(str(first.mode), mark=f"mode-{first.mode}"),
        *([Cell(str(first.batch_size), value=first.batch_size)] if data.chooses_batch_size else []),
        *([Cell(str(first.staleness), value=first.staleness)] if data.offers_overlap else []),
        *([Cell(str(first.upload_every), value=first.upload_every)] if data.offers_seldom_uploads else []),
        *([Cell(str(first.head_blocks), value=first.head_blocks)] if data.offers_heads else []),
        *([Cell(str(first.micro_batches), value=first.micro_batches)] if data.offers_micro_batches else []),
        *_shares_or_waits(data.plan, clients),
        Cell(
            format_seconds(slowest.latency_s),
            value=slowest.latency_s,
            note=f"mean {format_seconds(mean_s)}" if len(clients) > 1 else "",
        ),
        Cell(
            percent(fraction),
            value=fullest.client_peak_bytes,
            note=format_bytes_of(fullest.client_peak_bytes, fullest.memory_budget_bytes),
            bar=fraction,
        ),
        *([energy_cell(clients)] if energy_j(data.plan.clients) is not None else []),
        Cell(
            reasons.most_common(1)[0][0] if reasons else "no reason recorded",
            note=f"and {len(reasons) - 1} other reasons in this row" if len(reasons) > 1 else "",
        ),
    )


def energy_cell(clients: Sequence[ClientPlan]) -> Cell:
    """Energy of some clients in a round, with how many it is known of where that is not all."""
    total_j = energy_j(clients)
    if total_j is None:
        return NOTHING
    known = sum(client.client_energy_j is not None for client in clients)
    return Cell(format_joules(total_j), total_j, note="" if known == len(clients) else f"of {known:,} clients")


def _is_slowest(data: ReportData, clients: Sequence[ClientPlan]) -> bool:
    """Whether the round waits for one of some clients, and not for everybody alike."""
    slowest = {client.id for client in data.slowest}
    return len(slowest) < len(data.plan.clients) and any(client.id in slowest for client in clients)


def _group(data: ReportData) -> str:
    """Head of the columns of shared resources."""
    return ("Waits for" if data.plan.serves_one_at_a_time else "Share") + (" each" if data.is_grouped else "")


def _shares_or_waits(plan: Plan, clients: Sequence[ClientPlan]) -> list[Cell]:
    """What clients have of every shared resource, or how long they wait for it."""
    if not plan.serves_one_at_a_time:
        return [_share(clients, name) for _, name in _SHARES]
    waits_s = [
        fmean(math.fsum(client.waiting_s.get(phase, 0.0) for phase in phases) for client in clients)
        for phases in _PHASES.values()
    ]
    return [Cell(format_seconds(seconds), value=seconds) for seconds in waits_s]


def _share(clients: Sequence[ClientPlan], name: str) -> Cell:
    shares = [getattr(client, name) for client in clients]
    if name != "server_share" and all(client.has_dedicated_link for client in clients):
        return Cell("own link", value=0.0)
    low, high = min(shares), max(shares)
    spread = "" if math.isclose(low, high, rel_tol=1e-3, abs_tol=1e-9) else f"{percent(low, 2)} to {percent(high, 2)}"
    return Cell(percent(fmean(shares)), value=fmean(shares), note=spread)


def client_list(data: ReportData) -> Table:
    """Return every client in a compact row, for scenarios too large for the plan table to name them.

    Parameters
    ----------
    data
        The report's data.
    """
    batch = ("Batch",) if data.chooses_batch_size else ()
    ahead = ("Steps ahead",) if data.offers_overlap else ()
    seldom = ("Sends every",) if data.offers_seldom_uploads else ()
    head = ("Head blocks",) if data.offers_heads else ()
    parts = ("Micro-batches",) if data.offers_micro_batches else ()
    labels = (
        "Cut",
        "Mode",
        *batch,
        *ahead,
        *seldom,
        *head,
        *parts,
        "Uplink",
        "Downlink",
        "Server",
        "Latency",
        "Peak",
        "Budget",
    )
    rows = [
        (
            Cell(client.id),
            Cell(client.device),
            Cell(str(client.cut), client.cut),
            Cell(str(client.mode)),
            *([Cell(str(client.batch_size), client.batch_size)] if data.chooses_batch_size else []),
            *([Cell(str(client.staleness), client.staleness)] if data.offers_overlap else []),
            *([Cell(str(client.upload_every), client.upload_every)] if data.offers_seldom_uploads else []),
            *([Cell(str(client.head_blocks), client.head_blocks)] if data.offers_heads else []),
            *([Cell(str(client.micro_batches), client.micro_batches)] if data.offers_micro_batches else []),
            *_shares_or_waits(data.plan, (client,)),
            Cell(format_seconds(client.latency_s), client.latency_s),
            Cell(format_bytes(client.client_peak_bytes), client.client_peak_bytes),
            Cell(format_bytes(client.memory_budget_bytes), client.memory_budget_bytes),
        )
        for client in data.plan.clients
    ]
    columns = (
        Column("Client"),
        Column("Device", has_filter=True),
        *(Column(label, is_number=label != "Mode", has_filter=label == "Mode") for label in labels),
    )
    return Table(columns, tuple(rows))


def resource_table(data: ReportData) -> Table:
    """Return what the plan gives out of each shared resource, and how much of it is used.

    Parameters
    ----------
    data
        The report's data.
    """
    plan = data.plan
    replayed = data.ledger.of(Source.REPLAYED)
    rows = []
    for name, share in _SHARES:
        given = math.fsum(getattr(client, share) for client in plan.clients)
        served_s = math.fsum(
            getattr(client, share) * client.phases_s.get(phase, 0.0)
            for client in plan.clients
            for phase in _PHASES[name]
        )
        planned = served_s / plan.round_latency_s if plan.round_latency_s > 0 else 0.0
        shares = {client.id: getattr(client, share) for client in plan.clients}
        rows.append(
            (
                Cell(name),
                Cell("all, to one at a time") if plan.serves_one_at_a_time else Cell(percent(given), value=given),
                Cell(percent(planned), value=planned, bar=planned),
                _replayed_use(replayed, shares, _PHASES[name]),
            )
        )
    columns = (
        Column("Shared resource"),
        Column("Given out", is_number=True),
        Column("Used, planned", is_number=True),
        Column("Used, replayed", is_number=True),
    )
    return Table(columns, tuple(rows))


def bottleneck_table(plan: Plan) -> Table:
    """Return what more of each resource would save, a screenful of rows at most, the largest saving first.

    Parameters
    ----------
    plan
        The plan; without marginals the table has no rows.
    """
    columns = (Column("Resource"), Column("More of it"), Column("Saves", is_number=True), Column("Then", is_prose=True))
    found = bottlenecks(plan)
    rows = [
        (Cell(one.what), Cell(one.more), Cell(format_seconds(one.saves_s), value=one.saves_s), Cell(one.then))
        for one in found[:SCREENFUL]
    ]
    if len(found) > SCREENFUL:
        rows.append((Cell(f"and {len(found) - SCREENFUL:,} more", note="see plan.json"), NOTHING, NOTHING, NOTHING))
    return Table(columns, tuple(rows))


def _replayed_use(replayed: pd.DataFrame, shares: dict[str, float], phases: tuple[Phase, ...]) -> Cell:
    if replayed.empty:
        return NOTHING
    total_s = replayed_s(replayed)
    rows = replayed[replayed["phase"].isin([str(phase) for phase in phases])]
    used = float((rows["seconds"] * rows["client"].map(shares).fillna(0.0)).sum()) / total_s if total_s > 0 else 0.0
    return Cell(percent(used), value=used, bar=used)
