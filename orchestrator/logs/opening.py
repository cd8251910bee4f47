"""Open the logs that the command line names, and keep training going where one of them fails."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from hybridsplit.scenarios.errors import Notice, RunError, UsageError

if TYPE_CHECKING:
    from hybridsplit.orchestrator.logs.figures import LoggedRun, RoundWriter
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
    """All logs of a command, as a context manager.

    Parameters
    ----------
    items
        As :func:`check_logs` accepts them.
    experiment
        What runs are kept under where a log has experiments: the scenario's name.

    Raises
    ------
    RunError
        If a log cannot be opened.
    """

    def __init__(self, items: Sequence[str], experiment: str) -> None:
        self._writers: dict[str, RoundWriter] = {}
        for item in items:
            kind, _, where = item.partition(":")
            try:
                self._writers[item] = _writer(kind, where, experiment)
            except Exception as error:  # of whatever a server or a disk is at
                raise RunError(f"--log {item}: cannot be opened ({type(error).__name__}: {error})") from error

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close all logs."""
        for item in list(self._writers):
            self._try(item, lambda writer: writer.close())

    def of(self, plan: Plan | RelayPlan, name: str = "", seed: int | None = None) -> Callable[[str, RoundDone], None]:
        """Return what writes rounds of a plan, called as :func:`~hybridsplit.orchestrator.training.train_by_plan` does.

        Parameters
        ----------
        plan
            What is trained.
        name
            Of the plan's run, and what that of its frozen control begins with; ``plan`` and ``frozen-control`` when
            empty.
        seed
            At which seed; that of the plan's scenario when None.
        """
        from hybridsplit.orchestrator.logs.figures import logged_run
        from hybridsplit.orchestrator.training import PLAN

        def add(run: str, done: RoundDone) -> None:
            called = name if name and run == PLAN else f"{name}-{run}" if name else run
            self.add(logged_run(called, plan, seed), done)

        return add

    def add(self, run: LoggedRun, done: RoundDone) -> None:
        """Write a round to every log; one that fails is left out from then on, and training goes on.

        Parameters
        ----------
        run, done
            The run, and the round.
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


def _writer(kind: str, where: str, experiment: str) -> RoundWriter:
    if kind == "tensorboard":
        from hybridsplit.orchestrator.logs.tensorboard import TensorBoardWriter

        return TensorBoardWriter(where)
    from hybridsplit.orchestrator.logs.mlflow import MlflowWriter

    return MlflowWriter(where, experiment)
