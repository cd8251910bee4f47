"""The devices that scenarios may name."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from hybridsplit.orchestrator.commands.options import JsonOption
from hybridsplit.orchestrator.console import print_json, reports_errors, stdout


def complete_device(incomplete: str) -> list[str]:
    """Complete a device's id."""
    from hybridsplit.scenarios.devices import catalogue

    return [name for name in catalogue() if name.startswith(incomplete)]


@reports_errors
def devices(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="Show this device alone.", autocompletion=complete_device),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the devices that scenarios may name, or show one with its sources."""
    from hybridsplit.scenarios.devices import catalogue, find_device

    shown = dict(catalogue()) if name is None else {name: find_device(name, {}, "devices")}
    if as_json:
        print_json({key: one.model_dump(mode="json", exclude_none=True) for key, one in shown.items()})
        return
    from hybridsplit.orchestrator.views.devices import device_lines, device_table

    if name is None:
        stdout().print(device_table(shown))
        stdout().print("'hybridsplit devices NAME' shows all figures of one and where they come from", highlight=False)
    else:
        stdout().print(
            "\n".join(escape(line) for line in device_lines(name, shown[name])), highlight=False, soft_wrap=True
        )
