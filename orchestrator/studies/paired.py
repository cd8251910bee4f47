"""Plans compared on common random numbers: the same windows of the same traces, round by round.

What two plans meet is the same in every round, so that the difference of a round is the plans' and not that of luck,
and the interval of the mean difference is narrower than the plans' own intervals suggest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybridsplit.orchestrator.recordings import mean_with_interval, recordings_for, spread
from hybridsplit.runtime.data.participation import draw_attendance
from hybridsplit.runtime.replay import replay
from hybridsplit.runtime.replay.playback import scenario_of
from hybridsplit.scenarios.contracts.disciplines import BY_PLAN, Disciplines
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.contracts.summary import LatencyFigure, RoundLatencies
from hybridsplit.scenarios.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class PairedReplay:
    """One plan's rounds, and how they differ from the first plan's.

    Parameters
    ----------
    name, strategy
        Of the plan's file, and how it was made.
    round_latency_planned_s, progress
        As planned.
    latencies_s
        Of every round.
    latencies
        How they are spread; None over constant links, and for a single round.
    difference
        Mean of this plan's latency minus the first one's, round by round, with a 95 % interval; None for the first
        plan, and for a single round.
    ratio
        Seconds of all rounds over those of the first plan.
    progress_ratio
        Seconds to the same progress over those of the first plan; None where one makes none.
    shorter
        Share of rounds that are shorter than the first plan's.
    """

    name: str
    strategy: str
    round_latency_planned_s: float
    progress: float
    latencies_s: tuple[float, ...]
    latencies: RoundLatencies | None
    difference: LatencyFigure | None
    ratio: float
    progress_ratio: float | None
    shorter: float

    @property
    def mean_s(self) -> float:
        """Mean latency, s."""
        return sum(self.latencies_s) / len(self.latencies_s)

    def document(self) -> dict[str, Any]:
        """Return plain values."""
        values = asdict(self) | {"mean_s": self.mean_s}
        for key in ("latencies", "difference"):
            figure = getattr(self, key)
            values[key] = None if figure is None else figure.model_dump(mode="json")
        return values


def compare_replays(
    plans: Sequence[tuple[str, Plan]],
    num_rounds: int,
    folder: Path | None = None,
    *,
    in_order: bool = False,
    absolute: bool = False,
    disciplines: Disciplines = BY_PLAN,
) -> list[PairedReplay]:
    """Replay plans over the same links and compare them with the first one, round by round.

    Parameters
    ----------
    plans
        At least two, with their names.
    num_rounds
        Rounds to replay.
    folder
        Recordings to be dealt to the clients; those that the scenarios name when None.
    in_order, absolute
        As for one plan: recordings run on from round to round, and their rates are the links' own.
    disciplines
        By what server and radio serve, in all of them alike.

    Raises
    ------
    UsageError
        If the plans' scenarios have other clients or another seed, so that their links are not the same; or if a plan
        cannot be replayed by the disciplines.
    """
    first = plans[0][1]
    seed, clients = _links_of(first)
    for name, plan in plans[1:]:
        if _links_of(plan) != (seed, clients):
            raise UsageError(
                f"{name}: found a plan of other clients or another seed than {plans[0][0]}; needs plans whose "
                "scenarios have the same clients and seed, so that both meet the same links: plan both from one "
                "scenario"
            )
    found: list[PairedReplay] = []
    for name, plan in plans:
        scenario = scenario_of(plan)
        if scenario.training.changes_plans:
            raise UsageError(
                f"{name}: was made for a scenario whose training.replanning changes the plan between rounds, and plans "
                "are compared as they are; replay it by itself, which also plays its first plan throughout, or plan it "
                "with --set training.replanning.policy=static"
            )
        ids = [client.id for client in plan.clients]
        result = replay(
            plan, scenario, num_rounds=num_rounds, attendance=draw_attendance(scenario, ids, num_rounds),
            traces=recordings_for(plan, scenario, folder, absolute=absolute, dealt_to=clients),
            samples_windows=not in_order,
            uses_recorded_rates=absolute,
            disciplines=disciplines,
        )  # fmt: skip
        own = result.round_latency_s
        base = found[0] if found else None
        base_s = own if base is None else base.latencies_s
        differences_s = [one - other for one, other in zip(own, base_s, strict=True)]
        ratio = sum(own) / sum(base_s)
        makes_progress = plan.progress > 0 and first.progress > 0
        found.append(
            PairedReplay(
                name=name,
                strategy=plan.strategy,
                round_latency_planned_s=plan.round_latency_s,
                progress=plan.progress,
                latencies_s=own,
                latencies=None if result.distinct_windows is None else spread(own, result.distinct_windows, seed),
                difference=None if base is None else mean_with_interval(differences_s, seed),
                ratio=ratio,
                progress_ratio=ratio * first.progress / plan.progress if makes_progress else None,
                shorter=sum(difference_s < 0 for difference_s in differences_s) / num_rounds,
            )
        )
    return found


def rounds_of(compared: Sequence[PairedReplay]) -> pd.DataFrame:
    """Return one row a round and plan.

    Parameters
    ----------
    compared
        The plans.
    """
    import pandas as pd

    return pd.concat(
        [
            pd.DataFrame({"plan": one.name, "round": range(len(one.latencies_s)), "latency_s": one.latencies_s})
            for one in compared
        ],
        ignore_index=True,
    )


def _links_of(plan: Plan) -> tuple[int, tuple[str, ...]]:
    """Return what a plan's links depend on: the seed, and who its scenario's clients are."""
    scenario = scenario_of(plan)
    return scenario.seed, tuple(client.id for client in scenario.expanded_clients())
