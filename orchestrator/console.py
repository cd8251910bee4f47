"""Where output goes: results to stdout, progress and errors to stderr."""

from __future__ import annotations

import functools
import itertools
import json
import math
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, ParamSpec, TextIO, TypeVar

import typer
from rich.console import Console
from rich.markup import escape

from hybridsplit.scenarios.errors import ExitCode, HybridSplitError, HybridSplitWarning

P = ParamSpec("P")
R = TypeVar("R")

_WIDTH_WITHOUT_TERMINAL = 140
"""Tables keep their columns when stdout is a file or a pipe."""
_PIECES_AT_ONCE = 100_000
"""How many pieces of a JSON document are joined before they are written."""
_SECONDS_BETWEEN_LINES = 3.0
"""Progress in a log: often enough to see that work goes on, rarely enough to be read."""


class _Results(Console):
    def on_broken_pipe(self) -> None:
        """Go on without output where the reader of a pipe has closed it: a run's results are files."""
        _silence_stdout()


def _silence_stdout() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_before_work(*parts: Any, where: str) -> None:
    """Print what long work goes by; where that cannot be printed, say so and let the work go on.

    Parameters
    ----------
    parts
        What to print.
    where
        Where the results of the work will be.
    """
    console = stdout()
    try:
        for part in parts:
            console.print(part, highlight=False)
    except OSError as error:
        _silence_stdout()
        note = f"standard output cannot be written ({error.strerror}): the work goes on, its results will be in {where}"
        stderr().print(escape(f"note: {note}"), highlight=False, soft_wrap=True)


def stdout() -> Console:
    """Return the console for results."""
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else _WIDTH_WITHOUT_TERMINAL
    return _Results(width=width, emoji=False)


def stderr() -> Console:
    """Return the console for progress, notes and errors."""
    return Console(stderr=True, emoji=False)


def print_json(document: Any) -> None:
    """Print one JSON document and nothing else."""
    pieces = json.JSONEncoder(indent=1, allow_nan=False).iterencode(document)
    # In batches: the whole text of a large table takes more memory than what it is made of.
    while batch := "".join(itertools.islice(pieces, _PIECES_AT_ONCE)):
        sys.stdout.write(batch)
    sys.stdout.write("\n")


def show_warnings() -> None:
    """Print each of the package's warnings once, as a line on stderr, without the place in the source it came from."""
    # Data sets of scikit-learn import joblib, whose processes nobody here uses.
    warnings.filterwarnings("ignore", message=".*joblib will operate in serial mode", category=UserWarning)
    show = warnings.showwarning
    said: set[str] = set()

    def shown(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if issubclass(category, HybridSplitWarning):
            if str(message) in said:
                return
            said.add(str(message))
            stderr().print(f"[yellow]warning:[/] {escape(str(message))}", highlight=False, soft_wrap=True)
        else:
            show(message, category, filename, lineno, file, line)

    warnings.showwarning = shown


class _TerminatedError(BaseException):
    """SIGTERM has come; no handler of errors catches it."""


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM unwind the command, so that what it started is ended too."""

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise _TerminatedError

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _ended(word: str, number: signal.Signals, command: str) -> typer.Exit:
    """Say that a signal ended the command, and what can be done next; return the exit that it is to end with."""
    advice = "; a run continues from its last complete round with --resume" if command == "run" else ""
    stderr().print(f"[bold red]{word}[/]{advice}")
    return typer.Exit(128 + number)


def _was_terminated(error: BaseException | None) -> bool:
    """Whether an error is what compiled code made of SIGTERM: Ray's calls give a ``SystemError`` with it behind."""
    while error is not None:
        if isinstance(error, _TerminatedError):
            return True
        error = error.__cause__ or error.__context__
    return False


def reports_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Turn the package's errors into one message and the right exit code, without a traceback."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with _ended_by_sigterm():
                return command(*args, **kwargs)
        except _TerminatedError:
            raise _ended("terminated", signal.SIGTERM, command.__name__) from None
        except (typer.Exit, typer.Abort, typer.TyperException):
            raise
        except HybridSplitError as error:
            stderr().print(f"[bold red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
            raise typer.Exit(error.exit_code) from None
        except BrokenPipeError:
            # The reader closed the pipe; Python would raise again while closing stdout.
            _silence_stdout()
            raise typer.Exit(ExitCode.DONE) from None
        except OSError as error:
            what = str(error) if error.filename is not None else f"standard output, or a file, cannot be used ({error})"
            stderr().print(f"[bold red]error:[/] {escape(what)}", highlight=False, soft_wrap=True)
            raise typer.Exit(ExitCode.FAILED) from None
        except Exception as error:
            if _was_terminated(error):
                raise _ended("terminated", signal.SIGTERM, command.__name__) from None
            if os.environ.get("HYBRIDSPLIT_DEBUG"):
                raise
            what = escape(f"{type(error).__name__}: {error}")
            stderr().print(
                f"[bold red]unexpected error:[/] {what}\nThis input found a gap in hybridsplit's checks; "
                "HYBRIDSPLIT_DEBUG=1 shows where, and makes a good bug report.",
                highlight=False,
                soft_wrap=True,
            )
            raise typer.Exit(ExitCode.FAILED) from None
        except KeyboardInterrupt:
            raise _ended("interrupted", signal.SIGINT, command.__name__) from None

    return wrapped


def _lines(title: str) -> Callable[[str, float], None]:
    """Return what writes a line: whenever something begins, and then at most one every few seconds."""
    due_s = -math.inf

    def show(what: str, share: float) -> None:
        nonlocal due_s
        now_s = time.monotonic()
        if share == 0 or now_s >= due_s:
            due_s = now_s + _SECONDS_BETWEEN_LINES
            done = f" ({share:.0%} done)" if share > 0 else ""
            sys.stderr.write(f"{title}: {what}{done}\n")
            sys.stderr.flush()

    return show


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[str, float], None]]:
    """Show on stderr what is being done: a bar on a terminal, now and then a line elsewhere.

    Parameters
    ----------
    title
        The stage, with what it is about.

    Yields
    ------
    callable
        Takes what is being done and the share done, and is to be called before anything that takes long.
    """
    if not sys.stderr.isatty():
        yield _lines(title)
        return
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[what]}"),
    )
    with Progress(*columns, console=stderr(), transient=True) as progress:
        task = progress.add_task(title, total=1.0, what="")
        yield lambda what, share: progress.update(task, completed=share, what=what)
