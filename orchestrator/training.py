"""Train by a plan, on the clock of its replay, and the frozen control beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from hybridsplit.orchestrator.replanning.following import Following
from hybridsplit.orchestrator.run_folder import RunFolder
from hybridsplit.orchestrator.summary import round_ends_s
from hybridsplit.orchestrator.timeline.rounds import replayed_rounds
from hybridsplit.runtime.executors.base import Executor
from hybridsplit.runtime.replay import Replay, replay
from hybridsplit.runtime.run.records import RoundDone
from hybridsplit.runtime.run.rounds import Reading, RoundOrder, TrainingResult, train
from hybridsplit.scenarios.contracts.assignment import assignments_of, frozen_assignments
from hybridsplit.scenarios.contracts.attendance import Attendance
from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.schema import Scenario

PLAN, CONTROL = "plan", "frozen-control"
"""The two runs of a plan."""
OnRound: TypeAlias = Callable[[str, RoundDone], None]
"""Called after every round with :data:`PLAN` or :data:`CONTROL`, and the round."""


@dataclass(frozen=True)
class Trained:
    """What training by a plan came to.

    Parameters
    ----------
    result
        The run.
    control
        The same rounds with every client part frozen; None where it was not asked for.
    replayed
        The plan's replay of the clients that took part in each round: the clock of ``result``.
    """

    result: TrainingResult
    control: TrainingResult | None
    replayed: Replay


def train_by_plan(
    plan: Plan,
    scenario: Scenario,
    options: OptionTable,
    executor: Executor[Any],
    num_rounds: int,
    on_progress: Callable[[str, float], None],
    *,
    with_control: bool,
    folder: RunFolder | None = None,
    resume: bool = False,
    on_round: OnRound = lambda run, done: None,
) -> Trained:
    """Train by a plan on the clock of its replay, and then the frozen control.

    The control follows the run: a client that left the run leaves the control after the same round, and training that
    did not count in the run does not count in the control, so that both train on the same data in the same time.

    Parameters
    ----------
    plan, scenario, options
        What to train, and the options to name when a budget is exceeded.
    executor
        An entered executor.
    num_rounds
        Rounds.
    on_progress
        Called after every round with what is done and its share.
    with_control
        Whether to train the frozen control as well.
    folder
        Where checkpoints are kept; nowhere when None.
    resume
        Continue from the newest checkpoints.
    on_round
        Called after every round of the run and of the control.

    Raises
    ------
    BudgetExceededError, RunError
        If a client exceeds its budget or training fails.
    """
    following = Following(plan, scenario, options) if scenario.training.changes_plans else None

    def played_by(attendance: Attendance) -> Replay:
        if following is not None:
            return following.replay(attendance)
        return replay(plan, scenario, num_rounds=num_rounds, attendance=attendance, samples_windows=True)

    used = _Used(plan)

    def clock(attendance: Attendance) -> Reading:
        played = played_by(attendance)
        used.follow(played)
        orders = _orders(played, scenario)
        return Reading(round_ends_s(played), played.late, played.step_memory, orders)

    def clock_of_control(attendance: Attendance) -> Reading:
        reading = clock(attendance)
        frozen = [RoundOrder(frozen_assignments(one.assignments), one.schedule) for one in reading.orders]
        return reading._replace(orders=frozen)

    assignments = assignments_of(plan, scenario)
    result = train(
        scenario,
        assignments,
        executor,
        num_rounds,
        clock=clock,
        schedule=plan.schedule,
        checkpoint_folder=None if folder is None else folder.checkpoints,
        resume=resume,
        options=options,
        memory_folder=None if folder is None else folder.path / "memory",
        on_round=_round_shown(on_progress, PLAN, num_rounds, used, on_round),
    )
    beside = None
    if with_control:
        beside = train(
            scenario,
            frozen_assignments(assignments),
            executor,
            num_rounds,
            clock=clock_of_control,
            schedule=plan.schedule,
            checkpoint_folder=None if folder is None else folder.path / "checkpoints-control",
            resume=resume,
            excluded=[fault.absence for fault in result.faults],
            on_round=_round_shown(on_progress, CONTROL, num_rounds, used, on_round),
        )
    return Trained(result, beside, played_by(result.attendance))


class _Used:
    """How much of what clients share was used, by round of the replay that training goes by."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._of_round: dict[int, tuple[float, float, float]] = {}

    def follow(self, played: Replay) -> None:
        """Take the figures of a replay; those of the one before are forgotten."""
        rounds = replayed_rounds(self._plan, played.ledger, played.followed)
        names = ("uplink_utilisation", "downlink_utilisation", "server_utilisation")
        of_each = zip(*(rounds[name].tolist() for name in names), strict=True)
        self._of_round = dict(zip(rounds["round"].tolist(), of_each, strict=True))

    def with_use(self, done: RoundDone) -> RoundDone:
        """Return a round with its figures."""
        uplink, downlink, server = self._of_round.get(done.round, (None, None, None))
        return replace(done, uplink_utilisation=uplink, downlink_utilisation=downlink, server_utilisation=server)


def _orders(played: Replay, scenario: Scenario) -> list[RoundOrder]:
    """Return what the plan of every round says; nothing where the plan cannot change."""
    if played.followed is None:
        return []
    orders = [RoundOrder(assignments_of(one, scenario), one.schedule) for one in played.followed.plans]
    return [orders[number] for number in played.followed.of_round]


def _round_shown(
    on_progress: Callable[[str, float], None],
    run: str,
    num_rounds: int,
    used: _Used,
    on_round: OnRound,
) -> Callable[[RoundDone], None]:
    """Return what shows a round that is done, and passes it on."""
    what = "" if run == PLAN else "frozen control, "

    def show(record: RoundDone) -> None:
        done = record.round + 1
        on_progress(f"{what}round {done}/{num_rounds}  {record.score_text}", done / num_rounds)
        on_round(run, used.with_use(record))

    return show
