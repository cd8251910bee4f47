"""Decide: one plan, a front of plans."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from hybridsplit.orchestrator.commands.options import (
    AddressOption,
    JsonOption,
    ParetoAxis,
    ParetoLatency,
    ScenarioArgument,
    SetOption,
    StrategyOption,
    load_and_profile,
    profile_loaded,
    writing,
)
from hybridsplit.orchestrator.console import print_json, progress_bar, reports_errors, stderr, stdout

if TYPE_CHECKING:
    from collections.abc import Callable

    from hybridsplit.orchestrator.studies.front import ParetoFront
    from hybridsplit.scenarios.schema import Scenario
    from hybridsplit.solver.search.search_state import SearchState
    from hybridsplit.solver.strategies import Strategy


@reports_errors
def plan(
    scenario: ScenarioArgument,
    strategy: StrategyOption = "optimal",
    out: Annotated[Path | None, typer.Option("--out", metavar="plan.json", help="Write the plan here.")] = None,
    time_limit_s: Annotated[
        float | None,
        typer.Option("--time-limit", metavar="SECONDS", min=0.0, help="Take the best verified plan found by then."),
    ] = None,
    warm_start: Annotated[
        Path | None, typer.Option("--warm-start", metavar="plan.json", help="Begin the search from this plan.")
    ] = None,
    traces: Annotated[
        Path | None,
        typer.Option(
            "--traces", metavar="DIR", help="Recordings dealt to the clients, with objective.links: recorded."
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="F.html", help="Write the plan's report here.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, help="Search in parts, in so many Ray processes; with --strategy static."),
    ] = None,
    address: AddressOption = None,
    parts: Annotated[
        Path | None,
        typer.Option("--parts", metavar="F.json", help="With --workers: keep the parts here, and go on from them."),
    ] = None,
    every_client: Annotated[
        bool, typer.Option("--all", help="Print a row for every client, and every reason, however many there are.")
    ] = False,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Choose cut, mode and shares for every client, with a lower bound beside the plan."""
    from hybridsplit.scenarios.errors import UsageError
    from hybridsplit.scenarios.loader import load_task
    from hybridsplit.scenarios.schema import Scenario

    if workers is None and (address is not None or parts is not None):
        raise UsageError("--address and --parts are about a search in parts: add --workers N, or leave them out")
    if workers is not None and strategy != "static":
        raise UsageError(
            f"--workers: found the strategy {strategy}; the search for constant shares is the one that is done in "
            "parts: add --strategy static, or leave --workers out"
        )
    loaded = load_task(scenario, overrides or [])
    if not isinstance(loaded, Scenario):
        if traces is not None:
            raise UsageError("--traces: the links of this kind of task are constant; leave it out")
        if workers is not None:
            raise UsageError("--workers: plans of this kind of task are not searched in parts; leave it out")
        from hybridsplit.scenarios.relays.schema import RelayScenario

        if isinstance(loaded, RelayScenario):
            from hybridsplit.orchestrator.commands.relays import plan_over_relays

            plan_over_relays(loaded, strategy, out, report, time_limit_s, warm_start, as_json=as_json)
            return
        from hybridsplit.orchestrator.commands.inference import plan_apps

        plan_apps(loaded, strategy, out, report, time_limit_s, warm_start, as_json=as_json)
        return
    options = profile_loaded(loaded, [strategy])
    from hybridsplit.orchestrator.planned import plan_as_asked

    earlier = None
    if warm_start is not None:
        from hybridsplit.orchestrator.run_folder import open_plan  # late: it brings the replay along

        earlier = open_plan(warm_start)[0]
    with progress_bar(f"planning {loaded.name}") as show:
        show(f"{strategy}, {loaded.num_clients} clients", 0.0)
        how = strategy if workers is None else _in_parts(loaded, workers, address, parts, show)
        made = plan_as_asked(
            loaded, options, how, recordings=traces, time_limit_s=time_limit_s, warm_start=earlier,
            on_progress=show,
        )  # fmt: skip
    if out is not None:
        with progress_bar(f"writing {out.name}") as show:
            show(f"{loaded.num_clients} clients", 0.0)
            writing(out, lambda: made.save(out))
    if report is not None:
        from hybridsplit.orchestrator.plan_report import plan_page
        from hybridsplit.scenarios.contracts.files import write_text_whole

        with progress_bar(f"drawing {report.name}") as show:
            show(f"{loaded.num_clients} clients", 0.0)
            writing(report, lambda: write_text_whole(report, plan_page(loaded, options, made)))
    if as_json:
        print_json(made.document())
        return
    from hybridsplit.orchestrator.views.tables import plan_headline, plan_table

    stdout().print(plan_table(made, shortens=not every_client))
    stdout().print(plan_headline(made, shortens=not every_client), highlight=False)
    if out is not None:
        stderr().print(f"plan written to {escape(str(out))}")
    if report is not None:
        stderr().print(f"report written to {escape(str(report))}")


