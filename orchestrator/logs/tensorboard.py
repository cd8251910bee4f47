"""Rounds for TensorBoard: a folder of event files for every run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hybridsplit.orchestrator.logs.figures import LoggedRun, figures_of
from hybridsplit.runtime.run.records import RoundDone


class TensorBoardWriter:
    """Write a scalar for every figure, at the number of the round.

    Parameters
    ----------
    folder
        Where; ``tensorboard --logdir`` takes it.
    """

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self._writers: dict[str, Any] = {}

    def add(self, run: LoggedRun, done: RoundDone) -> None:
        """Write a round of a run."""
        if run.name not in self._writers:
            from torch.utils.tensorboard import SummaryWriter

            # A run that goes on tells all its rounds again: those written before are hidden.
            writer = self._writers[run.name] = SummaryWriter(str(self._folder / run.name), purge_step=done.round)
            for name, stated in run.parameters.items():
                writer.add_text(name, str(stated))
        for name, value in figures_of(done).items():
            self._writers[run.name].add_scalar(name, value, done.round)
        self._writers[run.name].flush()

    def close(self) -> None:
        """Write what is left."""
        for writer in self._writers.values():
            writer.close()
