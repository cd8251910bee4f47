"""Workers that fail on purpose; importable in Ray's processes."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from hybridsplit.runtime.executors.inline import InlineExecutor
from hybridsplit.runtime.split.compute import CPU_ONLY, ComputeDevices
from hybridsplit.runtime.split.link import Batch
from hybridsplit.runtime.split.parts import State
from hybridsplit.runtime.split.reports import ClientRound
from hybridsplit.runtime.worker.worker import Worker
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.schema import Scenario


@dataclass(frozen=True)
class Fails:
    """Makes workers that fail when they train one client.

    Parameters
    ----------
    how
        ``killed`` (the process), ``hangs`` or ``not-finite``.
    client
        Whose training.
    once
        A file that says it has happened, so that it does not happen again; every time when None.
    """

    how: str
    client: str
    once: Path | None = None

    def __call__(self, scenario: Scenario, num_threads: int) -> Worker:
        return _FailingWorker(scenario, num_threads, self)


class _FailingWorker(Worker):
    def __init__(self, scenario: Scenario, num_threads: int, fails: Fails) -> None:
        super().__init__(scenario, num_threads)
        self._fails = fails

    def _happens(self, assignment: Assignment, round_index: int) -> bool:
        if assignment.client != self._fails.client or round_index != 1:
            return False
        if self._fails.once is not None:
            if self._fails.once.exists():
                return False
            self._fails.once.touch()
        return True

    def _draw(self, assignment: Assignment, global_step: int) -> Batch:
        round_index = global_step // self._scenario.training.local_steps
        if self._fails.how in ("killed", "hangs") and self._happens(assignment, round_index):
            if self._fails.how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(3600)
        return super()._draw(assignment, global_step)

    def train_client(
        self,
        state: State,
        assignment: Assignment,
        round_index: int,
        measure_memory: bool,
        optimizer_state: State | None,
    ) -> ClientRound:
        outcome = super().train_client(state, assignment, round_index, measure_memory, optimizer_state)
        if self._fails.how == "not-finite" and self._happens(assignment, round_index):
            next(iter(outcome.state.values())).fill_(torch.nan)
        return outcome


class CulpritInline(InlineExecutor):
    """The inline executor with a worker that fails."""

    def __init__(self, scenario: Scenario, fails: Fails, devices: ComputeDevices = CPU_ONLY) -> None:
        super().__init__(scenario, devices=devices)
        self._fails = fails

    def __enter__(self) -> CulpritInline:
        super().__enter__()
        self._worker = self._fails(self._scenario, 1)
        return self
