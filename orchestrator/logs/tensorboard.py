"""Rounds for TensorBoard: a folder of event files for the plan, and one for its frozen control."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hybridsplit.orchestrator.logs.figures import figures_of
from hybridsplit.runtime.run.records import RoundDone
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.contracts.relay_plan import RelayPlan


class TensorBoardWriter:
    """Write a scalar for every figure, at the number of the round.

    Parameters
    ----------
    folder
        Where; ``tensorboard --logdir`` takes it.
    plan
        What is trained.
    """

    def __init__(self, folder: str, plan: Plan | RelayPlan) -> None:
        self._folder = Path(folder)
        self._writers: dict[str, Any] = {}

    def add(self, run: str, done: RoundDone) -> None:
        """Write a round of the plan, or of its frozen control."""
        if run not in self._writers:
            from torch.utils.tensorboard import SummaryWriter

            # A run that goes on tells all its rounds again: those written before are hidden.
            self._writers[run] = SummaryWriter(str(self._folder / run), purge_step=done.round)
        for name, value in figures_of(done).items():
            self._writers[run].add_scalar(name, value, done.round)
        self._writers[run].flush()

    def close(self) -> None:
        """Write what is left."""
        for writer in self._writers.values():
            writer.close()
