"""The ``hybridsplit`` command line (DESIGN section 8).

Heavy packages are imported inside the commands that need them, so that ``--help`` answers at once and ``plan`` never
imports Ray.
"""

from __future__ import annotations

import io
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from orchestrator.console import print_json, progress_bar, reports_errors, stderr, stdout

if TYPE_CHECKING:
    from scenarios.contracts.options import OptionTable
    from scenarios.schema import Scenario

app = typer.Typer(
    name="hybridsplit",
    help="Plan and run hybrid-order split learning over heterogeneous edge devices, from one YAML scenario.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


class ExecutorName(StrEnum):
    """Executors of ``run``."""

    INLINE = "inline"
    RAY = "ray"


class ParetoAxis(StrEnum):
    """What ``pareto`` trades against latency."""

    MEMORY = "memory"
    ENERGY = "energy"
    PROGRESS = "progress"


class ParetoLatency(StrEnum):
    """The other axis of ``pareto``."""

    LATENCY = "latency"


def _complete_scenario(incomplete: str) -> list[str]:
    from scenarios.loader import builtin_names

    return [name for name in builtin_names() if name.startswith(incomplete)]


def _complete_strategy(incomplete: str) -> list[str]:
    from solver.strategies import STRATEGIES

    return [name for name in STRATEGIES if name.startswith(incomplete)]


ScenarioArgument = Annotated[
    str,
    typer.Argument(metavar="SCENARIO", help="Built-in name or path of a YAML file.", autocompletion=_complete_scenario),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY.PATH=VALUE", help="Override any key; repeatable. Client groups go by index or name."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]
StrategyOption = Annotated[
    str, typer.Option("--strategy", metavar="NAME", help="How to plan.", autocompletion=_complete_strategy)
]
ChosenStrategyOption = Annotated[
    str | None,
    typer.Option(
        "--strategy", metavar="NAME", help="How to plan; optimal by default.", autocompletion=_complete_strategy
    ),
]

ExecutorOption = Annotated[
    ExecutorName, typer.Option("--executor", help="Train in this process, or on a local Ray cluster.")
]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", min=1, help="Ray worker processes; one a core by default.")
]


def _version(show: bool) -> None:
    if show:
        from importlib.metadata import version

        typer.echo(f"hybridsplit {version('hybridsplit')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Plan and run hybrid-order split learning over heterogeneous edge devices, from one YAML scenario."""


@app.command()
@reports_errors
def scenarios(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="Print this built-in scenario.", autocompletion=_complete_scenario),
    ] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of scenarios, for editors.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the built-in scenarios, print one, or print the JSON Schema."""
    from scenarios import loader

    if schema:
        print_json(loader.json_schema())
    elif name is not None:
        scenario = loader.load_scenario(name)
        if as_json:
            print_json(scenario.resolved())
        elif name in loader.builtin_names():
            typer.echo(loader.builtin_text(name), nl=False)
        else:
            import yaml

            typer.echo(yaml.safe_dump(scenario.resolved(), sort_keys=False, allow_unicode=True), nl=False)
    else:
        loaded = [loader.load_scenario(builtin) for builtin in loader.builtin_names()]
        if as_json:
            print_json([{"name": s.name, "clients": s.num_clients, "description": s.description} for s in loaded])
            return
        from rich.table import Table

        table = Table("name", "clients", "what it shows", title="Built-in scenarios", title_justify="left")
        for scenario in loaded:
            table.add_row(scenario.name, str(scenario.num_clients), escape(scenario.description.strip()))
        stdout().print(table)


@app.command()
@reports_errors
def profile(
    scenario: ScenarioArgument = "quickstart",
    out: Annotated[Path | None, typer.Option("--out", metavar="F.parquet", help="Write the option table here.")] = None,
    picture: Annotated[
        Path | None, typer.Option("--picture", metavar="F.html", help="Draw memory by cut and mode here.")
    ] = None,
    machine: Annotated[
        bool, typer.Option("--machine", help="Measure this computer instead, with the scenario's model.")
    ] = False,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Profile what every cut and mode costs each client: the option table."""
    if machine:
        _profile_machine(scenario, out, overrides, as_json)
        return
    loaded, options = _load_and_profile(scenario, overrides, quiet=as_json)
    if out is not None:
        _writing(out, lambda: options.save(out))
    if picture is not None:
        from orchestrator.report.memory_by_cut import memory_page
        from scenarios.contracts.files import write_text_whole

        _writing(picture, lambda: write_text_whole(picture, memory_page(loaded.name, options)))
    if as_json:
        rows = [
            {key: None if value != value else value for key, value in row.items()}  # NaN: unknown
            for row in options.table.to_dict(orient="records")
        ]
        print_json({"scenario": loaded.name, "options": rows})
        return
    from orchestrator.pipeline import explain_memory
    from orchestrator.profile_view import breakdown_table, fits_table, memory_chart

    stdout().print(fits_table(options, loaded.training.local_steps))
    stdout().print(breakdown_table(explain_memory(loaded, options)))
    stdout().print(memory_chart(options))
    if out is not None:
        stderr().print(f"option table written to {escape(str(out))}")
    if picture is not None:
        stderr().print(f"picture written to {escape(str(picture))}")


@app.command()
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
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Choose cut, mode and shares for every client, with a lower bound beside the plan."""
    from solver.strategies import find_strategy

    find_strategy(strategy)
    loaded, options = _load_and_profile(scenario, overrides, quiet=as_json)
    from scenarios.contracts.plan import Plan
    from solver.planner import make_plan

    earlier = Plan.load(warm_start) if warm_start is not None else None
    with progress_bar("planning", quiet=as_json) as show:
        show(strategy, 0.0)
        made = make_plan(loaded, options, strategy, time_limit_s=time_limit_s, warm_start=earlier)
    if out is not None:
        _writing(out, lambda: made.save(out))
    if as_json:
        print_json(made.model_dump(mode="json"))
        return
    from orchestrator.tables import plan_headline, plan_table

    stdout().print(plan_table(made))
    stdout().print(plan_headline(made), highlight=False)
    if out is not None:
        stderr().print(f"plan written to {escape(str(out))}")


@app.command()
@reports_errors
def run(
    scenario: ScenarioArgument,
    plan_file: Annotated[
        Path | None, typer.Option("--plan", metavar="plan.json", help="Use this plan instead of planning.")
    ] = None,
    strategy: ChosenStrategyOption = None,
    rounds: Annotated[
        int | None, typer.Option("--rounds", min=1, max=1_000_000, help="Rounds; the scenario's by default.")
    ] = None,
    executor: ExecutorOption = ExecutorName.RAY,
    workers: WorkersOption = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Run folder; runs/NAME by default.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the last complete round.")] = False,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train by the plan while the network is replayed, and report."""
    from orchestrator import pipeline
    from orchestrator.run_folder import choose_folder
    from scenarios.contracts.plan import Plan
    from scenarios.errors import UsageError
    from scenarios.loader import load_scenario
    from solver.strategies import find_strategy

    if strategy is not None and (resume or plan_file is not None):
        raise UsageError("--strategy makes a plan, and --resume and --plan bring one: leave --strategy out")
    chosen = find_strategy(strategy or "optimal").name
    loaded = load_scenario(scenario, overrides or [])
    folder = choose_folder(out.resolve() if out is not None else None, loaded.name, resume=resume)
    given = Plan.load(plan_file) if plan_file is not None else None
    if resume:
        begun = folder.plan()
        if given is not None and given.clients != begun.clients:
            raise UsageError(f"{plan_file}: this run began with another plan; leave --plan out to resume it")
        given = begun
    if given is not None:
        pipeline.check_same_scenario(given, loaded, str(plan_file or folder.path / "plan.json"))
    pipeline.check_data(loaded)
    with progress_bar("profiling", quiet=as_json) as show:
        options = pipeline.make_options(loaded, show)
    if given is not None:
        from solver.verify import verify_plan

        verify_plan(given, loaded, options)
    else:
        from solver.planner import make_plan

        with progress_bar("planning", quiet=as_json) as show:
            show(chosen, 0.0)
            given = make_plan(loaded, options, chosen)
    if not as_json:
        from orchestrator.tables import plan_headline, plan_table

        stdout().print(plan_table(given))
        stdout().print(plan_headline(given), highlight=False)
    settings = pipeline.RunSettings(executor.value, workers or pipeline.default_workers(), rounds, resume)
    with progress_bar("training", quiet=as_json) as show:
        summary = pipeline.run_plan(loaded, options, given, folder, settings, show)
    if as_json:
        print_json(summary)
        return
    _print_run(summary, folder)


def _print_run(summary: dict[str, Any], folder: Any) -> None:
    from orchestrator.tables import memory_line, truth_table
    from scenarios.units import format_seconds

    stdout().print(truth_table(folder.ledger()))
    stdout().print(memory_line(folder.plan(), summary["peak_bytes"]), highlight=False)
    line = f"test accuracy [bold]{summary['test_accuracy']:.1%}[/] after {summary['num_rounds']} rounds"
    if summary["frozen_control_accuracy"] is not None:
        line += f" (all client parts frozen: {summary['frozen_control_accuracy']:.1%})"
    stdout().print(f"{line}, {format_seconds(summary['simulated_s'])} of simulated time", highlight=False)
    stdout().print(f"report: [bold]{escape(str(summary['report']))}[/]", highlight=False, soft_wrap=True)


@app.command()
@reports_errors
def replay(
    plan_file: Annotated[Path, typer.Argument(metavar="PLAN", help="A plan.json.")],
    traces: Annotated[
        Path | None,
        typer.Option("--traces", metavar="DIR", help="Folder of recorded bandwidth traces, dealt to the clients."),
    ] = None,
    rounds: Annotated[int, typer.Option("--rounds", min=1, max=1_000_000, help="Rounds to replay.")] = 1,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Write ledger and report here.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Replay a plan's network over constant or recorded links, without training."""
    import tempfile

    from orchestrator import pipeline
    from orchestrator.run_folder import RunFolder, choose_folder
    from orchestrator.tables import truth_table
    from runtime.replay import assign_traces
    from scenarios.contracts.plan import Plan
    from scenarios.units import format_seconds

    loaded = Plan.load(plan_file)
    dealt = None
    if traces is not None:
        dealt = assign_traces(traces, [client.id for client in loaded.clients], int(loaded.scenario.get("seed", 0)))
    with tempfile.TemporaryDirectory(prefix="hybridsplit-") as scratch:
        folder = choose_folder(out, "", resume=False) if out is not None else RunFolder(Path(scratch))
        summary = pipeline.replay_plan(loaded, folder, rounds, dealt)
        if out is None:
            summary.pop("report")
        if as_json:
            print_json(summary)
            return
        stdout().print(truth_table(folder.ledger()))
    planned_s, total_s = loaded.round_latency_s, summary["simulated_s"]
    stdout().print(
        f"{rounds} rounds in {format_seconds(total_s)}: {format_seconds(total_s / rounds)} a round, "
        f"planned {format_seconds(planned_s)} "
        f"({total_s / rounds / planned_s - 1:+.2%})",
        highlight=False,
    )
    if out is not None:
        stdout().print(f"report: [bold]{escape(summary['report'])}[/]", highlight=False, soft_wrap=True)


@app.command()
@reports_errors
def compare(
    scenario: ScenarioArgument,
    strategies: Annotated[
        str | None, typer.Option("--strategies", metavar="A,B,...", help="Strategies; all by default.")
    ] = None,
    train: Annotated[bool, typer.Option("--run", help="Also train with each plan and compare accuracy.")] = False,
    executor: ExecutorOption = ExecutorName.RAY,
    workers: WorkersOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare strategies on the same problem, and say where the difference comes from."""
    from solver.strategies import STRATEGIES, find_strategy

    names = [name.strip() for name in strategies.split(",") if name.strip()] if strategies else list(STRATEGIES)
    for name in names:
        find_strategy(name)
    loaded, options = _load_and_profile(scenario, overrides, quiet=as_json)
    from orchestrator.compare import compare_plans, decompose_against_uniform, train_plans

    with progress_bar("planning", quiet=as_json) as show:
        show(", ".join(names), 0.0)
        rows, plans = compare_plans(loaded, options, names)
        steps = decompose_against_uniform(loaded, options)
    if train:
        from orchestrator.pipeline import RunSettings, default_workers

        settings = RunSettings(executor.value, workers or default_workers())
        with progress_bar("training", quiet=as_json) as show:
            train_plans(loaded, options, plans, rows, settings, show)
    if as_json:
        print_json({"scenario": loaded.name, "strategies": rows, "decomposition": steps})
        return
    from orchestrator.tables import comparison_table, decomposition_table, infeasible_lines

    stdout().print(comparison_table(rows))
    for line in infeasible_lines(rows):
        stdout().print(line, highlight=False, soft_wrap=True)
    stdout().print(decomposition_table(steps))


@app.command()
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

    loaded, options = _load_and_profile(scenario, overrides, quiet=as_json)
    from orchestrator.pareto import front_document, pareto_front
    from scenarios.contracts.files import write_text_whole

    with progress_bar("planning", quiet=as_json) as show:
        front = pareto_front(loaded, options, x.value, points, lambda done: show(f"{x.value} against {y.value}", done))
    document = front_document(loaded, front)
    if out is not None:
        _writing(out, lambda: write_text_whole(out, json.dumps(document, indent=1) + "\n"))
    if as_json:
        print_json(document)
        return
    from orchestrator.tables import pareto_table

    stdout().print(pareto_table(document))
    stdout().print(
        f"hypervolume {document['hypervolume']:.4f} (certified between that and "
        f"{document['hypervolume_bound']:.4f}) of "
        "the unit square between the best and the worst of both",
        highlight=False,
    )
    if out is not None:
        stderr().print(f"front written to {escape(str(out))}")


@app.command()
@reports_errors
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A run folder.")],
    as_json: JsonOption = False,
) -> None:
    """Render the HTML report of a run folder again."""
    from orchestrator.pipeline import write_report
    from orchestrator.run_folder import RunFolder

    path = write_report(RunFolder(folder.resolve()))
    if as_json:
        print_json({"report": str(path)})
    else:
        stdout().print(f"report: [bold]{escape(str(path))}[/]", highlight=False, soft_wrap=True)


def _profile_machine(scenario: str, out: Path | None, overrides: list[str] | None, as_json: bool) -> None:
    from orchestrator.machine_view import machine_document, machine_summary, measured_table
    from profiler.machine import machine_profile
    from scenarios.loader import load_scenario

    loaded = load_scenario(scenario, overrides or [])
    with progress_bar("measuring this computer", quiet=as_json) as show:
        profile, device_file = machine_profile(loaded, on_progress=show)
    if out is not None:
        from scenarios.contracts.files import write_text_whole

        _writing(out, lambda: write_text_whole(out, device_file.read_text(encoding="utf-8")))
        device_file = out
    if as_json:
        print_json(machine_document(profile, str(device_file)))
        return
    stdout().print(measured_table("Operators", profile.kernels))
    stdout().print(measured_table(f"Blocks of {escape(loaded.name)}", profile.blocks))
    stdout().print(machine_summary(profile))
    stdout().print(f"device file: {escape(str(device_file))} (name it under device_files in a scenario)")


def _load_and_profile(scenario: str, overrides: list[str] | None, *, quiet: bool) -> tuple[Scenario, OptionTable]:
    from scenarios.loader import load_scenario

    loaded = load_scenario(scenario, overrides or [])
    from orchestrator.pipeline import make_options

    with progress_bar("profiling", quiet=quiet) as show:
        return loaded, make_options(loaded, show)


def _writing(path: Path, write: Any) -> None:
    from scenarios.errors import RunError

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write()
    except OSError as error:
        raise RunError(f"{path}: cannot be written ({error}); give another --out") from error


def main() -> None:
    """Entry point of the ``hybridsplit`` command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Units such as µs must not fail on a terminal that cannot show them.
            stream.reconfigure(errors="replace")
    app()
