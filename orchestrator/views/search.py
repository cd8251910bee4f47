"""Searches among models in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from hybridsplit.orchestrator.views.fitting import FittingTable
from hybridsplit.scenarios.units import format_joules, format_seconds

if TYPE_CHECKING:
    from hybridsplit.orchestrator.search.front import RankCorrelation
    from hybridsplit.orchestrator.search.results import ModelSearch, SearchedModel

ENOUGH_MODELS = 20
"""Models on which a rank correlation has to be measured before a score is to be trusted."""
MOST_ROWS = 40
"""Models that a terminal shows; files have all."""
_STYLES = {"front": "bold green", "no plan": "red", "beaten": "dim"}


def search_table(search: ModelSearch, *, shortens: bool = True) -> Table:
    """Return one row a model, the cheapest first.

    Parameters
    ----------
    search
        The search.
    shortens
        Whether models beside the front are left out where there are too many.
    """
    table = FittingTable(f"Models of {escape(search.scenario)}, planned by {escape(search.strategy)}")
    table.add_column("model", no_wrap=True)
    for head in (objective_name(search), "gap", "round", "fullest client", "parameters", search.judged_by.label):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    shown = shown_models(search, shortens=shortens)
    for one in shown:
        style = _STYLES.get(one.place, "")
        table.add_row(
            escape(one.name),
            "-" if one.cost is None else cost_text(search, one.cost),
            "-" if one.gap is None else f"{one.gap:.1%}",
            "-" if one.round_latency_s is None else format_seconds(one.round_latency_s),
            "-" if one.fullest_share is None else f"{one.fullest_share:.0%}",
            "-" if one.parameters is None else f"{one.parameters:,.0f}",
            reached_text(search, one),
            f"[{style}]{one.place}[/]" if style else one.place,
        )
    left_out = len(search.models) - len(shown)
    if left_out:
        table.caption = f"and {left_out} more beside the front, in models.csv"
        table.caption_justify = "left"
    return table


def shown_models(search: ModelSearch, *, shortens: bool) -> list[SearchedModel]:
    """Return the models in the order of a table: by rising cost, those without a plan last.

    Parameters
    ----------
    search, shortens
        As of :func:`search_table`.
    """
    ordered = sorted(search.models, key=lambda one: (one.cost is None, one.cost or 0.0, one.name))
    if not shortens or len(ordered) <= MOST_ROWS:
        return ordered
    first = sorted(ordered, key=lambda one: one.place != "front")[:MOST_ROWS]
    return [one for one in ordered if one in first]


def objective_name(search: ModelSearch) -> str:
    """Return what is minimised, for a heading."""
    return search.minimises.replace("-", " ")


def cost_text(search: ModelSearch, cost: float) -> str:
    """Return what is minimised, with its unit."""
    return format_joules(cost) if search.minimises == "energy" else format_seconds(cost)


def value_text(search: ModelSearch, value: float) -> str:
    """Return a value of the front: a test score as it is shown, or a score before training."""
    return f"{value:.4g}" if search.by_score else search.judged_by.text(value)


def reached_text(search: ModelSearch, one: SearchedModel) -> str:
    """Return a test score with half of its interval, and how it is known."""
    figure, judged = one.test_score, search.judged_by
    if figure is None:
        return "-"
    text = judged.text(figure.mean)
    if figure.low is not None and figure.high is not None:
        half = (figure.high - figure.low) / 2
        text += f" ± {100 * half:.1f}" if judged.is_fraction else f" ± {half:.3f}"
    return text if one.test_score_is == "trained" else f"{text} {one.test_score_is}"


def search_lines(search: ModelSearch) -> list[str]:
    """Return what the search says in sentences: the front, what scores were worth, and why models have no plan.

    Parameters
    ----------
    search
        The search.
    """
    return [*_front_lines(search), *_score_lines(search), *_without_plan(search)]


def _front_lines(search: ModelSearch) -> list[str]:
    figure = "score" if search.by_score else search.judged_by.label
    by = f" ({search.score.replace('_', ' ')})" if search.by_score else ""
    lines = [f"[bold]Front[/] of {objective_name(search)} against {figure}{by}"]
    for point in search.front:
        reached = value_text(search, point.value)
        proof = "no bound is known"
        if point.lower_bound is not None and point.gap is not None:
            proof = f"none of this {figure} below {cost_text(search, point.lower_bound)}, gap {point.gap:.1%}"
        lines.append(f"  at least {reached}: {escape(point.name)}, {cost_text(search, point.cost)} ({proof})")
    if unsure := [one.name for one in search.models if one.place == "not told apart"]:
        seeds = "one seed" if len(search.seeds) == 1 else f"{len(search.seeds)} seeds"
        lines.append(f"  {seeds} cannot tell apart from it: {escape(', '.join(unsure))}")
    return lines


def _score_lines(search: ModelSearch) -> list[str]:
    if not search.correlations:
        if not search.by_score and all(one.test_score_is != "trained" for one in search.models):
            return []
        score = search.score.replace("_", " ")
        return [f"How well {score} rank models is not known: train at least {ENOUGH_MODELS} of them (--train all)"]
    number = search.correlations[0].num_models
    lines = [f"[bold]Rank correlation[/] with the {search.judged_by.label} of {number} trained models"]
    lines += [f"  {one.score.replace('_', ' ')}: {correlation_text(one)}" for one in search.correlations]
    if number < ENOUGH_MODELS:
        lines.append(f"  {number} models say little about a score; train {ENOUGH_MODELS} of them (--train all)")
    return lines


def correlation_text(one: RankCorrelation) -> str:
    """Return a rank correlation with its interval."""
    return f"{one.value:.2f} (95 %: {one.low:.2f} to {one.high:.2f})"


def _without_plan(search: ModelSearch) -> list[str]:
    alike: dict[str, list[str]] = {}
    for one in search.models:
        if one.infeasible:
            alike.setdefault(one.infeasible, []).append(one.name)
    return [escape(f"{', '.join(names)}: {reason}") for reason, names in alike.items()]
