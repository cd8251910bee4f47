"""What files and users are told of rounds whose plan could change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from hybridsplit.scenarios.contracts.attendance import Attendance
from hybridsplit.scenarios.contracts.ledger import LedgerEntry
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.errors import UsageError
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.units import counted, format_bytes, format_seconds

if TYPE_CHECKING:
    from hybridsplit.runtime.replay import Replay
    from hybridsplit.runtime.replay.changing import PlanSequence

_NAMED, _ROUNDS_NAMED, _NOTES = 4, 8, 12
"""Clients, rounds and changes that are named one by one."""


def planned_entries(plan: Plan, followed: PlanSequence | None, attendance: Attendance) -> Iterator[LedgerEntry]:
    """Yield the planned entries of the ledger: of every round, those of its plan.

    Parameters
    ----------
    plan, followed
        The plan, or the plans that rounds went by.
    attendance
        Who took part in which round.
    """
    if followed is None:
        yield from plan.ledger_entries(attendance.num_rounds, attendance)
        return
    for number, one in enumerate(followed.plans):
        own = Attendance(
            tuple(
                present if followed.of_round[index] == number else {} for index, present in enumerate(attendance.rounds)
            )
        )
        yield from one.ledger_entries(own.num_rounds, own)


def progress_of(plan: Plan, followed: PlanSequence | None, num_rounds: int) -> float:
    """Return the expected progress of all rounds together."""
    if followed is None:
        return plan.progress * num_rounds
    return sum(followed.plan_of(index).progress for index in range(num_rounds))


def changes_lines(followed: PlanSequence) -> Iterator[str]:
    """Yield a line a change of plan: when, why, whose placement changed, and what it moved."""
    for change in followed.changes:
        who = _named(change.changed)
        moved = (
            f"; {format_bytes(change.moved_bytes)} moved in {format_seconds(change.moving_s)}"
            if change.moved_bytes
            else "; nothing to move beyond the round's own download" * bool(change.changed)
        )
        yield (
            f"round {change.round}: another plan, since {change.reason}; expected to save "
            f"{change.expected_saving:.1%}, {who}{moved}"
        )


def _named(clients: Iterable[str]) -> str:
    named = list(clients)
    if not named:
        return "shares or urgencies alone change"
    more = f" and {counted(len(named) - _NAMED, 'other')}" if len(named) > _NAMED else ""
    return f"other placements for {', '.join(named[:_NAMED])}{more}"


def changes_line(followed: PlanSequence) -> str:
    """Say in one line how often the plan changed, and what that moved."""
    if not followed.changes:
        return "The plan could change between rounds, and never did."
    moved_bytes = sum(change.moved_bytes for change in followed.changes)
    moving_s = sum(change.moving_s for change in followed.changes)
    rounds = ", ".join(str(change.round) for change in followed.changes[:_ROUNDS_NAMED])
    more = ", ..." if len(followed.changes) > _ROUNDS_NAMED else ""
    cost = f"; {format_bytes(moved_bytes)} were moved in {format_seconds(moving_s)}" if moved_bytes else ""
    times, which = counted(len(followed.changes), "time"), "round" if len(followed.changes) == 1 else "rounds"
    return f"The plan changed {times}, before {which} {rounds}{more}{cost}."


def changes_notes(followed: PlanSequence | None) -> list[str]:
    """Return what the report and the summary say of changes of the plan; nothing where it could not change."""
    if followed is None:
        return []
    words = [f"{line[0].upper()}{line[1:]}." for line in changes_lines(followed)]
    more = len(words) - _NOTES
    return [changes_line(followed), *words[:_NOTES], *([f"And {counted(more, 'more change')}."] if more > 0 else [])]


def saved_line(plan: Plan, replayed: Replay, first: Replay) -> str:
    """Say what changing the plan saved over the same links.

    Parameters
    ----------
    plan, replayed
        The first plan, and the rounds whose plan changed.
    first
        The same rounds under the first plan throughout.
    """
    rounds = len(replayed.played)
    by_progress = plan.progress > 0 and "time-to" in plan.objective
    each = (
        (replayed.total_s / progress_of(plan, replayed.followed, rounds), first.total_s / (plan.progress * rounds))
        if by_progress
        else (replayed.total_s / rounds, first.total_s / rounds)
    )
    what = "a unit of progress" if by_progress else "a round"
    return (
        f"over the same links: {format_seconds(each[0])} {what}; under the first plan throughout "
        f"{format_seconds(each[1])} ({each[0] / each[1] - 1:+.1%})"
    )


def check_policy(scenario: Scenario) -> None:
    """Refuse to train by a policy that knows what is to come.

    Raises
    ------
    UsageError
        If the scenario has it.
    """
    replanning = scenario.training.replanning
    if replanning is not None and replanning.policy == "oracle":
        raise UsageError(
            "training.replanning.policy: found 'oracle', which knows recordings ahead and is for 'hybridsplit replay' "
            "alone: it shows what there is to gain; needs on-change, every-n or static to train"
        )


def predicted_peaks(plan: Plan, followed: PlanSequence | None) -> list[int]:
    """Return the predicted peak of every client of a plan; where it could change, the largest of its plans."""
    plans = (plan,) if followed is None else followed.plans
    return [max(peaks) for peaks in zip(*([c.client_peak_bytes for c in one.clients] for one in plans), strict=True)]
