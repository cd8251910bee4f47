"""The Ray cluster: started on this machine for one run, or joined where it is."""

from __future__ import annotations

import logging
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import ray
from ray._private import ray_constants
from ray._private import worker as ray_worker

from hybridsplit.runtime.executors.ray_ending import START_REMEDY, stop_cluster, watched_start
from hybridsplit.runtime.executors.ray_folder import session_folder
from hybridsplit.runtime.executors.ray_joining import HOW_TO_START, prepare_to_join
from hybridsplit.runtime.executors.ray_token import ensure_private_token
from hybridsplit.scenarios.errors import HybridSplitError, RunError


class RayCluster:
    """A cluster to run on; one that was started here is stopped again.

    A cluster that is started here listens on the loopback interface alone; one that is joined listens where it does.
    Ray's token authentication stays on unless the user switched it off (``RAY_AUTH_MODE=disabled``): other users of the
    machine reach its ports too.

    Parameters
    ----------
    address
        Address of a running cluster (``auto`` finds one on this machine); None starts one of its own.
    num_cpus
        Cores of a cluster started here.
    """

    def __init__(self, address: str | None, num_cpus: int) -> None:
        self._address = address
        self._num_cpus = num_cpus
        self._owned = False
        self._empty_folder = tempfile.TemporaryDirectory(prefix="hybridsplit-")
        self._messages = ExitStack()

    def __enter__(self) -> Self:
        # Ray would warn on every start that a worker without accelerators keeps the variable of its parent.
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        # Ray's own messages about dead processes would repeat what `events` says.
        os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")
        # It announces on every start that authentication is on, which is documented and as it should be.
        logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)
        if ray.is_initialized():
            return self
        with ExitStack() as until_it_runs:
            until_it_runs.enter_context(_messages_left_out())
            self._start_or_join()
            self._messages = until_it_runs.pop_all()
        self._owned = True
        return self

    def _start_or_join(self) -> None:
        # Workers import the driver's working directory first: files there must not stand in the way of theirs.
        with _working_in(self._empty_folder.name):
            quietly: dict[str, object] = {
                "logging_level": logging.ERROR,
                "log_to_driver": False,
                "configure_logging": False,
            }
            if self._address is None:
                ensure_private_token()
                quietly["_temp_dir"] = session_folder()
                self._start(quietly)
            else:
                self._join(quietly)

    def _start(self, quietly: dict[str, object]) -> None:
        try:
            with _own_signals(), watched_start(), _on_loopback():
                ray.init(address="local", num_cpus=self._num_cpus, include_dashboard=False, **quietly)
        except HybridSplitError:
            raise
        except Exception as error:
            # Ray raises errors of many kinds here, plain Exception among them.
            stop_cluster()
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise RunError(f"Ray did not start ({reason}): {START_REMEDY}") from error

    def _join(self, quietly: dict[str, object]) -> None:
        assert self._address is not None
        prepare_to_join(self._address)
        try:
            with _own_signals():
                ray.init(address=self._address, **quietly)
        except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
            raise RunError(
                f"--address {self._address}: cannot join this Ray cluster ({error}); {HOW_TO_START}"
            ) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._owned:
            stop_cluster()
            self._owned = False
        self._messages.close()
        self._empty_folder.cleanup()

    def offers(self, resource: str, key: str = "clients.ray_resource") -> int:
        """Return how many units of a custom resource the cluster's machines offer.

        Parameters
        ----------
        resource
            Its name.
        key
            The scenario's key that names it.

        Raises
        ------
        RunError
            If none does.
        """
        units = int(ray.cluster_resources().get(resource, 0))
        if units < 1:
            raise RunError(
                f"{key}: no machine of the cluster offers {resource!r}; join the device with 'ray start "
                f"--address=HEAD --num-cpus=0 --resources=\\'{{\"{resource}\": 1}}\\'', or leave ray_resource out to "
                "emulate it"
            )
        return units


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Let a cluster that starts now listen on this machine alone.

    Ray binds every server to loopback where the node's address is 127.0.0.1, and replaces that address wherever it is
    given (``_node_ip_address``, ``--node-ip-address``), but for this switch, which is off on macOS and Windows, where
    firewalls would ask. Processes of the cluster are given the address of its first.
    """
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextmanager
def _messages_left_out() -> Iterator[None]:
    """Leave out what Ray prints of dead processes: our errors and events say it, and Ray's own log has it.

    Ray's listener writes to standard output, where ``--json`` puts its one document, whatever Ray's logging options
    say, and asks for its writer at each message.
    """
    before = ray_worker.print_to_stdstream

    def unsaid(*arguments: Any, **options: Any) -> None:
        """Print nothing."""

    ray_worker.print_to_stdstream = unsaid
    try:
        yield
    finally:
        ray_worker.print_to_stdstream = before


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep the caller's handler of SIGTERM; Ray's prints a native stack and ends the process with exit 15.

    Where the signal comes while Ray's handler stands, the caller's has it afterwards.
    """
    before, has_come = signal.getsignal(signal.SIGTERM), False
    try:
        yield
    except SystemExit as error:
        if error.code != signal.SIGTERM:
            raise
        has_come = True
    finally:
        if callable(before) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
    if has_come:
        signal.raise_signal(signal.SIGTERM)


@contextmanager
def _working_in(folder: str) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextmanager
def errors_of_workers(remedy: str = "--resume continues from the last complete round") -> Iterator[None]:
    """Turn errors of Ray into errors of ours.

    Parameters
    ----------
    remedy
        How to go on where the cluster lost a process.

    Raises
    ------
    HybridSplitError, OSError
        A worker's own error, as what it is.
    RunError
        If a worker failed in another way, or the cluster did.
    """
    try:
        yield
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, (HybridSplitError, OSError)):
            raise error.cause from error
        raise RunError(f"a worker failed: {error.cause!r}") from error
    except ray.exceptions.RayError as error:
        raise RunError(
            f"Ray failed ({type(error).__name__}: {error}); use fewer --workers, or --executor inline; {remedy}"
        ) from error


def is_raised_by_worker(error: Exception) -> bool:
    """Whether code in a process raised it; otherwise the cluster lost a process, or what it held."""
    return isinstance(error, ray.exceptions.RayTaskError) and not isinstance(error.cause, ray.exceptions.RayError)
