"""Write files whole or not at all: a failed write leaves what was there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside its place, then move it there.

    Parameters
    ----------
    path
        Where the file is to be.
    write
        Writes the file it is given.

    Raises
    ------
    OSError
        If it cannot be written; what was at ``path`` is as it was.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        write(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def synchronise(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk and survive a loss of power.

    Raises
    ------
    OSError
        If a file cannot be; not every file system can for folders, which are passed over there.
    """
    if path.is_dir():
        with contextlib.suppress(OSError):
            _synchronise(path)
    else:
        _synchronise(path)


def _synchronise(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text_whole(path: Path, text: str) -> None:
    """Write UTF-8 text by :func:`write_whole`."""
    write_whole(path, lambda partial: partial.write_text(text, encoding="utf-8"))
