"""Reading recorded traces from files, and dealing the files of a folder to clients.

Two formats are recognised by content, not by file name: a JSON list of ``duration_ms``, ``bandwidth_kbps`` (and
``latency_ms``, which is not used), as the 4G and 3G commute logs have it; and lines of ``seconds<TAB>Mbit/s``, as
iperf3 logs of Wi-Fi have it. Rates are SI: 1 kbit is 1,000 bit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hybridsplit.runtime.replay.traces import BandwidthTrace
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.units import bits_per_second_from_kbps, bits_per_second_from_mbps

_MILLISECONDS_PER_SECOND = 1e3
_SUFFIXES = (".json", ".txt", ".tsv", ".log")
_FORMATS = (
    "needs a JSON list of objects with duration_ms and bandwidth_kbps, or lines of 'seconds<TAB>Mbit/s' with rising "
    "seconds"
)


def load_trace(path: Path) -> BandwidthTrace:
    """Read a recorded trace.

    Parameters
    ----------
    path
        A file in either of the formats that the module describes.

    Returns
    -------
    BandwidthTrace
        Named after the path.

    Raises
    ------
    ScenarioError
        If the file is missing, is in neither format, or holds no usable samples.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path}: cannot be read as text ({error}); {_FORMATS}") from error
    return parse_trace(text, str(path))


def parse_trace(text: str, name: str) -> BandwidthTrace:
    """Read a recorded trace from text, in either of the formats that the module describes.

    Parameters
    ----------
    text
        Content of the file.
    name
        Where it comes from, for messages.

    Raises
    ------
    ScenarioError
        If the text is in neither format, or holds no usable samples.
    """
    content = text.strip()
    if not content:
        raise ScenarioError(f"{name}: the file is empty; {_FORMATS}")
    return _from_json(content, name) if content[0] in "[{" else _from_lines(content, name)


def _from_json(text: str, name: str) -> BandwidthTrace:
    try:
        document = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ScenarioError(f"{name}: begins like JSON but is not ({error}); {_FORMATS}") from error
    if not isinstance(document, list):
        raise ScenarioError(f"{name}: found a JSON object; {_FORMATS}")
    durations_s, rates_bps = [], []
    for index, sample in enumerate(document):
        where = f"{name}: item {index + 1}"
        durations_s.append(_number_of(sample, "duration_ms", where) / _MILLISECONDS_PER_SECOND)
        rates_bps.append(bits_per_second_from_kbps(_number_of(sample, "bandwidth_kbps", where)))
    return BandwidthTrace(np.array(durations_s), np.array(rates_bps), name)


def _number_of(sample: Any, key: str, where: str) -> float:
    value = sample.get(key) if isinstance(sample, dict) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ScenarioError(f"{where}: found {key} = {value!r}; needs a number. The file {_FORMATS}")
    return float(value)


def _from_lines(text: str, name: str) -> BandwidthTrace:
    stamps_s, rates_bps = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            stamp, rate = line.split()
            stamps_s.append(float(stamp))
            rates_bps.append(bits_per_second_from_mbps(float(rate)))
        except ValueError as error:
            raise ScenarioError(f"{name}, line {number}: found {line.strip()[:60]!r}; {_FORMATS}") from error
    if len(stamps_s) < 2:
        raise ScenarioError(
            f"{name}: found one sample; needs two or more, since a sample lasts until the next one's seconds"
        )
    # Two stamps may be equal (iperf3 now and then reports an interval of length zero), which then carries nothing.
    durations_s = np.diff(np.array(stamps_s))
    if not (durations_s >= 0).all():
        index = int(np.argmin(np.where(np.isnan(durations_s), -np.inf, durations_s)))
        raise ScenarioError(
            f"{name}: the seconds go from {stamps_s[index]} to {stamps_s[index + 1]}; needs seconds that rise"
        )
    last_s = float(np.median(durations_s))
    return BandwidthTrace(np.append(durations_s, last_s), np.array(rates_bps), name)


def assign_traces(folder: Path, client_ids: Sequence[str], seed: int) -> dict[str, BandwidthTrace]:
    """Deal the recorded traces of a folder to clients.

    Parameters
    ----------
    folder
        Folder with one trace a file. Subfolders are read too; files that do not end in ``.json``, ``.txt``, ``.tsv`` or
        ``.log`` (an index, a licence) are passed over.
    client_ids
        The clients, in the plan's order.
    seed
        Seed of the order.

    Returns
    -------
    dict[str, BandwidthTrace]
        Files sorted by path, put into a seeded order and dealt round robin. A file dealt again starts at a seeded point
        of its period, because clients whose links rise and fall in step would be a coincidence of the file count.

    Raises
    ------
    ScenarioError
        If the folder is missing or empty, or one of its files is not a trace.
    """
    if not folder.is_dir():
        raise ScenarioError(f"{folder}: no such folder; needs a folder with one recorded trace a file")
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix in _SUFFIXES)
    if not paths:
        raise ScenarioError(f"{folder}: no traces in this folder; needs files that end in {', '.join(_SUFFIXES)}")
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(paths))
    read: dict[int, BandwidthTrace] = {}
    dealt: dict[str, BandwidthTrace] = {}
    for position, client_id in enumerate(client_ids):
        index = int(order[position % len(paths)])
        if position < len(paths):
            read[index] = dealt[client_id] = load_trace(paths[index])
        else:
            dealt[client_id] = read[index].shifted(float(generator.uniform(0.0, read[index].duration_s)))
    return dealt


def scenario_traces(scenario: Scenario) -> dict[str, BandwidthTrace]:
    """Read the traces that a scenario's links name.

    Parameters
    ----------
    scenario
        The scenario; ``link.trace`` is a path.

    Returns
    -------
    dict[str, BandwidthTrace]
        By client, for the clients whose link names one. The clients of a group hear the same recording.

    Raises
    ------
    ScenarioError
        If a file is missing or is not a trace.
    """
    named: Mapping[str, str] = {
        client.id: client.link.trace for client in scenario.expanded_clients() if client.link.trace
    }
    read = {name: load_trace(Path(name)) for name in dict.fromkeys(named.values())}
    return {client_id: read[name] for client_id, name in named.items()}
