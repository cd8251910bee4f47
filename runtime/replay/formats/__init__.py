"""Reading recordings, a module a format, each recognised by its content.

Where a text has two readings that are both possible it is refused, with its line: a wrong guess would change every
figure of a replay.
"""

from __future__ import annotations

import json
from typing import Any

from hybridsplit.runtime.replay.formats.recording import Recording
from hybridsplit.runtime.replay.formats.samples import COMMENT, FORMATS, shown
from hybridsplit.scenarios.errors import ScenarioError

_MOST_LINES = 1_000_000

__all__ = ["FORMATS", "Recording", "read_recording"]


def read_recording(text: str, name: str, *, suffix: str = "", index_table: str | None = None) -> Recording:
    """Read a recording from text.

    Parameters
    ----------
    text
        Content of the file.
    name
        Where it comes from, for messages.
    suffix
        End of the file's name: ``.up`` and ``.down`` state the direction of packet times. No format is told by it.
    index_table
        Table of recorded indices, where they are to be read instead of rates.

    Raises
    ------
    ScenarioError
        If the text is in no format, leaves its meaning in doubt, or holds no usable samples.
    """
    begins = text.lstrip()[:1]
    if not begins:
        raise ScenarioError(f"{name}: the file is empty; {FORMATS}")
    recording = _from_json(text, name) if begins in "[{" else _from_text(text, name, suffix, index_table)
    found = [trace for trace in (recording.both, recording.up, recording.down) if trace is not None]
    if index_table is not None and not all(trace.is_per_hertz for trace in found):
        raise ScenarioError(f"{name}: has no columns of indices to read by table {index_table}; leave index_table out")
    return recording


def _from_json(text: str, name: str) -> Recording:
    try:
        document = json.loads(text, parse_int=float, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise ScenarioError(f"{name}: begins like JSON but is not ({error}); {FORMATS}") from error
    if isinstance(document, dict):
        if "intervals" not in document and "error" not in document:
            raise ScenarioError(f"{name}: found a JSON object that iperf3 did not write; {FORMATS}")
        from hybridsplit.runtime.replay.formats.iperf3 import from_iperf3

        return from_iperf3(document, name)
    from hybridsplit.runtime.replay.formats.json_list import from_samples

    return from_samples(document, name)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"found the key {shown(twice)!r} twice in one object")
    return found


def _from_text(text: str, name: str, suffix: str, index_table: str | None) -> Recording:
    from hybridsplit.runtime.replay.formats.named_columns import from_columns, has_header
    from hybridsplit.runtime.replay.formats.packet_times import (
        are_packet_times,
        from_packet_times,
        may_be_packet_times,
        whole_numbers,
    )
    from hybridsplit.runtime.replay.formats.two_columns import from_lines

    if may_be_packet_times(text):
        times_ms = whole_numbers(text, name)
        if are_packet_times(times_ms, suffix):
            return from_packet_times(times_ms, text, name, suffix)
    if (num_lines := text.count("\n")) > _MOST_LINES:
        raise ScenarioError(
            f"{name}: found {num_lines:,} lines; needs a recording of at most {_MOST_LINES:,}: cut it into several"
        )

    # A tab at the end may be an empty last column.
    lines = [(number, line.strip(" ")) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    data = [(number, line) for number, line in lines if not line.startswith(COMMENT)]
    if not data:
        raise ScenarioError(f"{name}: the file has comments only; {FORMATS}")
    if has_header(data[0][1]):
        return from_columns(data, name, index_table)
    return from_lines(lines, name)
