"""Commands as processes of their own, that can be killed, with their output."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file

START = "from hybridsplit.orchestrator.start import main; main()"
PROGRESS = ("profiling ", "planning ", "training ", "measuring ", "writing ")
QUICK = ("--set", "training.local_steps=1", "--set", "training.frozen_control=false")


class Command:
    """A command that runs.

    Parameters
    ----------
    arguments
        Of the command line.
    folder
        Where it starts, and where its output is kept.
    more
        As of :class:`subprocess.Popen`.
    """

    def __init__(self, *arguments: Any, folder: Path, **more: Any) -> None:
        self._errors = folder / "stderr.txt"
        with self._errors.open("w") as errors, (folder / "stdout.txt").open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", START, *map(str, arguments)],
                **{"stdout": output, "stderr": errors, "cwd": folder, "start_new_session": True, **more},
            )

    def ended(self, limit_s: float) -> int | None:
        """Return its exit code once it has ended; None where it has not in time, and was killed with all it started."""
        try:
            return self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            return None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    @property
    def said(self) -> list[str]:
        """What it wrote to stderr, lines of progress left out."""
        return own_lines(self._errors.read_text(errors="replace"))

    def descendants(self) -> list[tuple[int, str]]:
        """Return pid and title of the processes it started, and of those that they started."""
        children: dict[int, list[tuple[int, str]]] = {}
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, IndexError, ValueError):
                parent = int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
                title = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                children.setdefault(parent, []).append((int(path.name), title))
        found, todo = [], [self.process.pid]
        while todo:
            own = children.get(todo.pop(), [])
            found += own
            todo += [pid for pid, _ in own]
        return found


def own_lines(text: str) -> list[str]:
    """Return the lines of a command's stderr, those of progress left out."""
    return [line for line in text.splitlines() if line.strip() and not line.startswith(PROGRESS)]


def weights_of(run: Path) -> str:
    """Return a digest of the weights of a run's newest checkpoint."""
    newest = max((run / "checkpoints").glob("round-*"), key=lambda path: path.name)
    digest = hashlib.sha256(newest.name.encode())
    for name, tensor in sorted(load_file(newest / "state.safetensors").items()):
        digest.update(name.encode() + tensor.tobytes())
    return digest.hexdigest()


def is_one_sentence(lines: list[str], allowed: Callable[[str], bool] = lambda line: False) -> bool:
    """Whether a message is one line that neither shows a trace nor calls itself unexpected."""
    own = [line for line in lines if not allowed(line)]
    return len(own) == 1 and "unexpected" not in own[0] and "Traceback" not in own[0]
