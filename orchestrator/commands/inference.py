"""The same commands on an inference task."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from hybridsplit.orchestrator.commands.options import writing
from hybridsplit.orchestrator.console import print_json, progress_bar, stderr, stdout
from hybridsplit.scenarios.errors import UsageError

if TYPE_CHECKING:
    from hybridsplit.scenarios.inference.schema import InferenceScenario


def plan_apps(
    scenario: InferenceScenario,
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
    """
    from hybridsplit.orchestrator.inference.planning import open_inference_plan, plan_task

    earlier = open_inference_plan(warm_start) if warm_start is not None else None
    with progress_bar(f"planning {scenario.name}") as show:
        show(f"{strategy}, {len(scenario.apps)} apps", 0.0)
        made = plan_task(scenario, strategy, time_limit_s=time_limit_s, warm_start=earlier)
    if out is not None:
        writing(out, lambda: made.save(out))
    if report is not None:
        from hybridsplit.orchestrator.plan_report import apps_page
        from hybridsplit.scenarios.contracts.files import write_text_whole

        writing(report, lambda: write_text_whole(report, apps_page(made)))
    if as_json:
        print_json(made.document())
        return
    from hybridsplit.orchestrator.inference.views import app_table, device_table, inference_headline

    stdout().print(app_table(made))
    stdout().print(device_table(made))
    stdout().print(inference_headline(made), highlight=False, soft_wrap=True)
    if out is not None:
        stderr().print(f"plan written to {escape(str(out))}")
    if report is not None:
        stderr().print(f"report written to {escape(str(report))}")


def compare_app_strategies(scenario: InferenceScenario, names: list[str], *, train: bool, as_json: bool) -> None:
    """Compare strategies, and at nine pairs of link and reload rates.

    Parameters
    ----------
    scenario
        The scenario.
    names
        Strategies; all when empty.
    train, as_json
        Options of the command ``compare``.

    Raises
    ------
    UsageError
        If training is asked for.
    """
    if train:
        raise UsageError("--run trains, and nothing is trained in an inference task: leave it out")
    from hybridsplit.orchestrator.inference.comparing import compare_apps, rate_table
    from hybridsplit.solver.virtual_space.strategies import INFERENCE_STRATEGIES

    chosen = names or list(INFERENCE_STRATEGIES)
    with progress_bar(f"planning {scenario.name}") as show:
        rows, _ = compare_apps(scenario, chosen, show)
        cells = rate_table(scenario, show) if not names else []
    if as_json:
        print_json(
            {
                "scenario": scenario.name,
                "strategies": [row.model_dump(mode="json", exclude_none=True) for row in rows],
                "rates": [cell.model_dump(mode="json") for cell in cells],
            }
        )
        return
    from hybridsplit.orchestrator.inference.views import apps_comparison_table, rate_cells_table

    stdout().print(apps_comparison_table(rows))
    for row in rows:
        if row.infeasible is not None:
            stdout().print(escape(row.infeasible), highlight=False, soft_wrap=True)
    if cells:
        stdout().print(rate_cells_table(cells))
        stdout().print(
            "One of these ratios alone says nothing: they depend on the two rates more than on the planner.",
            highlight=False,
        )


def replay_apps(plan_file: Path, rounds: int | None, out: Path | None, *, has_traces: bool, as_json: bool) -> None:
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
            "--traces, --in-order, --absolute and --round are about rounds of training; the links of an inference task "
            "are constant: leave them out"
        )
    from hybridsplit.orchestrator.folder_choice import choose_folder
    from hybridsplit.orchestrator.inference.planning import open_inference_plan
    from hybridsplit.orchestrator.inference.replaying import ROUNDS, replay_task, save_replay, with_comparison

    plan = open_inference_plan(plan_file)
    folder = choose_folder(out, "", resume=False) if out is not None else None
    number = ROUNDS if rounds is None else rounds
    with progress_bar(f"replaying {plan.scenario['name']}") as show:
        show(f"{number} periods", 0.0)
        summary = replay_task(plan, number)
    if folder is not None:
        with progress_bar(f"comparing {plan.scenario['name']}") as show:
            compared = with_comparison(plan, summary, show)
        save_replay(folder, plan, compared)
    if as_json:
        document = summary.model_dump(mode="json", exclude={"strategies", "rates"})
        print_json(document if folder is None else document | {"report": str(folder.report)})
        return
    from hybridsplit.orchestrator.inference.views import replayed_table
    from hybridsplit.scenarios.units import format_seconds

    stdout().print(replayed_table(summary))
    stdout().print(
        f"{summary.rounds:,} periods of {format_seconds(summary.period_s)}, planned {format_seconds(plan.period_s)} "
        f"({summary.period_s / plan.period_s - 1:+.2%}), with {summary.frames_in_flight} of them under way at once",
        highlight=False,
    )
    if folder is not None:
        stdout().print(f"report: [bold]{escape(str(folder.report))}[/]", highlight=False, soft_wrap=True)


def profile_layers(scenario: InferenceScenario, out: Path | None, *, as_json: bool) -> None:
    """Show what each layer of every model takes of each kind of accelerator, and what is not supported.

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
        raise UsageError("--out writes the option table of training; an inference task has none: leave it out")
    from hybridsplit.profiler.accelerators.space import virtual_space

    if as_json:
        models = {
            app.model: {
                kind: [
                    {
                        "layer": name,
                        "seconds": None if index in costs.unsupported else float(costs.layer_s[index]),
                        "unsupported": list(costs.unsupported.get(index, ())),
                    }
                    for index, name in enumerate(app.layers)
                ]
                for kind, costs in app.by_kind.items()
            }
            for app in virtual_space(scenario).apps
        }
        print_json({"scenario": scenario.name, "models": models})
        return
    from hybridsplit.orchestrator.inference.views import layers_table

    for table in layers_table(scenario):
        stdout().print(table)
