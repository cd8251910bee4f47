"""Strategies of an inference task side by side, and at nine pairs of the two rates that decide between them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from hybridsplit.profiler.accelerators.space import virtual_space
from hybridsplit.scenarios.contracts.inference_plan import InferencePlan
from hybridsplit.scenarios.contracts.placement import FrozenValue
from hybridsplit.scenarios.errors import InfeasibleError
from hybridsplit.scenarios.inference.schema import InferenceScenario
from hybridsplit.scenarios.units import bits_per_second_from_mbps
from hybridsplit.solver.virtual_space.planner import make_inference_plan
from hybridsplit.solver.virtual_space.strategies import BASELINES, INFERENCE_STRATEGIES, InferenceStrategy

LINKS_BPS = tuple(bits_per_second_from_mbps(rate) for rate in (1.0, 8.0, 50.0))
RELOADS_BYTES_PER_S = (5e6, 20e6, 100e6)
_CELL_S = 5.0
"""Most seconds for the plan of one pair of rates; its gap stands beside it."""

Progress = Callable[[str, float], None]


def silent(what: str, share: float) -> None:
    """Show nothing.

    Parameters
    ----------
    what, share
        What is being done and the share that is done.
    """


class ComparedApps(FrozenValue):
    """What one strategy comes to; figures are None where it has no plan."""

    strategy: str
    infeasible: str | None = None
    """Why it has no plan."""
    period_s: float | None = None
    rates_hz: dict[str, float] | None = None
    """Frames a second, by app."""
    throughput_hz: float | None = None
    """Frames a second at the common period, of all apps together."""
    ratio: float | None = None
    """Throughput of ``optimal`` over this one's, where that is among the strategies."""
    gap: float | None = None
    solve_s: float | None = None


class RateCell(FrozenValue):
    """The plan of ``optimal`` beside the seven baselines, at one link rate and one reload rate."""

    link_bps: float
    reload_bytes_per_s: float
    period_s: float
    gap: float
    baselines: dict[str, float | None]
    """Period of every baseline; None where it has no plan."""
    over_mean: float | None
    """Throughput over the mean throughput of the baselines; one without a plan counts as nothing done."""
    over_best: float | None
    """Throughput over that of the best baseline."""
    over_source_only: float | None
    """Throughput over that of source-only."""


def compare_apps(
    scenario: InferenceScenario, names: Sequence[str | InferenceStrategy], on_progress: Progress = silent
) -> tuple[list[ComparedApps], dict[str, InferencePlan]]:
    """Plan with several strategies.

    Parameters
    ----------
    scenario
        The scenario.
    names
        Their names, or strategies of your own.
    on_progress
        Called with what is being done and the share that is done.

    Raises
    ------
    UsageError
        If there is no strategy of a name.
    ProfileError
        If a cost is not known.
    """
    chosen = [INFERENCE_STRATEGIES.find(name) if isinstance(name, str) else name for name in names]
    space = virtual_space(scenario)
    rows: list[ComparedApps] = []
    plans: dict[str, InferencePlan] = {}
    for position, strategy in enumerate(chosen):
        on_progress(f"{strategy.name}, {position + 1} of {len(chosen)}", position / len(chosen))
        try:
            plan = make_inference_plan(scenario, space, strategy)
        except InfeasibleError as error:
            rows.append(ComparedApps(strategy=strategy.name, infeasible=str(error)))
            continue
        plans[strategy.name] = plan
        rows.append(
            ComparedApps(
                strategy=strategy.name,
                period_s=plan.period_s,
                rates_hz={app.id: app.rate_hz for app in plan.apps},
                throughput_hz=_throughput(scenario, plan.period_s),
                gap=plan.gap if strategy.claims_optimality else None,
                solve_s=plan.solve_s,
            )
        )
    best = plans["optimal"].period_s if "optimal" in plans else None
    rated = [
        row if best is None or row.period_s is None else row.model_copy(update={"ratio": row.period_s / best})
        for row in rows
    ]
    return rated, plans


def rate_table(scenario: InferenceScenario, on_progress: Progress = silent) -> list[RateCell]:
    """Return the nine cells of link rates by reload rates.

    Parameters
    ----------
    scenario
        The scenario, whose own rates of all accelerators are replaced.
    on_progress
        Called with what is being done and the share that is done.

    Raises
    ------
    ProfileError
        If a cost is not known.
    InfeasibleError
        If there is no plan at one of the pairs.
    """
    pairs = [(link, reload) for link in LINKS_BPS for reload in RELOADS_BYTES_PER_S]
    cells = []
    for position, (link, reload) in enumerate(pairs):
        on_progress(f"rates {position + 1} of {len(pairs)}", position / len(pairs))
        groups = tuple(
            group.model_copy(update={"link_bps": link, "reload_bytes_per_s": reload}) for group in scenario.accelerators
        )
        limit_s = min(scenario.search.time_limit_s, _CELL_S)
        search = scenario.search.model_copy(update={"time_limit_s": limit_s})
        changed = scenario.model_copy(update={"accelerators": groups, "search": search})
        rows, plans = compare_apps(changed, ["optimal", *BASELINES])
        if "optimal" not in plans:
            raise InfeasibleError(rows[0].infeasible or "no plan")
        cells.append(_cell(link, reload, plans))
    return cells


def _cell(link: float, reload: float, plans: dict[str, InferencePlan]) -> RateCell:
    ours = plans["optimal"].period_s
    periods = {name: plans[name].period_s if name in plans else None for name in BASELINES}
    done = [0.0 if period is None else 1 / period for period in periods.values()]
    source_only = periods["source-only"]
    return RateCell(
        link_bps=link,
        reload_bytes_per_s=reload,
        period_s=ours,
        gap=plans["optimal"].gap,
        baselines=periods,
        over_mean=len(done) / math.fsum(done) / ours if any(done) else None,
        over_best=1 / max(done) / ours if any(done) else None,
        over_source_only=None if source_only is None else source_only / ours,
    )


def _throughput(scenario: InferenceScenario, period_s: float) -> float:
    """Return frames a second of all apps at a common period."""
    return math.fsum(app.frames / period_s if app.rate_hz is None else app.rate_hz for app in scenario.apps)
