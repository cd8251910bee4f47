"""Open the logs that the command line names, and keep training going where one of them fails."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from hybridsplit.scenarios.errors import Notice, RunError, UsageError

if TYPE_CHECKING:
    from hybridsplit.orchestrator.logs.figures import RoundWriter
    from hybridsplit.runtime.run.records import RoundDone
    from hybridsplit.scenarios.contracts.plan import Plan
    from hybridsplit.scenarios.contracts.relay_plan import RelayPlan

KINDS = ("tensorboard", "mlflow")
"""Kinds of logs; each is the name of its package and of the extra that installs it."""


def check_logs(items: Sequence[str]) -> None:
    """Check the items of ``--log`` before anything is computed.

    Parameters
    ----------
    items
        ``KIND:WHERE``.

    Raises
    ------
    UsageError
        If an item is none, or its package is not installed.
    """
    for item in items:
        kind, _, where = item.partition(":")
        if kind not in KINDS or not where:
            raise UsageError(f"--log {item[:100]}: needs tensorboard:FOLDER or mlflow:URI, such as tensorboard:logs")
        if importlib.util.find_spec(kind) is None:
            raise UsageError(f"--log {item[:100]}: {kind} is not installed; pip install 'hybridsplit[{kind}]'")


class RoundLogs:
    """All logs of a run, as a context manager.

    Parameters
    ----------
    items
        As :func:`check_logs` accepts them.
    plan
        What is trained.

    Raises
    ------
    RunError
        If a log cannot be opened.
    """

    def __init__(self, items: Sequence[str], plan: Plan | RelayPlan) -> None:
        self._writers: dict[str, RoundWriter] = {}
        for item in items:
            kind, _, where = item.partition(":")
            try:
                self._writers[item] = _writer(kind, where, plan)
            except Exception as error:  # of whatever a server or a disk is at
                raise RunError(f"--log {item}: cannot be opened ({type(error).__name__}: {error})") from error

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close all logs."""
        for item in list(self._writers):
            self._try(item, lambda writer: writer.close())

    def add(self, run: str, done: RoundDone) -> None:
        """Write a round to every log; one that fails is left out from then on, and the run goes on.

        Parameters
        ----------
        run, done
            As :func:`~hybridsplit.orchestrator.training.train_by_plan` tells them.
        """
        for item in list(self._writers):
            self._try(item, lambda writer: writer.add(run, done))

    def _try(self, item: str, write: Callable[[RoundWriter], None]) -> None:
        try:
            write(self._writers[item])
        except Exception as error:  # a log is no reason to lose a training run
            del self._writers[item]
            text = f"--log {item}: cannot be written ({type(error).__name__}: {error}); the run goes on without it"
            warnings.warn(text, Notice, stacklevel=2)


def _writer(kind: str, where: str, plan: Plan | RelayPlan) -> RoundWriter:
    if kind == "tensorboard":
        from hybridsplit.orchestrator.logs.tensorboard import TensorBoardWriter

        return TensorBoardWriter(where, plan)
    from hybridsplit.orchestrator.logs.mlflow import MlflowWriter

    return MlflowWriter(where, plan)
