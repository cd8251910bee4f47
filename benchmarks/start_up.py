"""CPU seconds and memory of commands that have nothing new to find out, beside those of an older build.

Run: ``python -m benchmarks.start_up --before FOLDER``, FOLDER being a checkout of the older build. Each build has a
profile cache of its own, which a first call fills, and replays the plans of ``city`` that it made itself: that of its
default, and that of static shares, which older builds had as their default (a plan by priority has more to search, to
derive again and to play, and only the newer build has it). Runs of both
alternate; the table holds medians. Each build keeps its bytecode, as an installed package does. CPU seconds are those
of the user and of the system, memory is the largest resident size of the process. ``--repeats N`` sets how often each
command runs, 7 times by default.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STATIC = "{static}"
"""Stands for the name of a build's strategy of static shares."""
MISSPELT = "local_steps:", "local_stepz:"


@dataclass(frozen=True)
class Build:
    """One checkout of the code.

    Parameters
    ----------
    folder
        Where it is.
    scratch
        Holds its profile cache, its plan of ``city`` and a scenario with a misspelt key.
    """

    folder: Path
    scratch: Path

    @property
    def command(self) -> list[str]:
        """What starts its command line: ``python -m hybridsplit``, or the module of builds before that package."""
        if (self.folder / "src" / "hybridsplit").is_dir():
            return [sys.executable, "-m", "hybridsplit"]
        return [sys.executable, "-c", "from orchestrator.cli import main; main()"]

    @property
    def environment(self) -> dict[str, str]:
        """Its own code first on the path, and its own cache."""
        source = self.folder / "src" if (self.folder / "src" / "hybridsplit").is_dir() else self.folder
        own = {"HYBRIDSPLIT_CACHE": "cache", "PYTHONPYCACHEPREFIX": "bytecode"}
        environment = {**os.environ, **{name: str(self.scratch / folder) for name, folder in own.items()}}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        return environment | {"PYTHONPATH": str(source)}

    @property
    def static(self) -> str:
        """Its strategy of static shares."""
        return "static" if (self.folder / "solver" / "strategies" / "static.py").is_file() else "optimal"

    def run(self, arguments: Sequence[str], expected: int = 0) -> tuple[float, float]:
        """Run a command; return its CPU seconds and its peak memory in MiB.

        Raises
        ------
        SystemExit
            If it does not end as expected.
        """
        with (self.scratch / "stderr").open("wb") as stderr:
            process = subprocess.Popen(
                [*self.command, *(self.static if word == STATIC else word for word in arguments)],
                cwd=self.scratch,
                env=self.environment,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )
            _, status, usage = os.wait4(process.pid, 0)
        if os.waitstatus_to_exitcode(status) != expected:
            raise SystemExit(f"{self.folder}: {' '.join(arguments)}: {(self.scratch / 'stderr').read_text()}")
        kib = usage.ru_maxrss / (1024 if sys.platform == "darwin" else 1)
        return usage.ru_utime + usage.ru_stime, kib / 1024

    def prepare(self) -> None:
        """Fill the cache, make the plan, and misspell a key."""
        self.scratch.mkdir()
        library = self.folder / "scenarios" / "library"
        text = (library / "quickstart.yaml").read_text(encoding="utf-8")
        assert MISSPELT[0] in text
        (self.scratch / "misspelt.yaml").write_text(text.replace(*MISSPELT), encoding="utf-8")
        self.run(["plan", "quickstart"])
        self.run(["plan", "city", "--out", "city.json"])
        self.run(["plan", "city", "--strategy", STATIC, "--out", "city-static.json"])
        self.run(["replay", "city.json"])


COMMANDS: dict[str, tuple[list[str], int]] = {
    "plan quickstart": (["plan", "quickstart"], 0),
    "plan city": (["plan", "city"], 0),
    "plan city, static": (["plan", "city", "--strategy", STATIC], 0),
    "replay city.json": (["replay", "city.json"], 0),
    "replay city, static": (["replay", "city-static.json"], 0),
    "--help": (["--help"], 0),
    "plan, unknown key": (["plan", "misspelt.yaml"], 2),
}
"""Label to arguments and exit code."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, help="checkout of the older build")
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hybridsplit-") as scratch:
        builds = [
            Build(arguments.before.resolve(), Path(scratch, "before")),
            Build(ROOT, Path(scratch, "after")),
        ]
        for build in builds:
            build.prepare()
        head = f"{'CPU s before':>13} {'after':>7} {'ratio':>6} {'MiB before':>11} {'after':>6} {'ratio':>6}"
        print(f"{'command':<20} {head}")
        for label, (command, expected) in COMMANDS.items():
            # All of one command together, in turns, so that what else the machine does meets both builds alike.
            runs = [[build.run(command, expected) for build in builds] for _ in range(arguments.repeats)]
            before, after = (
                [statistics.median(values) for values in zip(*(run[which] for run in runs), strict=True)]
                for which in (0, 1)
            )
            print(
                f"{label:<20} {before[0]:>13.3f} {after[0]:>7.3f} {before[0] / after[0]:>5.1f}x "
                f"{before[1]:>11.0f} {after[1]:>6.0f} {before[1] / after[1]:>5.1f}x"
            )


if __name__ == "__main__":
    main()
