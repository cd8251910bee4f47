"""Whether this machine, or a cluster, is ready for a run."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from hybridsplit.orchestrator.commands.options import AddressOption, JsonOption, SetOption
from hybridsplit.orchestrator.console import print_json, reports_errors, stdout


@reports_errors
def doctor(
    scenario: Annotated[
        str | None, typer.Argument(metavar="[SCENARIO]", help="Look for its files and resources as well.")
    ] = None,
    overrides: SetOption = None,
    address: AddressOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check versions, token, resources and files, here or on every machine of a cluster, before a run."""
    from hybridsplit.orchestrator.doctor.checks import checks_here, checks_of_cluster, checks_of_node, named_files
    from hybridsplit.orchestrator.doctor.machine import look_at_this_machine
    from hybridsplit.orchestrator.views.doctor import check_table, verdict
    from hybridsplit.scenarios.errors import ExitCode
    from hybridsplit.scenarios.loader import load_scenario, load_task
    from hybridsplit.scenarios.relays.schema import RelayScenario
    from hybridsplit.scenarios.schema import Scenario

    loaded: Scenario | RelayScenario | None = None
    if scenario is not None:
        task = load_task(scenario, overrides or [])
        loaded = task if isinstance(task, RelayScenario) else load_scenario(scenario, overrides or [])
    files = {} if loaded is None else named_files(loaded)
    here = look_at_this_machine(tuple(files.values()))
    checks = list(checks_here(here, files))
    if address is not None:
        from hybridsplit.orchestrator.doctor.cluster import ask_nodes

        nodes = ask_nodes(address, tuple(files.values()))
        for node in nodes:
            checks += checks_of_node(node, here, files)
        checks += checks_of_cluster(nodes, loaded)
    if as_json:
        print_json({"checks": [asdict(check) for check in checks], "ready": all(check.is_right for check in checks)})
    else:
        stdout().print(check_table(checks))
        for line in verdict(checks):
            stdout().print(line, highlight=False, soft_wrap=True)
    if not all(check.is_right for check in checks):
        raise typer.Exit(ExitCode.FAILED)
