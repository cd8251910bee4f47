"""The folder of what is kept between runs."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from hybridsplit.scenarios.errors import UsageError

CACHE_VARIABLE = "HYBRIDSPLIT_CACHE"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def cache_folder() -> Path | None:
    """Return the folder; None where ``HYBRIDSPLIT_CACHE=off`` switches keeping off, or the user has no home.

    ``HYBRIDSPLIT_CACHE`` names it, else ``XDG_CACHE_HOME`` and the platform's folder for caches.

    Raises
    ------
    UsageError
        If ``HYBRIDSPLIT_CACHE`` names the home of a user who does not exist.
    """
    named = os.environ.get(CACHE_VARIABLE)
    if named == "off":
        return None
    try:
        return Path(named).expanduser() if named else platform_folder()
    except RuntimeError as error:  # there is no such user, or no home
        if named:
            raise UsageError(
                f"{CACHE_VARIABLE}={named[:200]}: is no folder ({error}); give another, or 'off'"
            ) from error
        return None


def platform_folder() -> Path:
    """Return ``hybridsplit`` in the platform's folder for caches."""
    if os.environ.get("XDG_CACHE_HOME"):
        return Path(os.environ["XDG_CACHE_HOME"]) / "hybridsplit"
    if sys.platform == "win32" and os.environ.get("LOCALAPPDATA"):
        return Path(os.environ["LOCALAPPDATA"]) / "hybridsplit" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "hybridsplit"
    return Path.home() / ".cache" / "hybridsplit"


def private_folder(path: Path) -> Path:
    """Make a folder that only its user can enter, or make it so.

    Raises
    ------
    OSError
        If it cannot be made, or belongs to another user.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    mode = path.stat().st_mode
    if mode & _OTHERS:
        path.chmod(stat.S_IMODE(mode) & ~_OTHERS)
    return path
