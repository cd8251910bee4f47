"""The end of a Ray cluster of one's own, also where its processes have died: nobody is waited for without a limit."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import ray

from hybridsplit.runtime.executors.ray_waiting import lost_process
from hybridsplit.scenarios.errors import ExitCode

_END_LIMIT_S = 15.0
_LOOK_S = 0.05
_GRACE_S = 3.0
"""How long Ray may take to raise an error of its own where one of its processes has died at start."""
_VITAL = ("raylet", "gcs_server")
START_REMEDY = (
    "it was killed, or found no memory, disk or port; try again, with fewer --workers, or with --executor inline"
)


def stop_cluster() -> None:
    """Disconnect from the cluster, and end its processes where this process has started it."""
    node = getattr(ray._private.worker, "_global_node", None)
    if lost_process() is not None and node is not None:
        # What is left of it answers nobody.
        with contextlib.suppress(Exception):
            node.kill_all_processes(check_alive=False, allow_graceful=False)
        atexit.unregister(ray._private.worker.shutdown)
    ending = threading.Thread(target=_shutdown, daemon=True)
    ending.start()
    ending.join(_END_LIMIT_S)
    if ending.is_alive():
        atexit.unregister(ray._private.worker.shutdown)


def _shutdown() -> None:
    with contextlib.suppress(Exception):
        ray.shutdown()


@contextlib.contextmanager
def watched_start() -> Iterator[None]:
    """End this process with a message where a process of Ray dies while it starts.

    Ray's own code waits there for 30 to 60 s, without handling signals, and then ends the process without a word.
    """
    over = threading.Event()
    watch = threading.Thread(target=_watch, args=(over,), daemon=True)
    watch.start()
    try:
        yield
    finally:
        over.set()
        watch.join()


def _watch(over: threading.Event) -> None:
    seen: set[int] = set()
    while not over.wait(_LOOK_S):
        alive = _vital_children()
        if seen - alive:
            break
        seen |= alive
    else:
        return
    if over.wait(_GRACE_S):
        return
    sys.stderr.write(f"error: a process of Ray died while the cluster started: {START_REMEDY}\n")
    sys.stderr.flush()
    for pid in _vital_children():
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    os._exit(ExitCode.FAILED)


def _vital_children() -> set[int]:
    """Return the processes that this one has started and no cluster can do without."""
    found = set()
    with contextlib.suppress(OSError):
        for path in Path("/proc/self/task").glob("*/children"):
            with contextlib.suppress(OSError):
                for pid in path.read_text().split():
                    if _is_vital(int(pid)):
                        found.add(int(pid))
    return found


def _is_vital(pid: int) -> bool:
    try:
        program = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
    except OSError:
        return False
    return Path(program).name in _VITAL
