"""Replay a plan's network without training, and write what was found."""

from __future__ import annotations

from typing import Any

from hybridsplit.orchestrator.ledger_sums import LedgerSums
from hybridsplit.orchestrator.memory_words import levels_line
from hybridsplit.orchestrator.replanning.words import changes_notes, planned_entries, saved_line
from hybridsplit.orchestrator.results import Replayed
from hybridsplit.orchestrator.run_folder import RunFolder
from hybridsplit.orchestrator.summary import summarise
from hybridsplit.orchestrator.writing import writing_to
from hybridsplit.runtime.data.participation import draw_attendance
from hybridsplit.runtime.replay import replay
from hybridsplit.runtime.replay.disciplined import check_disciplines, plan_under
from hybridsplit.scenarios.contracts.disciplines import BY_PLAN, Disciplines
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.schema import Scenario


def replay_plan(
    plan: Plan,
    scenario: Scenario,
    folder: RunFolder | None,
    num_rounds: int,
    traces: Any = None,
    *,
    in_order: bool = False,
    absolute: bool = False,
    round_shown: int | None = None,
    disciplines: Disciplines = BY_PLAN,
) -> Replayed:
    """Replay a plan's network without training.

    Parameters
    ----------
    plan, scenario
        The plan, its figures derived again, and the scenario inside it: what
        :func:`hybridsplit.orchestrator.plan_file.read_plan` returns.
    folder
        Where to write the run's files with its report; None writes nothing.
    num_rounds
        Rounds to replay.
    traces
        Recorded bandwidth by client; those of the scenario when None.
    in_order
        Whether recordings run on from round to round, from their start, instead of each round being a window that is
        drawn.
    absolute
        Whether a recording's rates are those of the client's link, instead of modulating what its share gives.
    round_shown
        The round that the report shows in time, from 0; the typical one when None.
    disciplines
        By what server and radio serve.

    Returns
    -------
    The final figures, and what they are made from.
    """
    attendance = draw_attendance(scenario, [client.id for client in plan.clients], num_rounds)
    saved = ""
    served = None if disciplines.are_planned else disciplines
    if served is not None:
        check_disciplines(plan, scenario, served, traces or {}, uses_recorded_rates=absolute)
    if scenario.training.changes_plans:
        # late: a plan that does not change is replayed without what plans
        from hybridsplit.orchestrator.replanning.following import Following
        from hybridsplit.profiler.options import profile_scenario

        following = Following(
            plan, scenario, profile_scenario(scenario), traces, in_order=in_order, absolute=absolute
        )  # fmt: skip
        replayed = following.replay(attendance)
        saved = saved_line(plan, replayed, following.replay_first_plan(attendance))
        entries = [*planned_entries(plan, replayed.followed, attendance), *replayed.entries]
        sums = LedgerSums.of_entries(entries)
    else:
        replayed = replay(
            plan, scenario, num_rounds=num_rounds, attendance=attendance, traces=traces,
            samples_windows=not in_order, uses_recorded_rates=absolute, disciplines=served,
        )  # fmt: skip
        sums = LedgerSums.of_replay(plan, attendance, replayed)
    followed = replayed.followed
    memory = levels_line(plan, replayed)
    summary = summarise(plan, sums, None, None, {}, replayed.distinct_windows, memory, served)
    if followed is not None:
        notes = (*summary.notes, *changes_notes(followed), f"{saved[0].upper()}{saved[1:]}.")
        summary = summary.model_copy(update={"notes": notes})
    found = Replayed(
        summary,
        sums,
        lambda: [*planned_entries(plan, followed, attendance), *replayed.entries],
        memory,
        followed,
        saved,
    )
    if folder is not None:
        # late: a replay that writes nothing needs no report
        from hybridsplit.orchestrator.pipeline import write_report
        from hybridsplit.orchestrator.timeline.rounds import replayed_rounds

        folder.create()
        with writing_to(folder.path, "free some space, or give another folder with --out"):
            folder.save_scenario(scenario)
            folder.save_plan(plan)
            ledger = found.ledger
            folder.save_ledger(ledger)
            folder.save_rounds(replayed_rounds(plan_under(plan, served), ledger, followed), "replay")
            folder.save_followed(followed)
            folder.save_summary(summary)
            folder.list_all()
        write_report(folder, round_shown=round_shown)
    return found
