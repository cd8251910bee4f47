"""The same commands on a model that is cut several times."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from hybridsplit.orchestrator.commands.options import writing
from hybridsplit.orchestrator.console import print_before_work, print_json, progress_bar, stderr, stdout
from hybridsplit.scenarios.errors import UsageError

if TYPE_CHECKING:
    from hybridsplit.orchestrator.logs.opening import RoundLogs
    from hybridsplit.orchestrator.pipeline import RunSettings
    from hybridsplit.orchestrator.relays.planning import ComparedRelays
    from hybridsplit.scenarios.relays.schema import RelayScenario


def plan_over_relays(
    scenario: RelayScenario,
    strategy: str,
    out: Path | None,
    report: Path | None,
    time_limit_s: float | None,
    warm_start: Path | None,
    *,
    as_json: bool,
) -> None:
    """Plan, write the plan where asked, and show it.

    Parameters
    ----------
    scenario
        The scenario.
    strategy, out, report, time_limit_s, warm_start, as_json
        Options of the command ``plan``.

    Raises
    ------
    UsageError
        If an earlier plan is given.
    """
    if warm_start is not None:
        raise UsageError("--warm-start: a search over relays starts from placements of its own; leave it out")
    from hybridsplit.orchestrator.relays.planning import plan_relays

    with progress_bar(f"planning {scenario.name}") as show:
        made = plan_relays(scenario, strategy, time_limit_s=time_limit_s, on_progress=show)
    if out is not None:
        writing(out, lambda: made.save(out))
    if report is not None:
        from hybridsplit.orchestrator.relays.replaying import replay_relays
        from hybridsplit.orchestrator.relays.report import render_relay_report
        from hybridsplit.scenarios.contracts.files import write_text_whole

        writing(report, lambda: write_text_whole(report, render_relay_report(made, replay_relays(made, None))))
    if as_json:
        print_json(made.document())
        return
    from hybridsplit.orchestrator.relays.stage_views import stage_tables
    from hybridsplit.orchestrator.relays.views import machines_table, placement_table, relay_headline

    stdout().print(placement_table(made))
    for table in stage_tables(made):
        stdout().print(table)
    if made.busy_s:
        stdout().print(machines_table(made))
    stdout().print(escape(relay_headline(made)), highlight=False, soft_wrap=True)
    if out is not None:
        stderr().print(f"plan written to {escape(str(out))}")
    if report is not None:
        stderr().print(f"report written to {escape(str(report))}")


def run_over_relays(
    scenario: RelayScenario,
    plan_file: Path | None,
    strategy: str | None,
    settings: RunSettings,
    out: Path | None,
    log: list[str],
    *,
    as_json: bool,
) -> None:
    """Train by a plan, made now or given, and report.

    Parameters
    ----------
    scenario
        The scenario.
    plan_file, strategy, out, log, as_json
        Options of the command ``run``.
    settings
        Executor, workers, rounds, and whether to resume.
    """
    from hybridsplit.orchestrator.folder_choice import choose_folder
    from hybridsplit.orchestrator.logs.opening import RoundLogs
    from hybridsplit.orchestrator.relays.planning import open_relay_plan
    from hybridsplit.orchestrator.relays.running import plan_of_run, run_relays
    from hybridsplit.orchestrator.relays.views import placement_table, relay_headline, replay_line, training_lines
    from hybridsplit.orchestrator.training import PLAN
    from hybridsplit.solver.relays.strategies import OPTIMAL, find_relay_strategy

    chosen = strategy or OPTIMAL
    find_relay_strategy(chosen)
    folder = choose_folder(out.resolve() if out is not None else None, scenario.name, resume=settings.resume)
    with folder.claimed():
        with progress_bar(f"planning {scenario.name}") as show:
            given = None if plan_file is None else open_relay_plan(plan_file)
            plan = plan_of_run(
                scenario, folder, given, str(plan_file), chosen, resume=settings.resume, on_progress=show
            )
        if not as_json:
            print_before_work(placement_table(plan), relay_headline(plan), where=str(folder.path))
        with RoundLogs(log, scenario.name) as logs, progress_bar(f"training {scenario.name}") as show:
            written = partial(logs.of(plan), PLAN)
            summary = run_relays(scenario, plan, folder, settings, show, on_round=written)
    if as_json:
        document = summary.model_dump(mode="json", exclude={"strategies", "intervals"})
        print_json(document | {"report": str(folder.report)})
        return
    for line in (*training_lines(summary), replay_line(summary, plan)):
        stdout().print(escape(line), highlight=False, soft_wrap=True)
    stdout().print(f"report: [bold]{escape(str(folder.report))}[/]", highlight=False, soft_wrap=True)


def compare_over_relays(
    scenario: RelayScenario,
    names: list[str],
    settings: RunSettings | None,
    seeds: int | None,
    out: Path | None,
    log: list[str],
    *,
    as_json: bool,
) -> None:
    """Compare strategies.

    Parameters
    ----------
    scenario
        The scenario.
    names
        Strategies; all when empty.
    settings
        How to train by the plan of each; they are only planned when None.
    seeds, out, log, as_json
        Options of the command ``compare``.
    """
    from hybridsplit.orchestrator.relays.planning import compare_relays
    from hybridsplit.solver.relays.strategies import RELAY_STRATEGIES

    asked = names or list(RELAY_STRATEGIES)
    if settings is None:
        with progress_bar(f"planning {scenario.name}") as show:
            rows = compare_relays(scenario, asked, show)
    else:
        from hybridsplit.orchestrator.logs.opening import RoundLogs
        from hybridsplit.orchestrator.relays.running import train_strategies

        with RoundLogs(log, scenario.name) as logs:
            if seeds is not None:
                _compare_over_seeds(scenario, asked, settings, seeds, out, logs, as_json=as_json)
                return
            with progress_bar(f"training {scenario.name}") as show:
                rows = train_strategies(scenario, asked, settings, show, logs.of)
    if as_json:
        values = [row.model_dump(mode="json", exclude_none=True) for row in rows]
        print_json({"scenario": scenario.name, "strategies": values})
        return
    from hybridsplit.orchestrator.relays.views import relays_comparison_table

    stdout().print(relays_comparison_table(rows))
    for line in _without_plans(rows):
        stdout().print(escape(line), highlight=False, soft_wrap=True)


def _compare_over_seeds(
    scenario: RelayScenario,
    asked: list[str],
    settings: RunSettings,
    seeds: int,
    out: Path | None,
    logs: RoundLogs,
    *,
    as_json: bool,
) -> None:
    from hybridsplit.orchestrator.commands.seeds import compare_over_seeds
    from hybridsplit.orchestrator.relays.planning import plans_by_strategy
    from hybridsplit.orchestrator.relays.running import check_trains
    from hybridsplit.orchestrator.relays.seed_runs import relays_over_seeds

    check_trains(scenario)
    with progress_bar(f"planning {scenario.name}") as show:
        rows, plans = plans_by_strategy(scenario, asked, show)
    wanted = partial(relays_over_seeds, scenario, plans)
    compare_over_seeds(scenario, seeds, wanted, _without_plans(rows), settings, out, logs, as_json=as_json)


def _without_plans(rows: list[ComparedRelays]) -> list[str]:
    return [f"{row.strategy}: {row.infeasible}" for row in rows if row.infeasible is not None]


def replay_over_relays(
    plan_file: Path, rounds: int | None, out: Path | None, *, has_traces: bool, as_json: bool
) -> None:
    """Replay a plan, and keep plan, figures and report where asked.

    Parameters
    ----------
    plan_file
        The plan.
    rounds, out, as_json
        Options of the command ``replay``.
    has_traces
        Whether recordings of links were given.

    Raises
    ------
    UsageError
        If recordings were given.
    """
    if has_traces:
        raise UsageError(
            "--traces, --in-order, --absolute and --round are about one shared radio; the links of a network of relays "
            "are constant: leave them out"
        )
    from hybridsplit.orchestrator.folder_choice import choose_folder
    from hybridsplit.orchestrator.relays.planning import compare_relays, open_relay_plan
    from hybridsplit.orchestrator.relays.replaying import replay_relays, save_relay_folder

    with progress_bar("replaying") as show:
        show("checking the plan", 0.0)
        plan = open_relay_plan(plan_file)
        folder = choose_folder(out, "", resume=False) if out is not None else None
        show(str(plan.scenario["name"]), 0.3)
        summary = replay_relays(plan, rounds)
    if folder is not None:
        from hybridsplit.scenarios.relays.loading import validate_relays
        from hybridsplit.solver.relays.strategies import RELAY_STRATEGIES

        with progress_bar("comparing") as show:
            rows = compare_relays(validate_relays(plan.scenario, str(plan_file)), list(RELAY_STRATEGIES), show)
        save_relay_folder(folder, plan, summary.model_copy(update={"strategies": tuple(rows)}))
    if as_json:
        document = summary.model_dump(mode="json", exclude={"strategies", "intervals"})
        print_json(document if folder is None else document | {"report": str(folder.report)})
        return
    from hybridsplit.orchestrator.relays.views import replay_line

    stdout().print(escape(replay_line(summary, plan)), highlight=False, soft_wrap=True)
    if folder is not None:
        stdout().print(f"report: [bold]{escape(str(folder.report))}[/]", highlight=False, soft_wrap=True)


def profile_blocks(scenario: RelayScenario, out: Path | None, *, as_json: bool) -> None:
    """Show what every block costs on every device, and what crosses behind it.

    Parameters
    ----------
    scenario
        The scenario.
    out, as_json
        Options of the command ``profile``.

    Raises
    ------
    UsageError
        If a file is asked for.
    """
    if out is not None:
        raise UsageError("--out and --picture are about the options of one cut, and relays have none: leave them out")
    from hybridsplit.profiler.relays import relay_costs

    with progress_bar(f"profiling {scenario.name}") as show:
        costs = relay_costs(scenario, show)
    if as_json:
        parts = {
            str(number): {
                "forward_s": {name: values.tolist() for name, values in part.forward_s.items()},
                "backward_s": {name: values.tolist() for name, values in part.backward_s.items()},
                "sent_bytes": part.sent_bytes.tolist(),
                "returned_bytes": part.returned_bytes.tolist(),
            }
            for number, part in costs.by_micro_batches.items()
        }
        print_json({"scenario": scenario.name, "blocks": list(costs.kinds), "by_micro_batches": parts})
        return
    from hybridsplit.orchestrator.relays.views import blocks_table

    stdout().print(blocks_table(costs))
