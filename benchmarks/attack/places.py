"""Places that cannot be written: a full disk, closed output, removed folders. One sentence each, and nothing lost."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import threading
import time
from pathlib import Path

from benchmarks.attack.commands import QUICK, Command, is_one_sentence, own_lines, weights_of
from benchmarks.attack.tally import Tally

LIMIT_S = 240.0
RUN = ("run", "quickstart", *QUICK, "--rounds", "3", "--executor", "inline", "--out", "run")


def attack(scratch: Path, trials: int, seed: int) -> bool:
    """Take places away; return whether each command said so in one sentence, and lost nothing it could keep.

    Parameters
    ----------
    scratch
        A folder to work in.
    trials
        File sizes at which the disk is full.
    seed
        Not used: the cases are listed.
    """
    tally = Tally("places")
    whole = _folder(scratch)
    command = Command(*RUN, folder=whole)
    assert command.ended(LIMIT_S) == 0, command.said
    wanted = weights_of(whole / "run")
    for name, case in {
        "closed output": _closed_output,
        "full output": _full_output,
        "reader gone": _reader_gone,
    }.items():
        folder = _folder(scratch)
        code, said = case(folder)
        held = code == 0 and len(said) <= 1 and weights_of(folder / "run") == wanted
        tally.add("went on" if held else "lost", f"{name}: exit {code}, {said}", bad=not held)
    code, said = _removed_folder(_folder(scratch))
    held = code == 4 and is_one_sentence(said)
    tally.add("said" if held else "not said", f"run folder removed: exit {code}, {said}", bad=not held)
    sizes = [path.stat().st_size for path in sorted((whole / "run").rglob("*")) if path.is_file()]
    steps = sorted({size - 1 for size in sizes if size > 1})
    for most_bytes in steps[:: max(1, len(steps) // max(1, trials))]:
        folder = _folder(scratch)
        code, said = _with_files_up_to(most_bytes, folder)
        if code == 0:
            continue
        is_said = code == 4 and is_one_sentence(said) and "cannot" in said[0]
        what = f"files up to {most_bytes} B"
        tally.add("said" if is_said else "not said", f"{what}: exit {code}, {said}", bad=not is_said)
        if (folder / "run" / "plan.json").exists():
            again = Command(*RUN, "--resume", folder=folder)
            same = again.ended(LIMIT_S) == 0 and weights_of(folder / "run") == wanted
            verdict = "resumed to the same bits" if same else "not resumed"
            tally.add(verdict, f"{what}: {again.said}", bad=not same)
    return tally.report()


def _folder(scratch: Path) -> Path:
    folder = scratch / f"place-{time.monotonic_ns()}"
    folder.mkdir()
    return folder


def _closed_output(folder: Path) -> tuple[int | None, list[str]]:
    command = Command(*RUN, folder=folder, preexec_fn=lambda: os.close(1))
    return command.ended(LIMIT_S), command.said


def _full_output(folder: Path) -> tuple[int | None, list[str]]:
    with Path("/dev/full").open("w") as full:
        command = Command(*RUN, folder=folder, stdout=full)
        return command.ended(LIMIT_S), command.said


def _reader_gone(folder: Path) -> tuple[int | None, list[str]]:
    command = Command(*RUN, folder=folder, stdout=subprocess.PIPE)
    assert command.process.stdout is not None
    command.process.stdout.close()
    return command.ended(LIMIT_S), command.said


def _removed_folder(folder: Path) -> tuple[int | None, list[str]]:
    command = Command(*RUN, "--rounds", "2000", folder=folder)
    while command.process.poll() is None and not (folder / "run" / "checkpoints" / "latest.json").exists():
        time.sleep(0.05)
    shutil.rmtree(folder / "run", ignore_errors=True)
    return command.ended(LIMIT_S), command.said


def _with_files_up_to(most_bytes: int, folder: Path) -> tuple[int | None, list[str]]:
    """Run with files no larger than a limit; what the command says goes through a pipe, which has no size."""
    command = Command(
        *RUN, folder=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes)),
    )  # fmt: skip
    assert command.process.stderr is not None
    heard: list[bytes] = []
    listener = threading.Thread(target=lambda stream: heard.append(stream.read()), args=(command.process.stderr,))
    listener.start()
    code = command.ended(LIMIT_S)
    listener.join()
    return code, own_lines(b"".join(heard).decode(errors="replace"))
