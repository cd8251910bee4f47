"""What a machine has, by the standard library alone: this runs on machines that may lack everything else."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import shutil
import stat
import sys
from pathlib import Path
from typing import TypedDict

PACKAGES = ("hybridsplit", "ray", "torch", "transformers", "peft", "numpy", "safetensors")
"""What has to be the same on every machine: bits depend on them, or the messages between the machines."""
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  looked at, not written to
READ_LIMIT_BYTES = 16 * 1024**2
"""Files up to this size are compared by what they hold, larger ones by size and name."""


class Machine(TypedDict):
    """What a machine has; plain values, which every version of Python can send."""

    host: str
    python: str
    packages: dict[str, str]
    shared_memory_bytes: int | None
    """Free on the memory file system where Ray keeps its objects; None where there is none."""
    token: str
    """``private``, ``open`` to other users, ``absent``, or ``elsewhere`` where the environment names another place."""
    files: dict[str, str]
    """By path, a digest of what is there; empty where nothing is."""


def look_at_this_machine(paths: tuple[str, ...]) -> Machine:
    """Return what this machine has.

    Parameters
    ----------
    paths
        Files and folders that a run will read.
    """
    return Machine(
        host=platform.node(),
        python=".".join(map(str, sys.version_info[:3])),
        packages={name: _version(name) for name in PACKAGES},
        shared_memory_bytes=shutil.disk_usage(_SHARED_MEMORY).free if _SHARED_MEMORY.is_dir() else None,
        token=_token(),
        files={path: _digest(Path(path)) for path in paths},
    )


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _token() -> str:
    if os.environ.get("RAY_AUTH_TOKEN"):
        return "elsewhere"
    try:
        named = os.environ.get("RAY_AUTH_TOKEN_PATH")
        path = Path(named) if named else Path.home() / ".ray" / "auth_token"
        mode = path.stat().st_mode
    except (OSError, RuntimeError):
        return "absent"
    return "open" if mode & (stat.S_IRWXG | stat.S_IRWXO) else "private"


def _digest(path: Path) -> str:
    """Return a digest over names, sizes, and what small files hold; empty where there is nothing to read."""
    found = hashlib.sha256()
    try:
        if not path.exists():
            return ""
        files = [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file())
        for one in files:
            name = one.name if one == path else one.relative_to(path).as_posix()
            size = one.stat().st_size
            found.update(f"{name}\0{size}\0".encode())
            if size <= READ_LIMIT_BYTES:
                found.update(one.read_bytes())
    except OSError:
        return ""
    return found.hexdigest()[:16]