def _in_parts(
    scenario: Scenario, workers: int, address: str | None, parts: Path | None, show: Callable[[str, float], None]
) -> Strategy:
    """Return the strategy of constant shares that searches in parts, and shows how far it is."""
    from hybridsplit.orchestrator.studies.distributed import Parts, SearchInParts
    from hybridsplit.scenarios.errors import UsageError
    from hybridsplit.scenarios.units import counted

    if any(group.memory_trace is not None for group in scenario.clients):
        raise UsageError("--workers: plans for memory that moves are made in several searches; leave it out")

    def on_progress(state: SearchState) -> None:
        done, still = len(state.closed), len(state.open)
        show(f"{counted(done, 'part')} of the search done, {still:,} open, gap {state.gap:.1e}", done / (done + still))

    return SearchInParts(Parts(workers, address, parts), on_progress)


@reports_errors
def pareto(
    scenario: ScenarioArgument,
    x: Annotated[ParetoAxis, typer.Option("--x", help="What is traded against latency.")] = ParetoAxis.MEMORY,
    y: Annotated[ParetoLatency, typer.Option("--y", help="The other axis.")] = ParetoLatency.LATENCY,
    points: Annotated[int, typer.Option("--points", min=2, max=200, help="Points of the front.")] = 12,
    out: Annotated[Path | None, typer.Option("--out", metavar="F.json", help="Write the front here.")] = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Trade latency against memory, energy or progress: every point is a plan with its bound."""
    import json

    from hybridsplit.orchestrator.studies.front import front_document
    from hybridsplit.scenarios.contracts.files import write_text_whole
    from hybridsplit.scenarios.loader import load_task
    from hybridsplit.scenarios.relays.schema import RelayScenario

    task = load_task(scenario, overrides or [])
    if isinstance(task, RelayScenario):
        from hybridsplit.orchestrator.relays.pareto import relay_front

        front_of: Callable[[Callable[[float], None]], ParetoFront] = partial(relay_front, task, x.value, points)
    else:
        loaded, options = load_and_profile(scenario, overrides)
        from hybridsplit.orchestrator.studies.pareto import pareto_front

        front_of = partial(pareto_front, loaded, options, x.value, points)
    with progress_bar(f"planning {task.name}") as show:
        front = front_of(lambda done: show(f"{x.value} against {y.value}", done))
    document = front_document(front)
    if out is not None:
        writing(out, lambda: write_text_whole(out, json.dumps(document, indent=1) + "\n"))
    if as_json:
        print_json(document)
        return
    from hybridsplit.orchestrator.views.tables import pareto_table

    stdout().print(pareto_table(document))
    stdout().print(
        f"hypervolume {document['hypervolume']:.4f} (certified between that and "
        f"{document['hypervolume_bound']:.4f}) of the unit square between the best and the worst of both",
        highlight=False,
    )
    if out is not None:
        stderr().print(f"front written to {escape(str(out))}")
