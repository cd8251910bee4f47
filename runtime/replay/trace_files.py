"""Recordings in files, and dealing the files of a folder to clients."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from hybridsplit.runtime.replay.formats import FORMATS, Recording, read_recording
from hybridsplit.runtime.replay.formats.packet_times import SUFFIXES
from hybridsplit.runtime.replay.generated_links import generated_link
from hybridsplit.runtime.replay.link_trace import link_trace
from hybridsplit.runtime.replay.traces import BandwidthTrace
from hybridsplit.scenarios.errors import InputWarning, ScenarioError
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.sections.traces import GeneratedTrace, RecordedTrace, over_time
from hybridsplit.scenarios.units import MIB, format_bytes

_SUFFIXES = (".json", ".csv", ".tsv", ".txt", ".log", ".up", ".down")
_TEXTS_ABOUT_FILES = ("readme", "licence", "license", "copying", "notice", "citation", "changelog")
_LARGEST_FILE_BYTES = 64 * MIB
_NAMES_SHOWN = 3
_MOST_BLOCKS = 20_000_000
"""Of drawn links, all clients together: some 800 MB."""


def load_recording(path: Path, index_table: str | None = None) -> Recording:
    """Read a recording; a file of packet times with that of the other direction, where both lie side by side.

    Parameters
    ----------
    path
        A file in one of the formats of :mod:`hybridsplit.runtime.replay.formats`.
    index_table
        Table of recorded indices, where they are to be read instead of rates.

    Raises
    ------
    ScenarioError
        If the file is missing or larger than 64 MiB, is in no format, leaves its meaning in doubt, or holds no usable
        samples.
    """
    found = _read(path, index_table)
    suffix = path.suffix.lower()
    other = path.with_suffix(".up" if suffix == ".down" else ".down")
    if suffix not in SUFFIXES or not other.is_file():
        return found
    pair = _read(other, index_table)
    up, down = (pair.up, found.down) if suffix == ".down" else (found.up, pair.down)
    if up is None or down is None:
        raise ScenarioError(
            f"{path}: lies beside {other.name}, and the two do not state one direction each; needs packet times in "
            "both, which are then the directions of one recording: rename a file that is another recording"
        )
    return replace(found, up=up, down=down, notes=(*found.notes, *pair.notes))


def _read(path: Path, index_table: str | None) -> Recording:
    try:
        if path.is_file() and (size_bytes := path.stat().st_size) > _LARGEST_FILE_BYTES:
            raise ScenarioError(
                f"{path}: found {format_bytes(size_bytes)}; needs a recording of at most "
                f"{format_bytes(_LARGEST_FILE_BYTES)}: cut it into several files"
            )
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path}: cannot be read as text ({error}); {FORMATS}") from error
    return read_recording(text, str(path), suffix=path.suffix.lower(), index_table=index_table)


def load_trace(path: Path) -> BandwidthTrace:
    """Read a recording as one that both directions follow, relative to what the plan gives.

    Parameters
    ----------
    path
        As for :func:`load_recording`.

    Raises
    ------
    ScenarioError
        As there.
    """
    return link_trace(load_recording(path), RecordedTrace(path=str(path)))


def assign_traces(
    folder: Path, client_ids: Sequence[str], seed: int, *, absolute: bool = False
) -> dict[str, BandwidthTrace]:
    """Deal the recordings of a folder to clients.

    Parameters
    ----------
    folder
        Folder with one recording a file, Mahimahi's pairs excepted. Subfolders are read too. Files that do not end as
        recordings do, and texts about the files (a README, a licence, an index) are none: an
        :class:`~hybridsplit.scenarios.errors.InputWarning` names them. Hidden files are passed over.
    client_ids
        The clients, in the plan's order.
    seed
        Seed of the order.
    absolute
        Whether recorded rates are to be the links' own.

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
    recordings = []
    for position, client_id in enumerate(client_ids):
        index = int(order[position % len(paths)])
        if position < len(paths):
            recordings.append(load_recording(paths[index]))
            wanted = RecordedTrace(path=str(paths[index]), use="absolute" if absolute else "relative")
            read[index] = dealt[client_id] = link_trace(recordings[-1], wanted)
        else:
            dealt[client_id] = read[index].shifted(float(generator.uniform(0.0, read[index].duration_s)))
    _warn_of_notes(recordings, {recording.name for recording in recordings})
    return dealt


