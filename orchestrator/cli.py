"""The ``hybridsplit`` command line.

Heavy packages are imported inside the commands that need them, so that ``--help`` answers at once and ``plan`` never
imports Ray.
"""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer

from hybridsplit.orchestrator.commands.devices import devices
from hybridsplit.orchestrator.commands.doctor import doctor
from hybridsplit.orchestrator.commands.exporting import export
from hybridsplit.orchestrator.commands.inspecting import profile, report, scenarios
from hybridsplit.orchestrator.commands.pilot import pilot
from hybridsplit.orchestrator.commands.planning import compare, pareto, plan
from hybridsplit.orchestrator.commands.replaying import replay
from hybridsplit.orchestrator.commands.running import run
from hybridsplit.orchestrator.commands.varying import what_if
from hybridsplit.orchestrator.console import show_warnings

app = typer.Typer(
    name="hybridsplit",
    help="Plan and run hybrid-order split learning over heterogeneous edge devices, from one YAML scenario.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


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


# In the order in which they are used.
for _command in (
    scenarios,
    devices,
    profile,
    pilot,
    plan,
    run,
    replay,
    compare,
    pareto,
    what_if,
    report,
    export,
    doctor,
):
    app.command(_command.__name__.replace("_", "-"))(_command)


def main() -> None:
    """Entry point of the ``hybridsplit`` command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Units such as µs must not fail on a terminal that cannot show them.
            stream.reconfigure(errors="replace")
    show_warnings()
    app()
