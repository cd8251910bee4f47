"""What commands have in common: arguments, options, and the two steps before every plan."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hybridsplit.orchestrator.console import progress_bar

if TYPE_CHECKING:
    from hybridsplit.scenarios.contracts.options import OptionTable
    from hybridsplit.scenarios.schema import Scenario


class ExecutorName(StrEnum):
    """Executors of ``run``."""

    INLINE = "inline"
    RAY = "ray"


class TorchDevice(StrEnum):
    """What computes a run."""

    CPU = "cpu"
    CUDA = "cuda"
    SERVER_CUDA = "server-cuda"


class ParetoAxis(StrEnum):
    """What ``pareto`` trades against latency."""

    MEMORY = "memory"
    ENERGY = "energy"
    PROGRESS = "progress"


class ServerName(StrEnum):
    """How ``replay`` serves at the server."""

    PLAN = "plan"
    FIRST_COME = "first-come"
    PROCESSOR_SHARING = "processor-sharing"


class RadioName(StrEnum):
    """How ``replay`` divides uplink and downlink."""

    PLAN = "plan"
    ROUND_ROBIN = "round-robin"
    MAX_MIN = "max-min"
    PROPORTIONAL_FAIR = "proportional-fair"


class ParetoLatency(StrEnum):
    """The other axis of ``pareto``."""

    LATENCY = "latency"


def complete_scenario(incomplete: str) -> list[str]:
    """Complete a built-in scenario's name."""
    from hybridsplit.scenarios.loader import all_builtin_names

    return [name for name in all_builtin_names() if name.startswith(incomplete)]


def complete_strategy(incomplete: str) -> list[str]:
    """Complete a strategy's name."""
    from hybridsplit.solver.strategies import STRATEGIES

    return [name for name in STRATEGIES if name.startswith(incomplete)]


ScenarioArgument = Annotated[
    str,
    typer.Argument(metavar="SCENARIO", help="Built-in name or path of a YAML file.", autocompletion=complete_scenario),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY.PATH=VALUE", help="Override any key; repeatable. Client groups go by index or name."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]
StrategyOption = Annotated[
    str, typer.Option("--strategy", metavar="NAME", help="How to plan.", autocompletion=complete_strategy)
]
ChosenStrategyOption = Annotated[
    str | None,
    typer.Option(
        "--strategy", metavar="NAME", help="How to plan; optimal by default.", autocompletion=complete_strategy
    ),
]
ExecutorOption = Annotated[
    ExecutorName, typer.Option("--executor", help="Train in this process, or on a local Ray cluster.")
]
LogOption = Annotated[
    list[str] | None,
    typer.Option("--log", metavar="KIND:WHERE", help="tensorboard:FOLDER or mlflow:URI; every round; repeatable."),
]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", min=1, help="Ray worker processes; one a core by default.")
]
TorchDeviceOption = Annotated[
    TorchDevice, typer.Option("--torch-device", help="What computes: server-cuda has server parts alone on a GPU.")
]
RoundOption = Annotated[
    int | None,
    typer.Option("--round", min=0, metavar="K", help="Round to show in time, from 0; a typical one by default."),
]
AddressOption = Annotated[
    str | None,
    typer.Option("--address", metavar="HOST:PORT", help="Join this Ray cluster (or 'auto') instead of starting one."),
]


def load_and_profile(
    scenario: str, overrides: list[str] | None, strategies: Iterable[str] = ()
) -> tuple[Scenario, OptionTable]:
    """Load a scenario, check that there are strategies of some names, and profile the scenario.

    Parameters
    ----------
    scenario, overrides
        Name or path, and ``key=value`` settings.
    strategies
        Names to check before anything is computed.
    """
    from hybridsplit.scenarios.loader import load_scenario

    # What is wrong with a scenario is said before anything heavy is imported.
    loaded = load_scenario(scenario, overrides or [])
    return loaded, profile_loaded(loaded, strategies)


def profile_loaded(loaded: Scenario, strategies: Iterable[str] = ()) -> OptionTable:
    """Check that there are strategies of some names, and profile a scenario.

    Parameters
    ----------
    loaded
        The scenario.
    strategies
        Names to check before anything is computed.
    """
    with progress_bar(f"profiling {loaded.name}") as show:
        show("looking for a kept profile", 0.0)
        for name in strategies:
            from hybridsplit.solver.strategies import find_strategy

            find_strategy(name)
        from hybridsplit.profiler.options import profile_scenario

        return profile_scenario(loaded, show)


def writing(path: Path, write: Any) -> None:
    """Write a file that the user named.

    Raises
    ------
    RunError
        If it cannot be written; the message names its path.
    """
    from hybridsplit.scenarios.errors import RunError

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write()
    except OSError as error:
        raise RunError(f"{path}: cannot be written ({error}); give another path") from error
