"""What is said where a folder or file cannot be written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hybridsplit.scenarios.errors import RunError


@contextmanager
def writing_to(path: Path, then: str) -> Iterator[None]:
    """Say which folder or file cannot be written, and what to do then.

    Raises
    ------
    RunError
        If it cannot be written.
    """
    try:
        yield
    except OSError as error:
        gone = "" if path.parent.is_dir() else f"; {path.parent} is gone"
        raise RunError(f"{path}: cannot be written ({error.strerror or error}{gone}); {then}") from error
