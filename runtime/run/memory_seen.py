"""The memory that real devices saw while they trained, as recordings that a scenario can name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from hybridsplit.runtime.split.reports import ClientReport

_HEADER = "time_s,available_bytes"


def add_memory_seen(folder: Path, reports: Iterable[ClientReport]) -> None:
    """Add what clients saw in a round to a file a client, ``CLIENT.csv``, which ``memory_trace`` reads.

    Parameters
    ----------
    folder
        Of the files; made where a client saw something.
    reports
        Of the round.
    """
    for report in reports:
        if not report.memory_seen:
            continue
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{report.assignment.client}.csv"
        lines = [] if path.exists() else [_HEADER]
        lines += [f"{time_s:.6f},{size}" for time_s, size in report.memory_seen]
        with path.open("a", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
