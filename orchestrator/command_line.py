"""The ``hybridsplit`` command line: its commands, and the one that is asked for.

Heavy packages are imported inside the commands that need them, so that ``--help`` answers at once and ``plan`` never
imports Ray.
"""

from __future__ import annotations

import importlib
import io
import sys
from collections.abc import Iterable
from typing import Annotated

import typer

from hybridsplit.orchestrator.console import show_warnings

COMMANDS = {
    "scenarios": "inspecting",
    "devices": "devices",
    "profile": "inspecting",
    "pilot": "pilot",
    "plan": "planning",
    "run": "running",
    "replay": "replaying",
    "compare": "comparing",
    "pareto": "planning",
    "what-if": "varying",
    "search": "searching",
    "report": "inspecting",
    "export": "exporting",
    "doctor": "doctor",
}
"""Commands in the order in which they are used, and the module of each in ``orchestrator.commands``."""


def application(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """Return the command line with some of its commands, all by default.

    Parameters
    ----------
    names
        The commands.
    """
    app = typer.Typer(
        name="hybridsplit",
        help="Plan and run hybrid-order split learning over heterogeneous edge devices, from one YAML scenario.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )
    app.callback()(_root)
    for name in names:
        module = importlib.import_module(f"hybridsplit.orchestrator.commands.{COMMANDS[name]}")
        app.command(name)(getattr(module, name.replace("-", "_")))
    return app


def main() -> None:
    """Entry point of the ``hybridsplit`` command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Units such as µs must not fail on a terminal that cannot show them.
            stream.reconfigure(errors="replace")
    show_warnings()
    # Typer takes a millisecond or two for each command that it knows.
    asked_for = sys.argv[1:2]
    application(asked_for if set(asked_for) & set(COMMANDS) else COMMANDS)()


def _version(show: bool) -> None:
    if show:
        from importlib.metadata import version

        typer.echo(f"hybridsplit {version('hybridsplit')}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Plan and run hybrid-order split learning over heterogeneous edge devices, from one YAML scenario."""
