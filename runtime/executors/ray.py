"""The Ray executor: a pool of worker processes serves any number of emulated clients.

Clients are data, workers are processes: a torch process costs about 170 MiB, so an actor per client would die at a
hundred clients. Ray's ports listen on all interfaces, so its token authentication stays on unless the user switched
it off (``RAY_AUTH_MODE=disabled``).
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import ray
from ray.util import ActorPool

from runtime.client import Assignment, ClientRound
from runtime.split import State
from runtime.worker import Worker
from scenarios.errors import HybridSplitError, RunError
from scenarios.schema import Scenario


class RayExecutor:
    """Trains on a local Ray cluster.

    Parameters
    ----------
    scenario
        The scenario.
    num_workers
        Worker processes, one core each.
    num_threads
        Torch threads of each worker.
    """

    def __init__(self, scenario: Scenario, num_workers: int, num_threads: int = 1) -> None:
        self._scenario = scenario
        self._num_workers = num_workers
        self._num_threads = num_threads
        self._actors: list[Any] = []
        self._owns_cluster = False
        self._empty_folder = tempfile.TemporaryDirectory(prefix="hybridsplit-")

    def __enter__(self) -> Self:
        # Ray would warn on every start that a worker without accelerators keeps the variable of its parent.
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        # It announces on every start that authentication is on, which is documented and as it should be.
        logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)
        if not ray.is_initialized():
            # Workers import the driver's working directory first: a user's own runtime.py there would replace ours.
            with _working_in(self._empty_folder.name):
                ray.init(
                    address="local",
                    num_cpus=self._num_workers,
                    include_dashboard=False,
                    logging_level=logging.ERROR,
                    log_to_driver=False,
                    configure_logging=False,
                )
            self._owns_cluster = True
        actor_class = ray.remote(num_cpus=1, max_restarts=0)(Worker)
        self._actors = [actor_class.remote(self._scenario, self._num_threads) for _ in range(self._num_workers)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for actor in self._actors:
            ray.kill(actor)
        self._actors = []
        if self._owns_cluster:
            ray.shutdown()
            self._owns_cluster = False
        self._empty_folder.cleanup()

    def initial_state(self) -> State:
        """Return the state training starts from."""
        with _errors_of_workers():
            state: State = ray.get(self._actors[0].initial_state.remote())
        return state

    def train_round(
        self, state: State, assignments: Sequence[Assignment], round_index: int, *, measure_memory: bool
    ) -> list[ClientRound]:
        """Train all clients for one round from the same state; results in the order of the assignments."""
        shared = ray.put(state)

        def submit(actor: Any, assignment: Assignment) -> Any:
            return actor.train.remote(shared, assignment, round_index, measure_memory=measure_memory)

        with _errors_of_workers():
            return list(ActorPool(self._actors).map(submit, assignments))

    def evaluate(self, state: State) -> float:
        """Return the test accuracy of a global state."""
        with _errors_of_workers():
            accuracy: float = ray.get(self._actors[0].evaluate.remote(ray.put(state)))
        return accuracy


@contextmanager
def _working_in(folder: str) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextmanager
def _errors_of_workers() -> Iterator[None]:
    """Let a worker's own error through as what it is, and name a worker that died."""
    try:
        yield
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, HybridSplitError):
            raise error.cause from error
        raise RunError(f"a worker failed: {error.cause!r}") from error
    except ray.exceptions.RayActorError as error:
        raise RunError(
            f"a Ray worker died ({error}); the likely cause is memory: use fewer --workers, or --executor inline; "
            "--resume continues from the last complete round"
        ) from error
    except ray.exceptions.RayError as error:
        raise RunError(
            f"Ray failed ({type(error).__name__}: {error}); use fewer --workers, or --executor inline"
        ) from error
