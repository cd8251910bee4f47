"""A pool of Ray workers: started, bound to real devices, replaced when they die."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

import ray
from ray import ObjectRef

from hybridsplit.runtime.executors.ray_cluster import errors_of_workers
from hybridsplit.runtime.executors.ray_waiting import START_LIMIT_S, result_of
from hybridsplit.scenarios.errors import RunError

PLACEMENT_LIMIT_S = 180.0
"""How long to wait for a place on the cluster while no worker is alive."""
_MOST_UNBORN = 2
_MOST_STARTS = 4
"""How often in a row a worker may die while it loads model and data."""


@dataclass(eq=False)
class Slot:
    """A place for a worker; the worker in it changes when one dies.

    Attributes
    ----------
    resource
        Custom Ray resource of the machine it is on; None for any machine.
    worker
        The actor.
    starting
        Done when the worker is ready; None when it is.
    num_starts
        Workers in a row that died before they were ready.
    born
        Done when the worker's process has come to life.
    until_s, num_unborn
        When it must have, on the monotonic clock, and workers in a row that had not.
    """

    resource: str | None = None
    worker: Any = None
    starting: ObjectRef[None] | None = None
    num_starts: int = 0
    born: ObjectRef[Any] | None = None
    until_s: float = 0.0
    num_unborn: int = 0


class WorkerPool:
    """Workers that run any client, and workers on the real devices that clients are bound to.

    Parameters
    ----------
    make_worker
        Starts a worker process on a machine that offers a custom resource, or on any one.
    num_workers
        Workers that run any client.
    """

    def __init__(self, make_worker: Callable[[str | None], Any], num_workers: int) -> None:
        self._make_worker = make_worker
        self._slots: list[Slot] = []
        self._add(None, num_workers)

    def _add(self, resource: str | None, num_workers: int) -> None:
        for _ in range(num_workers):
            slot = Slot(resource)
            self._slots.append(slot)
            self._start(slot)

    def _start(self, slot: Slot) -> None:
        slot.worker = self._make_worker(slot.resource)
        slot.born, slot.until_s = slot.worker.__ray_ready__.remote(), monotonic() + START_LIMIT_S
        slot.starting = slot.worker.prepare.remote()

    def replace_unborn(self) -> int:
        """Replace workers whose process has not come to life in time, and return how many.

        Raises
        ------
        RunError
            If that happens again and again while no other worker is ready.
        """
        now_s = monotonic()
        late = [slot for slot in self._slots if slot.starting is not None and slot.until_s <= now_s]
        unborn = [slot for slot in late if not ray.wait([slot.born], timeout=0)[0]]
        for slot in unborn:
            slot.num_unborn += 1
            if slot.num_unborn >= _MOST_UNBORN and not self.ready():
                raise no_place()
            self.replace(slot)
        return len(unborn)

    def bind(self, resource: str, num_workers: int) -> None:
        """Start workers on the devices that offer a resource, unless that has been done."""
        if not any(slot.resource == resource for slot in self._slots):
            self._add(resource, num_workers)

    def stop(self) -> None:
        """Kill all workers."""
        for slot in self._slots:
            ray.kill(slot.worker)
        self._slots = []

    def ready(self) -> list[Slot]:
        """Return the slots whose workers are ready."""
        return [slot for slot in self._slots if slot.starting is None]

    def starting(self) -> dict[ObjectRef[None], Slot]:
        """Return the slots whose workers are not ready yet, by what is done when they are."""
        return {slot.starting: slot for slot in self._slots if slot.starting is not None}

    def check(self) -> None:
        """Ask all workers whether they are alive; :meth:`take_in` replaces those that are not."""
        for slot in self.ready():
            slot.starting = slot.worker.prepare.remote()

    def replace(self, slot: Slot) -> None:
        """Put a new worker into a slot."""
        ray.kill(slot.worker)
        self._start(slot)

    def take_in(self, slot: Slot) -> bool:
        """Register that a worker is ready, or died before and is replaced; return whether it is ready.

        Raises
        ------
        HybridSplitError
            If data or model are not what the scenario says, or workers keep dying.
        """
        assert slot.starting is not None
        try:
            result_of(slot.starting, "a worker to load model and data")
        except ray.exceptions.RayTaskError as error:
            with errors_of_workers():
                raise error from None
        except ray.exceptions.RayError as error:
            slot.num_starts += 1
            if slot.num_starts >= _MOST_STARTS:
                raise RunError(
                    f"{slot.num_starts} workers in a row died while loading model and data ({first_line(error)}); the "
                    "likely cause is memory: use fewer --workers, or --executor inline"
                ) from error
            self.replace(slot)
            return False
        slot.starting, slot.num_starts, slot.num_unborn = None, 0, 0
        return True


def no_place() -> RunError:
    """Return the error of a cluster that has no place for a worker."""
    return RunError(
        f"no worker found a place on the Ray cluster within {PLACEMENT_LIMIT_S:g} s: it has no free core (use fewer "
        "--workers, or stop what else runs there), or a device that clients are bound to has left it"
    )


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, with its type where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
