"""Seconds until ``hybridsplit --help`` has answered, against an interpreter that does nothing.

    python benchmarks/help_latency.py

Prints the medians of ten runs each, their ratio, and whether the aim (below one second) is met.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

REPEATS = 10


def median_s(code: str) -> float:
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    help_code = (
        "import sys; sys.argv = ['hybridsplit', '--help']\nfrom hybridsplit.orchestrator.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass"
    )
    bare_s, help_s = median_s("pass"), median_s(help_code)
    verdict = "met" if help_s < 1 else "missed"
    ratio = help_s / bare_s
    print(f"python {bare_s:.3f} s, hybridsplit --help {help_s:.3f} s: {ratio:.1f}x; aim below 1 s: {verdict}")


if __name__ == "__main__":
    main()
