"""One round of the replay in time: what every client does, what is used, and who waits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd
import plotly.graph_objects as go

from hybridsplit.orchestrator.report.cells import Cell, Column, Table, percent
from hybridsplit.orchestrator.report.data import ReportData, bunches
from hybridsplit.orchestrator.report.figures import shown_label, styled, time_unit
from hybridsplit.orchestrator.report.palette import MUTED, PHASE_COLOURS, PHASE_LABELS
from hybridsplit.orchestrator.timeline.intervals import Interval, intervals_of_round
from hybridsplit.orchestrator.timeline.rounds import chosen_round, latency_of, replayed_rounds
from hybridsplit.orchestrator.timeline.use import RESOURCES, Steps, queue_length, utilisation
from hybridsplit.scenarios.contracts.ledger import LedgerEntry, Source
from hybridsplit.scenarios.contracts.phases import ROUND_ORDER, Phase
from hybridsplit.scenarios.contracts.summary import LatencyFigure
from hybridsplit.scenarios.units import format_seconds

_MOST_STEPS = 12
_MOST_CAUSES = 12
_MOST_CHANGES = 1500
_COLOURS = {name: PHASE_COLOURS[phases[0]] for name, phases in RESOURCES.items()}


@dataclass(frozen=True)
class ShownRound:
    """The round of a replay that a report shows, and all of them as a table.

    Parameters
    ----------
    data
        The report's data, with replayed entries.
    """

    data: ReportData

    @cached_property
    def rounds(self) -> pd.DataFrame:
        """One row a round."""
        return replayed_rounds(self.data.served_plan, self.data.ledger, self.data.followed)

    @cached_property
    def number(self) -> int:
        """The round that is shown, from 0."""
        return chosen_round(self.rounds, self.data.round_shown)

    @cached_property
    def latency_s(self) -> float:
        """Its latency, s."""
        return latency_of(self.rounds, self.number)

    @cached_property
    def steps_apart(self) -> bool:
        """Whether steps are drawn one by one: of many, only their sums can be seen."""
        return self.data.scenario.training.local_steps <= _MOST_STEPS

    @cached_property
    def intervals(self) -> tuple[Interval, ...]:
        """What every client does in it."""
        table = self.data.ledger.table
        of_round = table[(table["round"] == self.number) & (table["source"] == str(Source.REPLAYED))]
        entries = (
            LedgerEntry(Source.REPLAYED, client, self.number, Phase(phase), seconds, waiting_s)
            for client, phase, seconds, waiting_s in zip(
                *(of_round[name].tolist() for name in ("client", "phase", "seconds", "waiting_s")), strict=True
            )
        )
        training = self.data.scenario.training
        steps = training.local_steps if self.steps_apart else 1
        return tuple(intervals_of_round(entries, self.number, steps, synchronise=training.steps_synchronise))


def gantt_figure(shown: ShownRound) -> go.Figure:
    """Return what every client does when; of a group, the client that the others wait for most.

    Parameters
    ----------
    shown
        The round.
    """
    rows = {_slowest(row.ids, shown.intervals): row.label for row in bunches(shown.data.plan)}
    unit_s, unit = time_unit(shown.latency_s)
    figure = go.Figure()
    for phase in ROUND_ORDER:
        for is_waiting in (False, True):
            own = [
                one for one in shown.intervals
                if one.phase is phase and one.is_waiting is is_waiting and one.client in rows
            ]  # fmt: skip
            if not own:
                continue
            what = f"waits ({PHASE_LABELS[phase].lower()})" if is_waiting else PHASE_LABELS[phase]
            figure.add_bar(
                y=[shown_label(rows[one.client]) for one in own],
                base=[one.start_s / unit_s for one in own],
                x=[one.seconds / unit_s for one in own],
                orientation="h",
                name=what,
                marker={
                    "color": PHASE_COLOURS[Phase.BARRIER] if is_waiting else PHASE_COLOURS[phase],
                    "line": {"width": 0},
                    "pattern": {"shape": "/", "fgcolor": PHASE_COLOURS[phase], "size": 5, "solidity": 0.2}
                    if is_waiting
                    else {},
                },
                customdata=[
                    f"{shown_label(one.client)}, step {one.step}: {format_seconds(one.seconds)}" for one in own
                ],
                hovertemplate=f"%{{customdata}}<br>{what}<extra></extra>",
            )
    figure.update_layout(barmode="overlay")
    styled(figure, rows=len(rows), x_title=f"time in round {shown.number}, {unit}")
    figure.update_yaxes(categoryorder="array", categoryarray=[shown_label(label) for label in rows.values()])
    return figure


def use_figure(shown: ShownRound) -> go.Figure:
    """Return how much of uplink, downlink and server serves someone, over the round.

    Parameters
    ----------
    shown
        The round.
    """
    clients = shown.data.served_plan.clients
    lines = [(name, utilisation(shown.intervals, clients, name, shown.latency_s)) for name in RESOURCES]
    figure = _step_figure(lines, shown, factor=100.0, suffix=" %")
    figure.update_yaxes(range=[0, 105])
    return figure


def queue_figure(shown: ShownRound) -> go.Figure:
    """Return how many clients wait for uplink, downlink and server, over the round.

    Parameters
    ----------
    shown
        The round.
    """
    lines = [
        (name, queue_length(shown.intervals, shown.data.plan.clients, name, shown.latency_s)) for name in RESOURCES
    ]
    figure = _step_figure(lines, shown, factor=1.0, suffix="")
    figure.update_yaxes(rangemode="tozero")
    return figure


def _step_figure(lines: Sequence[tuple[str, Steps]], shown: ShownRound, *, factor: float, suffix: str) -> go.Figure:
    unit_s, unit = time_unit(shown.latency_s)
    figure = go.Figure()
    for name, exact in lines:
        steps = exact.thinned(_MOST_CHANGES)
        figure.add_scatter(
            x=[time_s / unit_s for time_s in steps.times_s],
            y=[round(level * factor, 4) for level in steps.levels],
            name=name,
            mode="lines",
            line={"color": _COLOURS.get(name, MUTED), "width": 1.5, "shape": "hv"},
            hovertemplate=f"{name}: %{{y:.3g}}{suffix}<extra></extra>",
        )
    figure.update_yaxes(ticksuffix=suffix)
    return styled(figure, rows=None, x_title=f"time in round {shown.number}, {unit}")


def _slowest(ids: frozenset[str], intervals: Sequence[Interval]) -> str:
    """Return the client of a row that waits least at the barrier; the first where nobody takes part."""
    waits_s = {one.client: 0.0 for one in intervals if one.client in ids}
    for one in intervals:
        if one.client in waits_s and one.phase is Phase.BARRIER:
            waits_s[one.client] += one.seconds
    return min(waits_s, key=lambda client: waits_s[client], default=min(ids))


def latency_table(data: ReportData) -> Table | None:
    """Return mean and quantiles of the round latency over traces, with intervals; None where there are none.

    Parameters
    ----------
    data
        The report's data.
    """
    found = data.latencies
    if found is None:
        return None
    columns = (
        Column("Round latency"), Column("Seconds", is_number=True), Column("95 % interval", is_number=True),
        Column("Distinct windows", is_number=True),
    )  # fmt: skip
    windows = Cell(f"{found.distinct_windows:,}", found.distinct_windows)
    rows = tuple(
        (Cell(name), Cell(format_seconds(one.seconds), one.seconds), Cell(_interval(one)), windows)
        for name, one in (
            ("mean", found.mean), ("median", found.p50), ("90 % of rounds", found.p90), ("95 % of rounds", found.p95),
            ("99 % of rounds", found.p99),
        )
    )  # fmt: skip
    return Table(columns, rows)


def _interval(one: LatencyFigure) -> str:
    return f"{format_seconds(one.low_s)} to {format_seconds(one.high_s)}"


def critical_table(shown: ShownRound) -> Table:
    """Return whom rounds waited for, and what that client spent most of the round on, the most frequent first.

    Parameters
    ----------
    shown
        The round, with all others.
    """
    columns = (
        Column("The round waits for"), Column("Its longest part"), Column("Rounds", is_number=True),
        Column("Mean length", is_number=True), Column("Of the round", is_number=True),
        Column("It waited itself", is_number=True),
    )  # fmt: skip
    groups = shown.rounds.groupby(["critical_client", "critical_phase", "critical_is_waiting"], sort=False)
    rows = []
    for _, of_cause in sorted(groups, key=lambda item: -len(item[1])):
        client, phase = str(of_cause["critical_client"].iloc[0]), str(of_cause["critical_phase"].iloc[0])
        is_waiting = bool(of_cause["critical_is_waiting"].iloc[0])
        label = PHASE_LABELS[Phase(phase)] if phase else "–"
        seconds, latency_s = float(of_cause["critical_phase_s"].mean()), float(of_cause["latency_s"].mean())
        waited_s = float(of_cause["critical_waiting_s"].mean())
        rows.append(
            (
                Cell(client, mark="" if not phase else f"phase-{phase}"),
                Cell(f"waiting for {label.lower()}" if is_waiting else label),
                Cell(f"{len(of_cause):,}", len(of_cause)),
                Cell(format_seconds(seconds), seconds),
                Cell(percent(seconds / latency_s) if latency_s > 0 else "–"),
                Cell(format_seconds(waited_s), waited_s),
            )
        )
    return Table(columns, tuple(rows[:_MOST_CAUSES]))
