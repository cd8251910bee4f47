"""Checkpoints: weights as safetensors, everything else as JSON, each round whole or not at all.

A round is written into a folder of its own under a temporary name and then renamed, and the pointer to the newest round
is replaced last, so that a kill at any moment leaves the previous round intact. The newest two rounds are kept, and the
one with the highest score of the test data. A round's document has a digest of its
own and those of the files beside it; where the newest round is not as it was written, the one before it is used.
Nothing pickled is ever read.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import Field, TypeAdapter, ValidationError
from safetensors import SafetensorError

from hybridsplit.runtime.aggregation.scalar_log import AveragedRound
from hybridsplit.runtime.run.records import Checkpoint, ClientRecord, RoundRecord
from hybridsplit.runtime.worker.faults import ClientFault
from hybridsplit.scenarios.contracts.files import synchronise, write_whole
from hybridsplit.scenarios.contracts.ledger import Ledger
from hybridsplit.scenarios.contracts.placement import Placement
from hybridsplit.scenarios.contracts.sealed import Kind, read_sealed, write_sealed
from hybridsplit.scenarios.errors import ContractError, Notice, RunError

CHECKPOINT_SCHEMA_VERSION = 7
_KIND = Kind("a checkpoint", CHECKPOINT_SCHEMA_VERSION, "it is not used")
_POINTER = "latest.json"
_DOCUMENT = "checkpoint.json"
_KEPT_ROUNDS = 2

_DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, SafetensorError)
"""What reading a damaged file raises."""

_ROUND = re.compile(r"round-[0-9]{6,}")

Handle = TypeVar("Handle")
_Bytes = Annotated[int, Field(ge=0, lt=2**63)]


@dataclass(frozen=True)
class _Document:
    """What ``checkpoint.json`` holds; ``files`` are the digests of the files beside it."""

    schema_version: int
    plan_hash: str
    records: tuple[RoundRecord, ...]
    clients: tuple[ClientRecord, ...]
    peak_bytes: dict[str, _Bytes]
    faults: tuple[ClientFault, ...]
    averaged: tuple[AveragedRound, ...]
    last_round: dict[str, int]
    events: tuple[str, ...]
    files: dict[str, str]
    node_peak_bytes: dict[str, dict[str, _Bytes]] = field(default_factory=dict)
    plans: tuple[str, ...] = ()
    placed: dict[str, Placement] = field(default_factory=dict)
    computed_on: str = "cpu"


def save_checkpoint(folder: Path, checkpoint: Checkpoint, write_state: Callable[[Path], None]) -> None:
    """Write a checkpoint; the previous one survives whatever happens.

    Parameters
    ----------
    folder
        Folder of all checkpoints of a run.
    checkpoint
        What is known after a round.
    write_state
        Writes the weights into the folder it is given.

    Raises
    ------
    RunError
        If the folder cannot be written.
    """
    name = _name_of(len(checkpoint.records))
    try:
        folder.mkdir(exist_ok=True)
        temporary = folder / f".{name}.partial"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        write_state(temporary)
        checkpoint.measured.save(temporary / "measured.parquet")
        document = {
            "schema_version": CHECKPOINT_SCHEMA_VERSION,
            "plan_hash": checkpoint.plan_hash,
            "records": [asdict(record) for record in checkpoint.records],
            "clients": [asdict(record) for record in checkpoint.clients],
            "peak_bytes": checkpoint.peak_bytes,
            "faults": [asdict(fault) for fault in checkpoint.faults],
            "averaged": [asdict(one) for one in checkpoint.averaged],
            "last_round": checkpoint.last_round,
            "events": list(checkpoint.events),
            "files": _digests(temporary),
            "node_peak_bytes": checkpoint.node_peak_bytes,
            "plans": list(checkpoint.plans),
            "placed": {client: one.model_dump(mode="json") for client, one in checkpoint.placed.items()},
            "computed_on": checkpoint.computed_on,
        }
        write_sealed(temporary / _DOCUMENT, document)
        for path in (*temporary.iterdir(), temporary):
            synchronise(path)
        shutil.rmtree(folder / name, ignore_errors=True)
        temporary.rename(folder / name)
        synchronise(folder)
        write_whole(folder / _POINTER, partial(_write_pointer, name=name))
        synchronise(folder)
        # Rounds after this one are another run's, that was not resumed.
        earlier = sorted(path for path in folder.glob("round-*") if path.name < name)
        later = [path for path in folder.glob("round-*") if path.name > name]
        best = _name_of(best_round(checkpoint.records))
        for old in [*earlier[: -(_KEPT_ROUNDS - 1)], *later]:
            if old.name != best:
                shutil.rmtree(old, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        raise _unwritable(folder, name, error) from error


def best_round(records: Sequence[RoundRecord]) -> int:
    """Return after how many rounds the score of the test data was highest; the first of equals."""
    return 1 + max(range(len(records)), key=lambda index: (records[index].test_score, -index))


def kept_rounds(folder: Path) -> list[int]:
    """Return after how many rounds there are checkpoints, rising: the newest two, and that of the best round."""
    return sorted(
        int(path.name.removeprefix("round-")) for path in folder.glob("round-*") if _ROUND.fullmatch(path.name)
    )


def open_round(
    folder: Path, plan_hash: str, number: int, read_state: Callable[[Path], Handle]
) -> tuple[Checkpoint, Handle]:
    """Read the checkpoint of one round.

    Parameters
    ----------
    folder, plan_hash, read_state
        As of :func:`load_checkpoint`.
    number
        Rounds that were done.

    Raises
    ------
    ContractError
        If it is not there, not as it was written, or belongs to another scenario or plan.
    """
    kept = kept_rounds(folder)
    if number not in kept:
        raise ContractError(
            f"{folder}: holds no checkpoint after {number} rounds; there are those after "
            f"{', '.join(map(str, kept)) or 'none'} (the newest two and the best are kept)"
        )
    name = _name_of(number)
    try:
        checkpoint = _read(folder / name)
        state = read_state(folder / name)
    except _DAMAGE as error:
        raise ContractError(f"{folder}: the checkpoint {name} is damaged ({_reason(error)})") from error
    if checkpoint.plan_hash != plan_hash:
        raise ContractError(
            f"{folder}: the checkpoint {name} belongs to another scenario or plan, or to other code of your own"
        )
    return checkpoint, state


def _unwritable(folder: Path, name: str, error: Exception) -> RunError:
    """Say why a round cannot be kept, and what there is to go on from."""
    if not folder.parent.is_dir():
        return RunError(
            f"{folder.parent}: the run folder is gone, so that {name} cannot be written: it was moved or removed while "
            "training; move it back and go on with --resume, or start again"
        )
    earlier = max((path.name for path in folder.glob("round-*") if path.name < name), default=None)
    left = "no earlier one was written" if earlier is None else f"{earlier} is intact"
    then = "start again" if earlier is None else "go on with --resume"
    reason = f"{error.strerror}" if isinstance(error, OSError) and error.strerror else str(error)
    return RunError(
        f"{folder}: cannot write the checkpoint {name} ({reason}); {left}: free some space or make the folder "
        f"writable, and {then}"
    )


def load_checkpoint(
    folder: Path, plan_hash: str, read_state: Callable[[Path], Handle]
) -> tuple[Checkpoint, Handle] | None:
    """Read the newest intact checkpoint, or return None where there is none.

    Parameters
    ----------
    folder
        Folder of all checkpoints of a run.
    plan_hash
        What the checkpoint must belong to.
    read_state
        Reads the weights from the folder it is given.

    Returns
    -------
    The checkpoint, whose ``events`` say which newer one is not intact, and its weights.

    Raises
    ------
    ContractError
        If there are rounds and none is intact, or one belongs to another scenario or plan.
    """
    wrong: list[str] = []
    for name in _candidates(folder, wrong):
        try:
            checkpoint = _read(folder / name)
            if checkpoint.plan_hash != plan_hash:
                raise _BelongsToAnotherError
            handle = read_state(folder / name)
        except _BelongsToAnotherError as error:
            raise ContractError(
                f"{folder}: this checkpoint belongs to another scenario or plan, or to other code of your own; "
                "resume with the same one, or use another --out"
            ) from error
        except _DAMAGE as error:
            wrong.append(f"{name}: {_reason(error)}")
            continue
        if wrong:
            said = f"resumed from {name}, the newest intact checkpoint ({'; '.join(wrong)})"
            warnings.warn(Notice(said), stacklevel=2)
            checkpoint = replace(checkpoint, events=(*checkpoint.events, said))
        return checkpoint, handle
    if wrong:
        raise ContractError(
            f"{folder}: the checkpoint is damaged, and there is no other that is intact ({'; '.join(wrong)}); remove "
            "this folder to start again from round 0"
        )
    return None


class _BelongsToAnotherError(Exception):
    """An intact checkpoint of another scenario or plan."""


def _candidates(folder: Path, wrong: list[str]) -> Iterator[str]:
    """Yield names of rounds to try, newest first; what is wrong with the pointer is added to ``wrong``."""
    found = sorted((path.name for path in folder.glob("round-*") if path.is_dir()), reverse=True)
    pointer = folder / _POINTER
    latest = None
    if pointer.is_file():
        try:
            latest = json.loads(pointer.read_text(encoding="utf-8"))["latest"]
            if not isinstance(latest, str) or not _ROUND.fullmatch(latest):
                raise ValueError("it names no round")
        except _DAMAGE as error:
            wrong.append(f"{_POINTER}: {_reason(error)}")
            latest = None
        else:
            if latest not in found:
                wrong.append(f"{latest}: is missing")
    elif found:
        wrong.append(f"{_POINTER}: is missing")
    # Rounds after the pointer's are another run's, or were not finished.
    yield from (name for name in found if latest is None or name <= latest)


def _read(folder: Path) -> Checkpoint:
    """Read all of a round but its weights, and see that its files are those that were written with it."""
    text = json.dumps(read_sealed(folder / _DOCUMENT, _KIND))
    document = TypeAdapter(_Document).validate_json(text, strict=True)
    rounds = [record.round for record in document.records]
    if rounds != list(range(len(rounds))) or folder.name != _name_of(len(rounds)):
        raise ValueError(f"its records are not those of the rounds 0, 1, ... up to {folder.name}")
    found = _digests(folder)
    if changed := sorted(name for name, _ in found.items() ^ document.files.items()):
        raise ValueError(f"{', '.join(dict.fromkeys(changed))}: not as this checkpoint was written")
    measured = Ledger.load(folder / "measured.parquet")
    counted = {(one.client, one.round) for one in document.clients if not one.fault}
    if set(zip(measured.table["client"], measured.table["round"], strict=True)) != counted:
        raise ValueError("measured.parquet: its clients and rounds are not those of the records")
    if {one.round for one in document.clients} - set(rounds) or not set(document.peak_bytes) <= {
        one.client for one in document.clients
    }:
        raise ValueError(f"{_DOCUMENT}: clients or peak_bytes name what the records do not have")
    kept = {one.name: getattr(document, one.name) for one in fields(Checkpoint) if one.name != "measured"}
    return Checkpoint(measured=measured, **kept)


def _name_of(num_rounds: int) -> str:
    return f"round-{num_rounds:06d}"


def _digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of tensors or tables."""
    found: dict[str, str] = {}
    for path in folder.iterdir():
        if path.suffix in (".safetensors", ".parquet"):
            with path.open("rb") as handle:
                found[path.name] = hashlib.file_digest(handle, "sha256").hexdigest()
    return found


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return f"{_DOCUMENT}: {'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error)


def _write_pointer(path: Path, name: str) -> None:
    path.write_text(json.dumps({"latest": name}) + "\n", encoding="utf-8")
    synchronise(path)
