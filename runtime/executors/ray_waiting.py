"""Waiting for Ray: in short steps, between which it is seen whether its processes are still there.

Left alone, a driver whose raylet or GCS has died waits, for a minute with the GCS, and is then ended by Ray's own code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

import ray

from hybridsplit.scenarios.errors import RunError

START_LIMIT_S = 90.0
"""How long a process of ours may take to come to life before another one takes its place."""
_STEP_S = 0.5
_VITAL = {"gcs_server": "GCS", "raylet": "raylet"}


def lost_process() -> str | None:
    """Return which of the processes that a cluster started here cannot do without has died; None while all live."""
    node = getattr(ray._private.worker, "_global_node", None)
    for kind, _ in node.dead_processes() if node is not None else ():
        if kind in _VITAL:
            return _VITAL[kind]
    return None


RUN_REMEDY = (
    "go on from the last complete round with --resume (with fewer --workers if memory ran out, or with --executor "
    "inline)"
)


def check_cluster(what: str, remedy: str = RUN_REMEDY) -> None:
    """Raise where the cluster cannot go on.

    Parameters
    ----------
    what
        What is waited for, in words.
    remedy
        What the user can do.

    Raises
    ------
    RunError
        If one of its processes has died.
    """
    if (lost := lost_process()) is not None:
        raise RunError(
            f"Ray's {lost} process died while the run waited for {what}: it was killed, or memory ran out; {remedy}"
        )


def result_of(refs: Any, what: str, remedy: str = RUN_REMEDY) -> Any:
    """Return what a reference, or a list of them, stands for.

    Parameters
    ----------
    refs
        Whose values are wanted.
    what, remedy
        What is waited for, in words, and what the user can do where the cluster cannot go on.

    Raises
    ------
    RunError
        If the cluster cannot go on.
    ray.exceptions.RayError
        If the task failed, or its process died.
    """
    while True:
        try:
            return ray.get(refs, timeout=_STEP_S)
        except ray.exceptions.GetTimeoutError:
            check_cluster(what, remedy)
        except ray.exceptions.RayError:
            check_cluster(what, remedy)
            raise


def first_of(
    refs: Sequence[Any], timeout_s: float | None, what: str, remedy: str = RUN_REMEDY
) -> tuple[list[Any], list[Any]]:
    """Wait for one of several references.

    Parameters
    ----------
    refs
        What is waited for.
    timeout_s
        How long, seconds; without a limit when None.
    what, remedy
        As of :func:`result_of`.

    Returns
    -------
    Those that are done, none after the time is up, and the others.

    Raises
    ------
    RunError
        If the cluster cannot go on.
    """
    until_s = float("inf") if timeout_s is None else monotonic() + timeout_s
    while True:
        left_s = until_s - monotonic()
        ready, rest = ray.wait(list(refs), num_returns=1, timeout=max(0.0, min(_STEP_S, left_s)))
        if ready or left_s <= _STEP_S:
            check_cluster(what, remedy)
            return ready, rest
        check_cluster(what, remedy)


def alive(start: Callable[[], Any], what: str, limit_s: float = START_LIMIT_S, most_starts: int = 3) -> Any:
    """Start a process, and another one where it does not come to life.

    Parameters
    ----------
    start
        Starts an actor and returns it.
    what
        The process in words.
    limit_s
        How long each may take, seconds.
    most_starts
        How many are started.

    Raises
    ------
    RunError
        If none comes to life, or the cluster cannot go on.
    """
    for _ in range(most_starts):
        actor = start()
        ready, _ = first_of([actor.__ray_ready__.remote()], limit_s, f"{what} to start")
        if ready:
            try:
                ray.get(ready)
            except ray.exceptions.RayActorError:
                continue
            return actor
        ray.kill(actor)
    raise RunError(
        f"{what} did not start within {limit_s:g} s, {most_starts} times in a row: Ray has no place for it, or its "
        "process is killed as soon as it starts; see what else runs here, use fewer --workers, or --executor inline"
    )
