"""Checkpoints: weights as safetensors, everything else as JSON, each round whole or not at all.

A round is written into a folder of its own under a temporary name and then renamed, and the pointer to the newest round
is replaced last, so that a kill at any moment leaves the previous round intact. Nothing pickled is ever read.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from runtime.split import State
from scenarios.contracts.ledger import Ledger
from scenarios.errors import ContractError, RunError

CHECKPOINT_SCHEMA_VERSION = 1
_POINTER = "latest.json"
_KEPT_ROUNDS = 2


@dataclass(frozen=True)
class RoundRecord:
    """One row of ``rounds.parquet``: metrics of the global model after a round.

    ``simulated_s`` is the replay's clock at the end of the round, counted from the start of training.
    """

    round: int
    simulated_s: float
    train_loss: float
    test_accuracy: float


@dataclass(frozen=True)
class Checkpoint:
    """All that is needed to go on after a round.

    Parameters
    ----------
    plan_hash
        Identifies scenario and plan; another one is refused.
    state
        Global state after the last round.
    records
        Metrics of all rounds so far.
    measured
        Measured ledger of all rounds so far.
    peak_bytes
        Measured peak of every client.
    """

    plan_hash: str
    state: State
    records: tuple[RoundRecord, ...]
    measured: Ledger
    peak_bytes: dict[str, int]


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; the previous one survives whatever happens.

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
        save_file(
            {key: tensor.contiguous() for key, tensor in checkpoint.state.items()}, temporary / "state.safetensors"
        )
        checkpoint.measured.save(temporary / "measured.parquet")
        document = {
            "schema_version": CHECKPOINT_SCHEMA_VERSION,
            "plan_hash": checkpoint.plan_hash,
            "records": [asdict(record) for record in checkpoint.records],
            "peak_bytes": checkpoint.peak_bytes,
        }
        (temporary / "checkpoint.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        _synchronise(temporary)
        shutil.rmtree(folder / name, ignore_errors=True)
        temporary.rename(folder / name)
        pointer = folder / f".{_POINTER}.partial"
        pointer.write_text(json.dumps({"latest": name}) + "\n", encoding="utf-8")
        pointer.replace(folder / _POINTER)
        for old in sorted(folder.glob("round-*"))[:-_KEPT_ROUNDS]:
            shutil.rmtree(old, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        raise RunError(f"{folder}: cannot write the checkpoint ({error}); the previous one is intact") from error


def load_checkpoint(folder: Path, plan_hash: str) -> Checkpoint | None:
    """Read the newest checkpoint, or return None where there is none.

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
        document = json.loads((folder / name / "checkpoint.json").read_text(encoding="utf-8"))
        if document["schema_version"] != CHECKPOINT_SCHEMA_VERSION:
            raise ValueError(f"schema version {document['schema_version']}, needs {CHECKPOINT_SCHEMA_VERSION}")
        if not document["records"]:
            raise ValueError("it records no rounds")
        checkpoint = Checkpoint(
            plan_hash=document["plan_hash"],
            state=load_file(folder / name / "state.safetensors"),
            records=tuple(RoundRecord(**record) for record in document["records"]),
            measured=Ledger.load(folder / name / "measured.parquet"),
            peak_bytes={client: int(size) for client, size in document["peak_bytes"].items()},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, SafetensorError) as error:
        raise ContractError(
            f"{folder}: the checkpoint is damaged ({error}); remove this folder to start again from round 0"
        ) from error
    if checkpoint.plan_hash != plan_hash:
        raise ContractError(
            f"{folder}: this checkpoint belongs to another scenario or plan; resume with the same one, "
            "or use another --out"
        )
    return checkpoint


def _synchronise(folder: Path) -> None:
    for path in folder.iterdir():
        with path.open("rb") as handle:
            os.fsync(handle.fileno())
