"""Checkpoints: weights as safetensors, everything else as JSON, each round whole or not at all.

A round is written into a folder of its own under a temporary name and then renamed, and the pointer to the newest round
is replaced last, so that a kill at any moment leaves the previous round intact. Nothing pickled is ever read.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError

from hybridsplit.runtime.aggregation.scalar_log import AveragedRound
from hybridsplit.runtime.worker.faults import ClientFault
from hybridsplit.scenarios.contracts.files import synchronise, write_whole
from hybridsplit.scenarios.contracts.ledger import Ledger
from hybridsplit.scenarios.errors import ContractError, RunError

CHECKPOINT_SCHEMA_VERSION = 5
_POINTER = "latest.json"
_DOCUMENT = "checkpoint.json"
_KEPT_ROUNDS = 2

_DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, SafetensorError)
"""What reading a damaged file raises."""

Handle = TypeVar("Handle")


@dataclass(frozen=True)
class RoundRecord:
    """One row of ``rounds.parquet``: metrics of the global model after a round.

    ``simulated_s`` is the replay's clock at the end of the round, counted from the start of training; ``train_loss`` is
    None where no client's training counted.
    """

    round: int
    simulated_s: float
    train_loss: float | None
    test_accuracy: float


@dataclass(frozen=True)
class ClientRecord:
    """One row of ``clients.parquet``: what one client did in a round it took part in.

    ``train_loss`` is the mean over its steps, None where its training did not count; ``fault`` says why, and is empty
    otherwise.
    """

    round: int
    client: str
    train_loss: float | None
    fault: str = ""


@dataclass(frozen=True)
class Checkpoint:
    """All that is needed to go on after a round, but for the weights, which an executor writes and reads.

    Parameters
    ----------
    plan_hash
        Identifies scenario and plan; another one is refused.
    records
        Metrics of all rounds so far.
    clients
        Metrics of every client in all rounds so far.
    measured
        Measured ledger of all rounds so far.
    peak_bytes
        Measured peak of every client that has taken part.
    faults
        Clients that failed so far, and which of them have left.
    averaged, last_round
        The log of averaged scalars, and by client the last round it took part in
        (:mod:`hybridsplit.runtime.aggregation.scalar_log`).
    events
        What happened to workers so far, in words.
    """

    plan_hash: str
    records: tuple[RoundRecord, ...]
    clients: tuple[ClientRecord, ...]
    measured: Ledger
    peak_bytes: dict[str, int]
    faults: tuple[ClientFault, ...] = ()
    averaged: tuple[AveragedRound, ...] = ()
    last_round: dict[str, int] = field(default_factory=dict)
    events: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Document:
    """What ``checkpoint.json`` holds; ``files`` are the digests of the files beside it."""

    schema_version: int
    plan_hash: str
    records: tuple[RoundRecord, ...]
    clients: tuple[ClientRecord, ...]
    peak_bytes: dict[str, int]
    faults: tuple[ClientFault, ...]
    averaged: tuple[AveragedRound, ...]
    last_round: dict[str, int]
    events: tuple[str, ...]
    files: dict[str, str]


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
    name = f"round-{len(checkpoint.records):06d}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
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
        }
        (temporary / _DOCUMENT).write_text(json.dumps(document) + "\n", encoding="utf-8")
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
        for old in [*earlier[: -(_KEPT_ROUNDS - 1)], *later]:
            shutil.rmtree(old, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        raise RunError(
            f"{folder}: cannot write the checkpoint ({error}); the previous one is intact: free some space or make the "
            "folder writable, and go on with --resume"
        ) from error


def load_checkpoint(
    folder: Path, plan_hash: str, read_state: Callable[[Path], Handle]
) -> tuple[Checkpoint, Handle] | None:
    """Read the newest checkpoint, or return None where there is none.

    Parameters
    ----------
    folder
        Folder of all checkpoints of a run.
    plan_hash
        What the checkpoint must belong to.
    read_state
        Reads the weights from the folder it is given.

    Raises
    ------
    ContractError
        If it is damaged, or belongs to another scenario or plan.
    """
    pointer = folder / _POINTER
    if not pointer.is_file():
        if any(folder.glob("round-*")):
            raise ContractError(
                f"{folder}: the checkpoint is damaged (rounds without {_POINTER}); remove this folder to start again"
            )
        return None
    try:
        name = json.loads(pointer.read_text(encoding="utf-8"))["latest"]
        if not isinstance(name, str) or Path(name).name != name:
            raise ValueError(f"latest.json names {name!r}")
        checkpoint = _read(folder / name)
    except _DAMAGE as error:
        raise _damaged(folder, error) from error
    if checkpoint.plan_hash != plan_hash:
        raise ContractError(
            f"{folder}: this checkpoint belongs to another scenario or plan; resume with the same one, "
            "or use another --out"
        )
    try:
        return checkpoint, read_state(folder / name)
    except _DAMAGE as error:
        raise _damaged(folder, error) from error


def _read(folder: Path) -> Checkpoint:
    """Read all of a round but its weights, and see that its files are those that were written with it."""
    text = (folder / _DOCUMENT).read_text(encoding="utf-8")
    version = json.loads(text)["schema_version"]
    if version != CHECKPOINT_SCHEMA_VERSION:
        raise ValueError(f"schema version {version}, needs {CHECKPOINT_SCHEMA_VERSION}")
    document = TypeAdapter(_Document).validate_json(text, strict=True)
    if [record.round for record in document.records] != list(range(len(document.records))) or not document.records:
        raise ValueError("its records are not those of the rounds 0, 1, ...")
    found = _digests(folder)
    if changed := sorted(name for name, _ in found.items() ^ document.files.items()):
        raise ValueError(f"{', '.join(dict.fromkeys(changed))}: not as this checkpoint was written")
    return Checkpoint(
        document.plan_hash,
        document.records,
        document.clients,
        Ledger.load(folder / "measured.parquet"),
        document.peak_bytes,
        document.faults,
        document.averaged,
        document.last_round,
        document.events,
    )


def _digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of tensors or tables."""
    found: dict[str, str] = {}
    for path in folder.iterdir():
        if path.suffix in (".safetensors", ".parquet"):
            with path.open("rb") as handle:
                found[path.name] = hashlib.file_digest(handle, "sha256").hexdigest()
    return found


def _damaged(folder: Path, error: Exception) -> ContractError:
    reason = str(error)
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        reason = f"{_DOCUMENT}: {'.'.join(map(str, first['loc']))}: {first['msg']}"
    return ContractError(
        f"{folder}: the checkpoint is damaged ({reason}); remove this folder to start again from round 0"
    )


def _write_pointer(path: Path, name: str) -> None:
    path.write_text(json.dumps({"latest": name}) + "\n", encoding="utf-8")
    synchronise(path)
