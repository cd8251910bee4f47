"""What a reader should know after ten seconds: the tiles and the plain sentences at the top of the report."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from hybridsplit.orchestrator.report.cells import percent
from hybridsplit.orchestrator.report.data import ReportData, replayed_s
from hybridsplit.orchestrator.report.palette import PHASE_LABELS
from hybridsplit.scenarios.contracts.ledger import Source
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.plan import ClientPlan
from hybridsplit.scenarios.contracts.schedule import Simultaneous
from hybridsplit.scenarios.scores import Score
from hybridsplit.scenarios.units import counted, format_seconds

_LAST_ROUNDS = 5


@dataclass(frozen=True)
class Tile:
    """One figure at the top.

    Parameters
    ----------
    label, text, note
        What it is, the figure, and what to make of it.
    value
        The exact figure behind the text.
    """

    label: str
    text: str
    note: str
    value: float | None = None


def _served(client: ClientPlan) -> list[tuple[Phase, float]]:
    return [(phase, seconds) for phase, seconds in client.phases_s.items() if phase is not Phase.OVERLAPPED]


def tiles(data: ReportData) -> tuple[Tile, ...]:
    """Return the figures at the top of the report.

    Parameters
    ----------
    data
        The report's data.
    """
    plan, slowest = data.plan, data.slowest[0]
    phase, phase_s = max(_served(slowest), key=lambda item: item[1], default=(None, 0.0))
    longest = ""
    if phase is not None and slowest.latency_s > 0:
        longest = f", {percent(phase_s / slowest.latency_s, 2)} of it {PHASE_LABELS[phase].lower()}"
    return (
        Tile("Round latency", format_seconds(plan.round_latency_s), f"{_set_by(data)}{longest}", plan.round_latency_s),
        _gap_tile(data),
        _progress_tile(data),
        _score_tile(data),
        _time_tile(data),
        _memory_tile(data),
    )


def _progress_tile(data: ReportData) -> Tile:
    plan = data.plan
    if plan.gain is not None and plan.gain > 0:
        note = f"{1 / plan.gain:.3g} rounds, as the pilots predict"
        return Tile("Time to target", format_seconds(plan.objective_s), note, plan.objective_s)
    if plan.progress <= 0:
        return Tile("Time to progress", "–", "this plan makes no progress", None)
    seconds = plan.objective_s if plan.objective == "time-to-progress" else plan.round_latency_s / plan.progress
    note = f"for what one round of exact gradients brings; a round brings {percent(plan.progress)} of it"
    return Tile("Time to progress", format_seconds(seconds), note, seconds)


def _set_by(data: ReportData) -> str:
    slowest, num_clients = data.slowest, len(data.plan.clients)
    if len(slowest) == 1:
        return f"set by {slowest[0].id}"
    if len(slowest) == num_clients:
        return f"all {num_clients:,} clients end together; of {slowest[0].id}"
    return f"set by {slowest[0].id} and {counted(len(slowest) - 1, 'other')} alike"


def _gap_tile(data: ReportData) -> Tile:
    plan = data.plan
    if plan.lower_bound_s <= 0 and not plan.lower_bound_j:
        return Tile("Gap to the bound", "–", "no lower bound is known for this plan")
    if plan.lower_bound_j is not None:
        note = f"no plan takes less than {plan.lower_bound_j:.4g} J a round"
    elif isinstance(plan.schedule, Simultaneous):
        note = f"no plan with static shares has a {plan.objective} below {format_seconds(plan.lower_bound_s)}"
        if plan.schedule_lower_bound_s > 0:
            note += f"; no schedule at all below {format_seconds(plan.schedule_lower_bound_s)}"
    else:
        note = f"no schedule at all has a {plan.objective} below {format_seconds(plan.lower_bound_s)}"
    if data.bounds:
        note += f" ({data.bounds})"
    # A gap that is proven zero is better read as 0 % than as a rounding of the solver.
    return Tile("Gap to the bound", percent(plan.gap, 2) if plan.gap >= 1e-6 else "0 %", note, plan.gap)


def final_score(rounds: pd.DataFrame | None, score: Score) -> float | None:
    """Return the last score that was evaluated; None when there is none.

    Parameters
    ----------
    rounds
        Rounds of a run.
    score
        Which score they have.
    """
    if rounds is None or rounds.empty:
        return None
    evaluated = rounds[score.column].dropna()
    return float(evaluated.iloc[-1]) if len(evaluated) else None


def _shown(value: float, score: Score) -> str:
    return percent(value) if score.is_fraction else score.text(value)


def _score_tile(data: ReportData) -> Tile:
    score = data.score
    label, final = f"Final {score.label}", final_score(data.rounds, score)
    if final is None:
        return Tile(label, "–", "nothing was trained or evaluated")
    frozen = final_score(data.control, score)
    note = f"test data, after {counted(len(data.rounds), 'round')}"
    return Tile(
        label,
        _shown(final, score),
        note if frozen is None else f"{note}; frozen control {_shown(frozen, score)}",
        final,
    )


def _time_tile(data: ReportData) -> Tile:
    if not data.rounds.empty and data.rounds["simulated_s"].notna().any():
        total_s = float(data.rounds["simulated_s"].max())
        return Tile(
            "Simulated time", format_seconds(total_s), f"{counted(len(data.rounds), 'round')} of training", total_s
        )
    replayed = data.ledger.of(Source.REPLAYED)
    if replayed.empty:
        return Tile("Simulated time", "–", "a plan only: nothing was replayed or trained")
    total_s = replayed_s(replayed)
    num_rounds = replayed["round"].nunique()
    return Tile(
        "Simulated time", format_seconds(total_s), f"{counted(num_rounds, 'round')} replayed, not trained", total_s
    )


def _memory_tile(data: ReportData) -> Tile:
    memory = data.memory
    predicted = memory["predicted_peak_bytes"].astype(float)
    fractions = predicted / memory["budget_bytes"].astype(float).clip(lower=1.0)
    index = int(fractions.to_numpy().argmax())
    note = f"predicted peak of {memory['client'].iloc[index]}, of its budget"
    measured = memory["measured_peak_bytes"].astype(float)
    known = measured.notna() & (measured > 0)
    if known.any():
        worst = float(((predicted[known] - measured[known]).abs() / measured[known]).max())
        note += f"; predictions within {percent(worst, 2)} of what was measured"
    return Tile("Tightest memory", percent(float(fractions.iloc[index])), note, float(fractions.iloc[index]))


def what_training_bought(data: ReportData) -> str:
    """Say in plain words what training the client parts bought over leaving them frozen.

    Parameters
    ----------
    data
        The report's data.

    Returns
    -------
    str
        A sentence. The difference is set against the spread of the last rounds, since one within it shows nothing.
    """
    score = data.score
    final, frozen = final_score(data.rounds, score), final_score(data.control, score)
    if final is None:
        return f"Nothing was trained here, so there is no {score.label} to show."
    if frozen is None or data.control is None:
        return (
            f"There is no frozen control to compare with, so this {score.label} does not say what training the client "
            "parts bought: a run in which they stay frozen would."
        )
    scale = 100 if score.is_fraction else 1
    gained = (final - frozen) * scale
    spreads = [run[score.column].dropna().tail(_LAST_ROUNDS).std(ddof=0) * scale for run in (data.rounds, data.control)]
    spread = float(max(spreads))
    verdict = (
        f"Training the client parts ended {_apart(abs(gained), score)} {'above' if gained >= 0 else 'below'} the "
        f"frozen control ({_shown(final, score)} against {_shown(frozen, score)})"
    )
    apart = _apart(spread, score)
    if abs(gained) <= 2 * spread:
        return f"{verdict}, within twice the spread of the last rounds ({apart}): it shows no difference."
    return f"{verdict}; the last rounds spread by {apart}. One run each: another seed may differ."


def _apart(difference: float, score: Score) -> str:
    return f"{difference:.1f} points" if score.is_fraction else f"{difference:.3f}"
