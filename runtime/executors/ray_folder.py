"""Where Ray keeps a session: a folder whose name leaves room for its sockets.

A Unix socket's path has at most 107 bytes, and Ray adds some 70 to the folder for temporary files.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hybridsplit.scenarios.errors import RunError

_LONGEST_SOCKET_PATH = 107
_SESSION = "/ray/session_2000-01-01_00-00-00_000000_0000000/sockets/plasma_store"
_SHORT = "/tmp"  # noqa: S108  the same for all users, where Ray makes a folder of its own


def session_folder() -> str | None:
    """Return the folder to give to Ray, None where it may take its own.

    Raises
    ------
    RunError
        If the folder for temporary files is not there or its name is too long, and there is no other.
    """
    variable = "RAY_TMPDIR" if "RAY_TMPDIR" in os.environ else "TMPDIR"
    named = os.environ.get(variable)
    if named is None or (_is_short(named) and _is_usable(named)):
        return None
    for folder in dict.fromkeys((tempfile.gettempdir(), _SHORT)):
        if _is_short(folder) and _is_usable(folder):
            return str(Path(folder) / "ray")
    longest = _LONGEST_SOCKET_PATH - len(_SESSION)
    raise RunError(
        f"{variable}={named[:200]}: Ray's sockets cannot be kept here; needs a folder that can be written to, whose "
        f"name has at most {longest} characters: set {variable}=/tmp, or use --executor inline"
    )


def _is_short(folder: str) -> bool:
    return len(os.fsencode(folder)) + len(_SESSION) <= _LONGEST_SOCKET_PATH


def _is_usable(folder: str) -> bool:
    return Path(folder).is_dir() and os.access(folder, os.W_OK | os.X_OK)
