"""How much memory a device has to spare, as its operating system says."""

from __future__ import annotations

import importlib
from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
_BYTES_PER_KIB = 1024


def available_bytes(meminfo: Path = _MEMINFO) -> int | None:
    """Return what could be allocated without others having to give memory back; None where the system does not say.

    Linux says it in ``/proc/meminfo`` (MemAvailable, since kernel 3.14); elsewhere psutil is asked, where it is
    installed.

    Parameters
    ----------
    meminfo
        Where Linux says it.
    """
    try:
        for line in meminfo.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * _BYTES_PER_KIB
    except (OSError, ValueError, IndexError):
        pass
    try:
        return int(importlib.import_module("psutil").virtual_memory().available)
    except ImportError:
        return None