def _files_of(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the recordings of a folder and its other files, both sorted, hidden ones left out."""
    recordings: list[Path] = []
    others: list[Path] = []
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if hidden or not path.is_file():
            continue
        first_word = re.split(r"[^a-z]", path.stem.lower(), maxsplit=1)[0]
        about_files = first_word in _TEXTS_ABOUT_FILES or path.stem.lower() == "index"
        if path.suffix.lower() == ".up" and path.with_suffix(".down").is_file():
            continue  # read with its other direction
        is_recording = path.suffix.lower() in _SUFFIXES and not about_files
        (recordings if is_recording else others).append(path)
    return recordings, others


def _named(paths: Sequence[Path], folder: Path) -> str:
    names = ", ".join(str(path.relative_to(folder)) for path in paths[:_NAMES_SHOWN])
    more = len(paths) - _NAMES_SHOWN
    return f"{names} and {more} more" if more > 0 else names


def _warn_of_notes(recordings: Iterable[Recording], followed: Collection[str]) -> None:
    """Say once what was completed in recordings, with the name of the first one each; both links follow some."""
    about: dict[str, list[str]] = {}
    for recording in recordings:
        for note in recording.notes:
            about.setdefault(re.sub(r"\d+", "#", note), []).append(f"{recording.name}: {note}")
        if recording.name in followed and recording.both is None and recording.only is not None:
            says = "uplink" if recording.up is not None else "downlink"
            about.setdefault(says, []).append(
                f"{recording.name}: has {says} rates only; the other direction follows them"
            )
    for notes in about.values():
        more = f" (and {len(notes) - 1} more recordings likewise)" if len(notes) > 1 else ""
        warnings.warn(f"{notes[0]}{more}", InputWarning, stacklevel=3)


def scenario_traces(scenario: Scenario, *, absolute: bool = False) -> dict[str, BandwidthTrace]:
    """Read, or draw, the traces that a scenario's links name.

    Parameters
    ----------
    scenario
        The scenario, with ``link.trace``.
    absolute
        Whether recorded rates are the links' own, whatever the scenario says.

    Returns
    -------
    dict[str, BandwidthTrace]
        By client, for the clients whose link names one. The clients of a group hear the same recording; what is drawn
        is drawn for each.

    Raises
    ------
    ScenarioError
        If a file is missing or is not a recording, or lacks what is wanted of it.
    """
    read: dict[tuple[str, str | None], Recording] = {}
    dealt: dict[str, BandwidthTrace] = {}
    followed: set[str] = set()
    _check_size(scenario)
    members: dict[str, list[str]] = {}
    for client in scenario.expanded_clients():
        members.setdefault(client.group, []).append(client.id)
    for index, group in enumerate(scenario.clients):
        if group.link.trace is None:
            continue
        wanted = over_time(group.link.trace)
        use = True if absolute else None
        try:
            if isinstance(wanted, GeneratedTrace):
                for client_id in members[group.group]:
                    drawn = generated_link(wanted, scenario.seed, client_id)
                    dealt[client_id] = link_trace(drawn, wanted, absolute=use)
                continue
            place = wanted.path, wanted.index_table
            if place not in read:
                read[place] = load_recording(Path(wanted.path), wanted.index_table)
            dealt |= dict.fromkeys(members[group.group], link_trace(read[place], wanted, absolute=use))
        except ScenarioError as error:
            raise ScenarioError(f"clients.{index}.link.trace: {error}") from error
        if wanted.direction == "both":
            followed.add(read[place].name)
    _warn_of_notes(read.values(), followed)
    return dealt


def _check_size(scenario: Scenario) -> None:
    """Refuse drawn links that would fill the memory."""
    blocks = 0
    for index, group in enumerate(scenario.clients):
        if isinstance(group.link.trace, GeneratedTrace):
            blocks += group.count * group.link.trace.num_blocks
            if blocks > _MOST_BLOCKS:
                raise ScenarioError(
                    f"clients.{index}.link.trace: the drawn links of all clients have {blocks:,} blocks up to here; "
                    f"needs at most {_MOST_BLOCKS:,} together: a shorter duration_s, which repeats, or longer block_s"
                )
