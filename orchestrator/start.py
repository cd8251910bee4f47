"""Entry point of the ``hybridsplit`` command: what asks for no work is answered before anything is imported.

The page of ``--help`` is drawn here, without the packages that parse a command line; everything else, the help of a
command included, is the business of :mod:`hybridsplit.orchestrator.command_line`.
"""

from __future__ import annotations

import gc
import os
import sys

from hybridsplit.orchestrator import guard

SUMMARY = "Plan and run hybrid-order split learning over heterogeneous edge devices, from one YAML scenario."
OPTIONS = {
    "--version": "Print the version and exit.",
    "--install-completion": "Install completion for the current shell.",
    "--show-completion": "Show completion for the current shell, to copy it or customize the installation.",
    "--help": "Show this message and exit.",
}
COMMANDS = {
    "scenarios": "List the built-in scenarios, print one, or print the JSON Schema.",
    "devices": "List the devices that scenarios may name, or show one with its sources.",
    "profile": "Profile what every cut and mode costs each client: the option table.",
    "pilot": "Learn from a few short runs how many rounds plans need to a target accuracy or loss.",
    "plan": "Choose cut, mode and shares for every client, with a lower bound beside the plan.",
    "run": "Train by the plan while the network is replayed, and report.",
    "replay": "Replay a plan's network over constant or recorded links, without training; or compare plans so.",
    "compare": "Compare strategies on the same problem, and say where the difference comes from.",
    "pareto": "Trade latency against memory, energy or progress: every point is a plan with its bound.",
    "what-if": (
        "Plan for every combination of other values: round, time to progress, memory, energy and cost side by side."
    ),
    "search": (
        "Plan every model of a scenario's variants, train some, and show their test score against what training takes."
    ),
    "report": "Render the HTML report of a run folder again, or that of a plan file beside it.",
    "export": "Save a run's trained model for transformers, PEFT or PyTorch.",
    "doctor": "Check versions, token, resources and files, here or on every machine of a cluster, before a run.",
}
"""Commands in the order in which they are used; a test holds them to the docstrings they are taken from."""
_ALLOCATIONS_A_COLLECTION = 200_000
_LEAST_WIDTH, _MOST_WIDTH = 40, 120


def main() -> None:
    """Answer ``--help``, or hand over to the command line."""
    _stand_in_for_closed_streams()
    try:
        os.getcwd()  # noqa: PTH109  pathlib is not imported yet
    except OSError:
        sys.stderr.write("error: the working directory was removed; change into another one\n")
        sys.exit(2)
    if sys.argv[1:] == ["--help"]:
        sys.stdout.write(help_page(_width()))
        return
    if sys.argv[1:2] != ["run"]:
        # What a plan or a replay builds it keeps until its end; training makes garbage for hours.
        gc.set_threshold(_ALLOCATIONS_A_COLLECTION)
    watched = guard.begin(sys.argv[1]) if guard.is_needed(sys.argv[1:]) else None
    from hybridsplit.orchestrator.command_line import main as command_line

    try:
        command_line()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)
    finally:
        if watched is not None:
            guard.end(watched)
        # The interpreter looks for garbage as it ends, which takes a tenth of a replay's time and finds nothing of use.
        gc.freeze()


def _stand_in_for_closed_streams() -> None:
    """Open the null device for streams that are closed, lest a file of ours takes their number."""
    closed = [number for number, stream in enumerate((sys.stdin, sys.stdout, sys.stderr)) if stream is None]
    for number in closed:
        mode = os.O_RDONLY if number == 0 else os.O_WRONLY
        opened = os.open(os.devnull, mode)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8")  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8")  # noqa: SIM115
        sys.stderr.write("note: standard output is closed: results are in the files that this command writes, if any\n")


def help_page(width: int) -> str:
    """Return the page of ``hybridsplit --help``.

    Parameters
    ----------
    width
        Columns to fill at most.
    """
    lines = ["Usage: hybridsplit [OPTIONS] COMMAND [ARGS]...", "", *_wrapped(SUMMARY, width)]
    for title, entries in (("Options", OPTIONS), ("Commands", COMMANDS)):
        indent = 4 + max(len(name) for name in entries)
        lines += ["", f"{title}:"]
        for name, text in entries.items():
            first, *rest = _wrapped(text, width - indent)
            lines.append(f"  {name:<{indent - 2}}{first}")
            lines += [" " * indent + line for line in rest]
    lines += ["", "'hybridsplit COMMAND --help' tells more about one command."]
    return "\n".join(lines) + "\n"


def _wrapped(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
    return lines


def _width() -> int:
    named = os.environ.get("COLUMNS", "")
    if named.isdecimal():
        return max(_LEAST_WIDTH, int(named))
    try:
        columns = os.get_terminal_size(sys.stdout.fileno()).columns
    except (OSError, ValueError):
        columns = 80
    return max(_LEAST_WIDTH, min(columns, _MOST_WIDTH))
