"""Recorded traces in files, and dealing the files of a folder to clients."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hybridsplit.runtime.replay.trace_text import FORMATS, parse_trace
from hybridsplit.runtime.replay.traces import BandwidthTrace
from hybridsplit.scenarios.errors import InputWarning, ScenarioError
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.units import MIB, format_bytes

_SUFFIXES = (".json", ".txt", ".tsv", ".log")
_TEXTS_ABOUT_FILES = ("readme", "licence", "license", "copying", "notice", "citation", "changelog", "index")
_LARGEST_FILE_BYTES = 64 * MIB
_NAMES_SHOWN = 3


def load_trace(path: Path) -> BandwidthTrace:
    """Read a recorded trace.

    Parameters
    ----------
    path
        A file in either of the formats of :mod:`hybridsplit.runtime.replay.trace_text`.

    Returns
    -------
    BandwidthTrace
        Named after the path.

    Raises
    ------
    ScenarioError
        If the file is missing or larger than 64 MiB, is in neither format, leaves its units in doubt, or holds no
        usable samples.
    """
    try:
        if path.is_file() and (size_bytes := path.stat().st_size) > _LARGEST_FILE_BYTES:
            raise ScenarioError(
                f"{path}: found {format_bytes(size_bytes)}; needs a recording of at most "
                f"{format_bytes(_LARGEST_FILE_BYTES)}: cut it into several files"
            )
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path}: cannot be read as text ({error}); {FORMATS}") from error
    return parse_trace(text, str(path))


def assign_traces(folder: Path, client_ids: Sequence[str], seed: int) -> dict[str, BandwidthTrace]:
    """Deal the recorded traces of a folder to clients.

    Parameters
    ----------
    folder
        Folder with one trace a file. Subfolders are read too. Files that do not end in ``.json``, ``.txt``, ``.tsv`` or
        ``.log``, and texts about the files (a README, a licence, an index) are no traces: an
        :class:`~hybridsplit.scenarios.errors.InputWarning` names them. Hidden files are passed over.
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
    paths, others = _files_of(folder)
    if not paths:
        found = f"found {_named(others, folder)}" if others else "it is empty"
        raise ScenarioError(
            f"{folder}: no traces in this folder ({found}); needs files that end in {', '.join(_SUFFIXES)}; "
            f"each {FORMATS}"
        )
    if others:
        warnings.warn(
            f"{folder}: not read as recordings: {_named(others, folder)}; recordings are files that end in "
            f"{', '.join(_SUFFIXES)}",
            InputWarning,
            stacklevel=2,
        )
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


def _files_of(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the recordings of a folder and its other files, both sorted, hidden ones left out."""
    recordings: list[Path] = []
    others: list[Path] = []
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if hidden or not path.is_file():
            continue
        is_recording = path.suffix.lower() in _SUFFIXES and path.stem.lower() not in _TEXTS_ABOUT_FILES
        (recordings if is_recording else others).append(path)
    return recordings, others


def _named(paths: Sequence[Path], folder: Path) -> str:
    names = ", ".join(str(path.relative_to(folder)) for path in paths[:_NAMES_SHOWN])
    more = len(paths) - _NAMES_SHOWN
    return f"{names} and {more} more" if more > 0 else names


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
    read: dict[str, BandwidthTrace] = {}
    for index, group in enumerate(scenario.clients):
        name = group.link.trace
        if name and name not in read:
            try:
                read[name] = load_trace(Path(name))
            except ScenarioError as error:
                raise ScenarioError(f"clients.{index}.link.trace: {error}") from error
    return {client.id: read[client.link.trace] for client in scenario.expanded_clients() if client.link.trace}
