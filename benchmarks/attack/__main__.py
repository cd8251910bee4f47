"""Attack what is built, and print what held.

Run: ``python -m benchmarks.attack [SECTION ...] [--trials N] [--seed 0] [--results FILE]``. Sections, all by default:

- ``files``: every file that a command reads is altered, by bytes and by values;
- ``cache``: kept profiles are altered and damaged;
- ``messages``: every key of the built-in scenarios gets values that are wrong in many ways;
- ``places``: output is closed, folders are removed, the disk is full at every file;
- ``kills``: every kind of process of a run on Ray is killed at every stage (``--trials 100`` takes about an hour; with
  ``--results FILE`` trials are written down, and a command that was stopped goes on after them).

Prints how many alterations were tried and believed, unexpected errors and hangs; exits with 1 unless nothing was
believed, unexpected or hung. Works in temporary folders, with harmless inputs of its own.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.attack import cache, files, kills, messages, places

SECTIONS: dict[str, Callable[[Path, int, int], bool]] = {
    "files": files.attack,
    "cache": cache.attack,
    "messages": messages.attack,
    "places": places.attack,
    "kills": kills.attack,
}


def main() -> None:
    """Carry out the sections that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--trials", type=int, default=100, help="trials of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, metavar="FILE", help="trials of kills: written here, not made again")
    arguments = parser.parse_args()
    if unknown := set(arguments.sections) - set(SECTIONS):
        parser.error(f"no such section: {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    held = True
    for name in arguments.sections or SECTIONS:
        with tempfile.TemporaryDirectory(prefix="hybridsplit-attack-") as scratch:
            os.environ["HYBRIDSPLIT_CACHE"] = str(Path(scratch) / "cache")
            attack = partial(kills.attack, results=arguments.results) if name == "kills" else SECTIONS[name]
            held &= attack(Path(scratch), arguments.trials, arguments.seed)
    sys.exit(not held)


if __name__ == "__main__":
    main()
