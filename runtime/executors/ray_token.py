"""The token that Ray's processes know each other by: a file that nobody but its owner reads, from the first moment.

Whoever reaches Ray's ports and has the token runs code as this user, and other users of the machine reach them. Ray
writes it with the process's ordinary permissions, 0644 as a rule; here it exists, for the owner alone, before Ray looks
for it.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from hybridsplit.scenarios.errors import RunError

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_TOKEN_BYTES = 32


def ensure_private_token() -> None:
    """Make Ray's default token, or take it away from others, where this process is to use it.

    Raises
    ------
    RunError
        If the file cannot be made, or belongs to another user.
    """
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return
    if os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return
    try:
        path = Path.home() / ".ray" / "auth_token"
    except RuntimeError as error:
        raise RunError(
            f"this user's home folder is not known ({error}), where Ray's token is kept; set HOME, or "
            "RAY_AUTH_TOKEN_PATH to a file that only you can read, or use --executor inline"
        ) from error
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.is_file() and not path.read_bytes().strip():
            path.unlink()  # a run that was killed while it wrote it
        if not path.exists():
            _write(path)
        for place in (path.parent, path):
            mode = place.stat().st_mode
            if mode & _OTHERS:
                place.chmod(stat.S_IMODE(mode) & ~_OTHERS)
    except OSError as error:
        raise RunError(
            f"{path}: Ray's token cannot be kept here for this user alone ({error}); set RAY_AUTH_TOKEN_PATH to a file "
            "that only you can read, or use --executor inline"
        ) from error


def _write(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:  # another run was faster
        return
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_hex(_TOKEN_BYTES))
