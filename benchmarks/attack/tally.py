"""Run commands in this process and count what came of them."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

LIMIT_S = 60


class TookTooLongError(BaseException):
    """A command did not end; no ``except Exception`` of the command catches it."""


@dataclass(frozen=True)
class Said:
    """What a command came to.

    Parameters
    ----------
    exit_code
        Its exit code.
    stdout, stderr
        What it printed.
    """

    exit_code: int
    stdout: str
    stderr: str

    @property
    def is_unexpected(self) -> bool:
        """Whether it ended in a way nobody planned."""
        return "unexpected error" in self.stderr or "Traceback" in self.stderr

    @property
    def is_refused(self) -> bool:
        """Whether it refused with a message."""
        return self.exit_code in (2, 3, 4) and "error:" in self.stderr and not self.is_unexpected


@dataclass
class Tally:
    """Counts of a section.

    Attributes
    ----------
    name
        The section.
    counts
        By verdict.
    shown
        The first cases of every verdict that fails the attack.
    """

    name: str
    counts: Counter[str] = field(default_factory=Counter)
    shown: list[str] = field(default_factory=list)
    began_s: float = field(default_factory=time.monotonic)

    def add(self, verdict: str, what: str, *, bad: bool) -> None:
        """Count a case; bad ones are shown."""
        self.counts[verdict] += 1
        if bad:
            self.counts["bad"] += 1
            if len(self.shown) < 20:
                self.shown.append(f"    {verdict}: {what}")

    def report(self) -> bool:
        """Print the figures; return whether the section held."""
        tried = sum(number for verdict, number in self.counts.items() if verdict != "bad")
        parts = ", ".join(f"{number} {verdict}" for verdict, number in self.counts.items() if verdict != "bad")
        took_s = time.monotonic() - self.began_s
        print(f"{self.name}: {tried} tried, {parts or 'nothing to do'} ({took_s:.0f} s)", flush=True)
        for line in self.shown:
            print(line, flush=True)
        return not self.counts["bad"]


@contextmanager
def limited(seconds: int = LIMIT_S) -> Iterator[None]:
    """Raise in the main thread where something takes too long."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TookTooLongError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def call(*arguments: Any) -> Said | None:
    """Run one command; None where it took too long."""
    from typer.testing import CliRunner

    from hybridsplit.orchestrator.cli import app

    try:
        with limited():
            result = CliRunner().invoke(app, [str(one) for one in arguments])
    except TookTooLongError:
        return None
    trace = "" if result.exception is None or isinstance(result.exception, SystemExit) else "Traceback"
    return Said(result.exit_code, result.stdout, f"{result.stderr}{trace}")
