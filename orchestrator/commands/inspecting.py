"""Look at what there is: scenarios, what choices cost, a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from hybridsplit.orchestrator.commands.options import (
    JsonOption,
    RoundOption,
    ScenarioArgument,
    SetOption,
    complete_scenario,
    profile_loaded,
    writing,
)
from hybridsplit.orchestrator.console import print_json, progress_bar, reports_errors, stderr, stdout


@reports_errors
def scenarios(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="Print this built-in scenario.", autocompletion=complete_scenario),
    ] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of scenarios, for editors.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the built-in scenarios, print one, or print the JSON Schema."""
    from hybridsplit.scenarios import loader

    if schema:
        from hybridsplit.scenarios.json_schema import json_schema

        print_json(json_schema())
    elif name is not None:
        scenario = loader.load_task(name)
        if as_json:
            print_json(scenario.resolved())
        elif name in loader.all_builtin_names():
            typer.echo(loader.builtin_text(name), nl=False)
        else:
            import yaml

            typer.echo(yaml.safe_dump(scenario.resolved(), sort_keys=False, allow_unicode=True), nl=False)
    else:
        from hybridsplit.scenarios.inference.schema import InferenceScenario

        loaded = [loader.load_task(builtin) for builtin in loader.all_builtin_names()]
        sizes = [
            {"apps": len(s.apps)} if isinstance(s, InferenceScenario) else {"clients": s.num_clients} for s in loaded
        ]
        if as_json:
            print_json(
                [{"name": s.name, **size, "description": s.description} for s, size in zip(loaded, sizes, strict=True)]
            )
            return
        from rich.table import Table

        table = Table("name", "clients", "what it shows", title="Built-in scenarios", title_justify="left")
        for scenario, size in zip(loaded, sizes, strict=True):
            number = str(size["clients"]) if "clients" in size else f"{size['apps']} apps"
            table.add_row(scenario.name, number, escape(scenario.description.strip()))
        stdout().print(table)


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
    from hybridsplit.scenarios.loader import load_task
    from hybridsplit.scenarios.schema import Scenario

    loaded = load_task(scenario, overrides or [])
    if not isinstance(loaded, Scenario):
        from hybridsplit.scenarios.relays.schema import RelayScenario

        if isinstance(loaded, RelayScenario):
            from hybridsplit.orchestrator.commands.relays import profile_blocks

            profile_blocks(loaded, out or picture, as_json=as_json)
            return
        from hybridsplit.orchestrator.commands.inference import profile_layers

        profile_layers(loaded, out or picture, as_json=as_json)
        return
    options = profile_loaded(loaded)
    if out is not None:
        writing(out, lambda: options.save(out))
    if picture is not None:
        from hybridsplit.orchestrator.report.memory_by_cut import memory_page
        from hybridsplit.scenarios.contracts.files import write_text_whole

        writing(picture, lambda: write_text_whole(picture, memory_page(loaded.name, options)))
    if as_json:
        rows = options.table.to_dict(orient="records")
        for row in rows:
            row.update({key: None for key, value in row.items() if value != value})  # NaN: unknown
        print_json({"scenario": loaded.name, "options": rows})
        return
    from hybridsplit.orchestrator.views.memory import explain_memory
    from hybridsplit.orchestrator.views.profile import breakdown_table, fits_table, gap_line, memory_chart, worth_line

    stdout().print(fits_table(options, loaded.training.local_steps))
    for line in filter(None, (worth_line(options), gap_line(options))):
        stdout().print(line, highlight=False)
    stdout().print(breakdown_table(explain_memory(loaded, options)))
    stdout().print(memory_chart(options))
    if out is not None:
        stderr().print(f"option table written to {escape(str(out))}")
    if picture is not None:
        stderr().print(f"picture written to {escape(str(picture))}")


def _profile_machine(scenario: str, out: Path | None, overrides: list[str] | None, as_json: bool) -> None:
    from hybridsplit.orchestrator.views.machine import machine_document, machine_summary, measured_table
    from hybridsplit.scenarios.loader import load_scenario

    loaded = load_scenario(scenario, overrides or [])
    with progress_bar("measuring this computer") as show:
        show("loading PyTorch and Transformers", 0.0)
        from hybridsplit.profiler.machine import machine_profile

        profile, device_file = machine_profile(loaded, on_progress=show)
    if out is not None:
        from hybridsplit.scenarios.contracts.files import write_text_whole

        writing(out, lambda: write_text_whole(out, device_file.read_text(encoding="utf-8")))
        device_file = out
    if as_json:
        print_json(machine_document(profile, str(device_file)))
        return
    stdout().print(measured_table("Operators", profile.kernels))
    stdout().print(measured_table(f"Blocks of {escape(loaded.name)}", profile.blocks))
    stdout().print(machine_summary(profile))
    stdout().print(f"device file: {escape(str(device_file))} (name it under device_files in a scenario)")


@reports_errors
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A run folder, or the file of a plan.")],
    round_shown: RoundOption = None,
    as_json: JsonOption = False,
) -> None:
    """Render the HTML report of a run folder again, or that of a plan file beside it."""
    from hybridsplit.orchestrator.inference.detect import is_inference_folder
    from hybridsplit.orchestrator.relays.detect import is_relay_plan
    from hybridsplit.orchestrator.run_folder import RunFolder
    from hybridsplit.scenarios.errors import UsageError

    found = RunFolder(folder.resolve())
    if found.path.is_file():
        if round_shown is not None:
            raise UsageError(
                "--round shows a round of a replay, which a plan lacks: leave it out, or name a run folder"
            )
        from hybridsplit.orchestrator.plan_report import report_of_plan_file

        with progress_bar(f"reporting {folder.name}") as show:
            show("profiling what could be chosen", 0.0)
            path = report_of_plan_file(found.path)
    elif is_inference_folder(found.path):
        from hybridsplit.orchestrator.inference.replaying import report_again

        path = report_again(found)
    elif is_relay_plan(found.path):
        from hybridsplit.orchestrator.relays.replaying import relay_report_again

        path = relay_report_again(found)
    else:
        from hybridsplit.orchestrator.pipeline import write_report

        path = write_report(found, round_shown=round_shown)
    if as_json:
        print_json({"report": str(path)})
    else:
        stdout().print(f"report: [bold]{escape(str(path))}[/]", highlight=False, soft_wrap=True)
