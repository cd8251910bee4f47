"""What stands behind the plan: the options it chose from, and how surely their seconds are known."""

from __future__ import annotations

import math
from collections import Counter

from hybridsplit.orchestrator.report.cells import NOTHING, Cell, Column, Table, percent
from hybridsplit.orchestrator.report.data import Bunch, ReportData, bunches, device_name
from hybridsplit.orchestrator.report.tables import energy_cell
from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.plan import ClientPlan
from hybridsplit.scenarios.devices import Confidence, find_device
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.modes import MODES
from hybridsplit.scenarios.units import format_bytes


def option_table(data: ReportData) -> Table | None:
    """Return what could be chosen: how many options fit, and the deepest cut per mode; None without an option table.

    Parameters
    ----------
    data
        The report's data.
    """
    if data.options is None:
        return None
    modes = [mode for mode in MODES if mode in set(data.options.table["mode"])]
    columns = (
        Column("Client"),
        Column("Options", is_number=True),
        Column("Fit", is_number=True),
        *(Column(str(mode), is_number=True, group="Deepest cut that fits") for mode in modes),
        Column("Chosen"),
    )
    rows = [_option_row(data, data.options, bunch, modes) for bunch in bunches(data.plan)]
    return Table(columns, tuple(rows))


def _option_row(data: ReportData, options: OptionTable, bunch: Bunch, modes: list[str]) -> tuple[Cell, ...]:
    mine = options.table[options.table["client"].isin(bunch.ids)]
    fitting = mine[mine["fits"]]
    deepest: list[Cell] = []
    for mode in modes:
        offered, fits = mine[mine["mode"] == str(mode)], fitting[fitting["mode"] == str(mode)]
        if offered.empty:
            deepest.append(Cell("not offered"))
        elif fits.empty:
            deepest.append(Cell("none", note=f"needs {format_bytes(float(offered['client_peak_bytes'].min()))}"))
        else:
            # Clients of a row may differ; the figure holds for each of them.
            cut = int(fits.groupby("client")["cut"].max().min())
            deepest.append(Cell(str(cut), value=cut, note=f"of {int(offered['cut'].max())}"))
    chosen = Counter(client.placement for client in bunch.clients)
    placement, count = chosen.most_common(1)[0]
    return (
        Cell(bunch.label),
        Cell(f"{len(mine):,}", value=len(mine)),
        Cell(f"{len(fitting):,}", value=len(fitting), bar=len(fitting) / len(mine) if len(mine) else 0.0),
        *deepest,
        Cell(
            placement.described(names_batch=data.chooses_batch_size),
            mark=f"mode-{placement.mode}",
            note="" if len(chosen) == 1 else f"{count:,} of {len(bunch.clients):,}",
        ),
    )


_MEANING = {
    str(Confidence.MEASURED): "timed on the device itself",
    str(Confidence.CALIBRATED): "efficiencies fitted to published training times of this device",
    str(
        Confidence.DERIVED
    ): "published peaks times the default efficiency of its class; no training time of it is known",
}


def confidence_table(data: ReportData) -> Table:
    """Return how the seconds of every kind of device are known.

    Parameters
    ----------
    data
        The report's data.
    """
    kinds: dict[tuple[str, str], list[ClientPlan]] = {}
    for client in data.plan.clients:
        kinds.setdefault((client.device, client.confidence), []).append(client)
    rows = [
        (
            Cell(device_name(data.scenario, device), note=device),
            Cell(f"{len(clients):,}", value=len(clients)),
            Cell(confidence, mark=f"confidence-{confidence}" if confidence in _MEANING else ""),
            Cell(_MEANING.get(confidence, "no explanation recorded")),
            Cell(
                percent(_compute_fraction(clients)),
                value=_compute_fraction(clients),
                note="of these clients' latency",
            ),
        )
        for (device, confidence), clients in kinds.items()
    ]
    columns = (
        Column("Device"),
        Column("Clients", is_number=True),
        Column("Confidence"),
        Column("Which means", is_prose=True),
        Column("Rests on it", is_number=True),
    )
    return Table(columns, tuple(rows))


def _compute_fraction(clients: list[ClientPlan]) -> float:
    latency_s = math.fsum(client.latency_s for client in clients)
    return (
        math.fsum(
            client.phases_s.get(phase, 0.0)
            for client in clients
            for phase in (Phase.CLIENT_COMPUTE, Phase.HEAD_COMPUTE)
        )
        / latency_s
        if latency_s
        else 0.0
    )


def cost_table(data: ReportData) -> Table:
    """Return what every kind of device uses and costs: energy of a round, and its price where the scenario states one.

    Parameters
    ----------
    data
        The report's data.
    """
    kinds: dict[str, list[ClientPlan]] = {}
    for client in data.plan.clients:
        kinds.setdefault(client.device, []).append(client)
    prices = {kind: _price(data, kind) for kind in kinds}
    has_prices = any(price is not None for price in prices.values())
    rows = [
        (
            Cell(device_name(data.scenario, kind), note=kind),
            Cell(f"{len(clients):,}", len(clients)),
            energy_cell(clients),
            *(_costs(prices[kind], len(clients)) if has_prices else []),
        )
        for kind, clients in kinds.items()
    ]
    paid = [price * len(kinds[kind]) for kind, price in prices.items() if price is not None]
    is_whole = len(paid) == len(kinds)
    total = Cell(f"{math.fsum(paid):,.2f}", math.fsum(paid), note="" if is_whole else "of those with a price")
    rows.append(
        (
            Cell("All"),
            Cell(f"{len(data.plan.clients):,}", len(data.plan.clients)),
            energy_cell(data.plan.clients),
            *([NOTHING, total] if has_prices else []),
        )
    )
    columns = (Column("Device"), Column("Clients", is_number=True), Column("Energy a round", is_number=True))
    costs = (Column("Price of one", is_number=True), Column("Price", is_number=True)) if has_prices else ()
    return Table((*columns, *costs), tuple(rows), has_total=True)


def _costs(price: float | None, number: int) -> list[Cell]:
    if price is None:
        return [NOTHING, NOTHING]
    return [Cell(f"{price:,.2f}", price), Cell(f"{price * number:,.2f}", price * number)]


def _price(data: ReportData, kind: str) -> float | None:
    try:
        return find_device(kind, data.scenario.devices, "device").price
    except ScenarioError:  # a plan of an older catalogue
        return None
