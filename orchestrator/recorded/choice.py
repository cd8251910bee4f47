"""Choose a plan for recorded links: sample average over windows of the recordings, judged on other windows.

Every candidate is replayed over the same windows (common random numbers), few at first and all of them where it is
among the best (successive halving; Karnin, Koren and Somekh, 2013). The best one is improved by its own late clients.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from hybridsplit.orchestrator.recorded.candidates import Candidate, Candidates
from hybridsplit.orchestrator.recorded.rounds import Played, RecordedRounds, statistic_of
from hybridsplit.orchestrator.recorded.stretched import with_fades
from hybridsplit.runtime.replay.traces import BandwidthTrace
from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.contracts.plan import Plan, PlanStatus
from hybridsplit.scenarios.contracts.recorded import RecordedChoice
from hybridsplit.scenarios.contracts.schedule import Dispatch
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.streams import stream_seed
from hybridsplit.scenarios.units import format_seconds
from hybridsplit.solver.assemble import OPTIMAL_GAP
from hybridsplit.solver.planner import compute_bounds, make_plan

_FADES = (0.0, 0.1, 0.6, 1.0)
"""Fractions of the mean below which a link stands back, beside the default."""
_KEPT = 4
"""Candidates that are played over all windows."""
_MOST_JOBS = 1_500_000
"""Jobs that are replayed in all candidates together: about half a minute."""
_STEPS = 4
"""Times that the best plan is improved by its late clients."""
_RESAMPLES, _SURE = 400, 0.9
"""Another plan than the one for constant links is taken where it is better in this share of so many resamples."""

Progress = Callable[[str, float], None]


def plan_for_recordings(
    scenario: Scenario,
    table: OptionTable,
    traces: Mapping[str, BandwidthTrace] | None,
    *,
    warm_start: Plan | None = None,
    time_limit_s: float | None = None,
    on_progress: Progress | None = None,
) -> Plan:
    """Choose the plan whose rounds over recorded links are best by the scenario's statistic.

    Parameters
    ----------
    scenario, table
        The scenario, whose ``objective.links`` is ``recorded``, and its option table.
    traces
        Recordings by client.
    warm_start, time_limit_s
        As of :func:`hybridsplit.solver.planner.make_plan`; when the time is up, the best plan by then is taken.
    on_progress
        Called with what is done and a share in [0, 1].

    Returns
    -------
    Plan
        Of the strategy ``optimal``: its figures and bounds are those of constant links, ``recorded`` says how it was
        chosen.

    Raises
    ------
    ScenarioError
        If no client has a recording.
    InfeasibleError, SolverFailure, RunError
        As the planner and the replay raise them.
    """
    if not traces:
        raise ScenarioError(
            "objective.links: found recorded, and no client has a recording; needs clients[].link.trace, or a folder "
            "of recordings with --traces"
        )
    search = _Search(scenario, table, traces, time_limit_s, on_progress or (lambda what, share: None))
    return search.run(make_plan(scenario, table, "optimal", warm_start=warm_start, time_limit_s=time_limit_s))


class _Search:
    def __init__(
        self,
        scenario: Scenario,
        table: OptionTable,
        traces: Mapping[str, BandwidthTrace],
        time_limit_s: float | None,
        show: Progress,
    ) -> None:
        self._scenario, self._table, self._traces, self._show = scenario, table, traces, show
        self._stop_at = None if time_limit_s is None else time.perf_counter() + time_limit_s
        self._statistic = scenario.objective.statistic
        self._rounds = RecordedRounds(scenario, traces)
        self._few = max(2, self._rounds.number // 4)
        self._jobs_left = _MOST_JOBS
        self._tried = 0

    def run(self, nominal: Plan) -> Plan:
        first = Candidate("the best plan for constant links", nominal)
        sources = Candidates(
            self._scenario, self._table, self._traces, compute_bounds(self._scenario, self._table), nominal,
            self._is_over,
        )  # fmt: skip
        screened = [
            *self._screen([first]),
            *self._screen(sources.for_stretched_links()),
            *self._screen(sources.of_strategies()),
        ]
        screened += self._screen(
            Candidate(f"{one.origin}, fades from {_fade(plan):.0%} of the mean", plan)
            for _, one in sorted(screened, key=_value)[:2]
            for plan in with_fades(one.plan, _FADES)
        )
        # The plan for constant links is always among those that are looked at closely.
        close = [first, *(one for _, one in sorted(screened, key=_value)[:_KEPT] if one is not first)]
        found = [(self._value_of(played), one, played) for one, played in map(self._play_all, close)]
        best = min(found, key=lambda one: one[0])
        for step in range(_STEPS):
            if self._is_over():
                break
            self._show("improving by who is late", step / _STEPS)
            for candidate in sources.after(best[1], best[2]):
                played = self._rounds.choose_by(candidate.plan)
                self._count(candidate.plan, self._rounds.number)
                if self._value_of(played) < best[0]:
                    best = self._value_of(played), candidate, played
        of_first = next(played for _, one, played in found if one is first)
        if not self._is_surely_better(best[2], of_first):
            best = self._value_of(of_first), first, of_first
        return self._with_figures(best[1], best[0], nominal)

    def _is_surely_better(self, one: Played, other: Played) -> bool:
        """Whether one plan's statistic is smaller in nearly all resamples of the rounds, drawn alike for both.

        The best of many plans over few rounds owes a part of its lead to luck; a lead that resamples do not share is
        taken for nothing but that (paired bootstrap; Efron, 1979).
        """
        generator = np.random.default_rng(stream_seed(self._scenario.seed, "recorded-choice"))
        number = self._rounds.number
        drawn = [generator.integers(0, number, number) for _ in range(_RESAMPLES)]
        first, second = (
            np.array([statistic_of(played.objective_s[rounds], self._statistic) for rounds in drawn])
            for played in (one, other)
        )
        return float(np.mean(first < second)) >= _SURE

    def _is_over(self) -> bool:
        return self._jobs_left <= 0 or (self._stop_at is not None and time.perf_counter() >= self._stop_at)

    def _count(self, plan: Plan, windows: int) -> None:
        self._tried += 1
        self._jobs_left -= windows * self._rounds.jobs_of(plan)

    def _value_of(self, played: Played) -> float:
        return statistic_of(played.objective_s, self._statistic)

    def _screen(self, candidates: Iterable[Candidate]) -> list[tuple[float, Candidate]]:
        """Play candidates over a part of the windows, as long as there is time."""
        found = []
        for candidate in candidates:
            self._show(candidate.origin, 1 - max(0, self._jobs_left) / _MOST_JOBS)
            self._count(candidate.plan, self._few)
            played = self._rounds.choose_by(candidate.plan, self._few)
            found.append((self._value_of(played), candidate))
            if self._is_over():
                break
        return found

    def _play_all(self, candidate: Candidate) -> tuple[Candidate, Played]:
        self._jobs_left -= self._rounds.number * self._rounds.jobs_of(candidate.plan)
        return candidate, self._rounds.choose_by(candidate.plan)

    def _with_figures(self, best: Candidate, in_sample_s: float, nominal: Plan) -> Plan:
        self._show("judging on other windows", 1.0)
        judged = self._rounds.judge(best.plan).objective_s
        of_nominal = judged if best.plan is nominal else self._rounds.judge(nominal).objective_s
        plan = best.plan
        choice = RecordedChoice(
            statistic=self._statistic,
            windows=self._rounds.number,
            candidates=self._tried,
            chosen=best.origin,
            in_sample_s=in_sample_s,
            out_of_sample_s=statistic_of(judged, self._statistic),
            nominal_s=statistic_of(of_nominal, self._statistic),
            out_of_sample_p50_s=statistic_of(judged, "p50"),
            out_of_sample_p95_s=statistic_of(judged, "p95"),
        )
        changes = {"strategy": nominal.strategy, "recorded": choice, "notes": (*plan.notes, recorded_note(choice))}
        if plan.status is PlanStatus.BASELINE:
            is_best = plan.gap <= OPTIMAL_GAP and plan.lower_bound_s > 0
            changes["status"] = PlanStatus.OPTIMAL if is_best else PlanStatus.FEASIBLE
        return plan.model_copy(update=changes)


def recorded_note(choice: RecordedChoice) -> str:
    """Say how a plan was chosen for recorded links, and what that is worth.

    Parameters
    ----------
    choice
        Of the plan.
    """
    same = f"{choice.statistic} {format_seconds(choice.out_of_sample_s)}"
    both = f"p50 {format_seconds(choice.out_of_sample_p50_s)}, p95 {format_seconds(choice.out_of_sample_p95_s)}"
    judged = both if choice.statistic != "mean" else f"{same}, {both}"
    return (
        f"Chosen for recorded links ({choice.chosen}): of {choice.candidates} plans the best {choice.statistic} over "
        f"{choice.windows} rounds, {format_seconds(choice.in_sample_s)}. Over as many rounds that it was not chosen "
        f"by: {judged}; the best plan for constant links: {choice.statistic} {format_seconds(choice.nominal_s)}."
    )


def _value(screened: tuple[float, Candidate]) -> float:
    return screened[0]


def _fade(plan: Plan) -> float:
    assert isinstance(plan.schedule, Dispatch)
    return plan.schedule.fade_below
