"""Where compiled functions are kept: in a folder of the user's alone, sealed, and made again where they were altered.

What Numba keeps is machine code, which is run as it is read: nobody else may write it, and a damaged file must not be
read. The folder is named after a hash of the sources and of the versions that compiled them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from hybridsplit.scenarios.cache_folder import cache_folder, private_folder

_SEAL = "sealed"


def kept_in(module: str) -> Path | None:
    """Return the folder of what the modules beside one are compiled to; None where nothing is kept.

    Parameters
    ----------
    module
        Its full name; it is imported.
    """
    folder = cache_folder()
    return None if folder is None else folder / "compiled" / _sources_hash(module.rpartition(".")[0])


def is_kept(folder: Path | None, function_name: str) -> bool:
    """Say whether a function was compiled before.

    Parameters
    ----------
    folder, function_name
        Where it would be, and its name.
    """
    return folder is not None and any(folder.rglob(f"*.{function_name}-*.nbi"))


@contextmanager
def keeping(folder: Path | None) -> Iterator[bool]:
    """Let Numba keep what it is told to compile; say whether it can.

    Parameters
    ----------
    folder
        Where; nowhere when None.
    """
    import numba

    before = numba.config.CACHE_DIR
    is_ready = folder is not None and _is_ready(folder)
    numba.config.CACHE_DIR = str(folder) if is_ready else before
    try:
        yield is_ready
    finally:
        numba.config.CACHE_DIR = before


def seal(folder: Path) -> None:
    """Note what the folder holds, after something was compiled; one that cannot be sealed is made again next time."""
    partial = folder / f"{_SEAL}.{os.getpid()}"
    with contextlib.suppress(OSError):
        partial.write_text(_digest(folder), encoding="ascii")
        partial.replace(folder / _SEAL)


def _is_ready(folder: Path) -> bool:
    """Make the folder the user's own, and drop what is not as it was sealed; say whether it can be written."""
    try:
        private_folder(folder)
        if folder.stat().st_uid != getattr(os, "getuid", lambda: folder.stat().st_uid)():
            return False
        wanted = folder / _SEAL
        if _files(folder) and (not wanted.is_file() or wanted.read_bytes() != _digest(folder).encode()):
            for path in _files(folder):
                path.unlink(missing_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.nb*"))


def _digest(folder: Path) -> str:
    import hashlib

    found = hashlib.sha256()
    for path in _files(folder):
        found.update(path.name.encode() + b"\0" + path.read_bytes())
    return found.hexdigest()


@cache
def _sources_hash(package: str) -> str:
    import hashlib
    import platform
    import sys
    from importlib.metadata import PackageNotFoundError, version

    found = hashlib.sha256(f"{platform.python_version()} {platform.machine()}".encode())
    with contextlib.suppress(PackageNotFoundError):
        found.update(f"{version('numba')} {version('llvmlite')} {version('numpy')}".encode())
    for place in (__file__, sys.modules[package].__file__ or __file__):
        for path in sorted(Path(place).parent.glob("*.py")):
            found.update(path.read_bytes())
    return found.hexdigest()[:16]
