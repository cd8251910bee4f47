"""What a run and a replay come to, as values."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from hybridsplit.orchestrator.ledger_sums import LedgerSums
from hybridsplit.orchestrator.run_folder import RunFolder
from hybridsplit.orchestrator.scored import accuracy_of, final_score
from hybridsplit.runtime.replay.changing import PlanSequence
from hybridsplit.scenarios.contracts.ledger import Ledger, LedgerEntry
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.contracts.summary import Summary
from hybridsplit.scenarios.units import counted, format_seconds

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Run:
    """A finished run.

    Parameters
    ----------
    path
        Its folder, with all files of the run.
    """

    path: Path

    @cached_property
    def summary(self) -> Summary:
        """Final figures."""
        return self._folder.summary()

    @cached_property
    def plan(self) -> Plan:
        """The plan it went by."""
        return self._folder.plan()

    @cached_property
    def ledger(self) -> Ledger:
        """Bytes and seconds by client, round and phase: planned, replayed and measured."""
        return self._folder.ledger()

    @cached_property
    def rounds(self) -> pd.DataFrame:
        """One row a round: ``round``, ``simulated_s``, ``train_loss``, and the score.

        That is ``test_accuracy``, or ``test_macro_f1`` or ``test_r2`` by ``model.problem_type``.
        """
        rounds = self._folder.rounds()
        assert rounds is not None, "a run trains"
        return rounds

    @property
    def accuracy(self) -> float:
        """Test accuracy after the last round, a fraction.

        Raises
        ------
        UsageError
            If the model is judged by another score.
        """
        return accuracy_of(self.summary)

    @property
    def score(self) -> float:
        """Score of the test data after the last round: accuracy, macro F1 or R², by ``model.problem_type``."""
        return final_score(self.summary)

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self._folder.report

    @property
    def _folder(self) -> RunFolder:
        return RunFolder(self.path)

    def _repr_html_(self) -> str:
        from hybridsplit.orchestrator.views.notebook import fragment
        from hybridsplit.orchestrator.views.tables import truth_table

        return fragment(repr(self), truth_table(LedgerSums.of_entries(list(self.ledger.entries()))))

    def __repr__(self) -> str:
        """Return what the run came to, in one line."""
        figures, judged = self.summary, self.summary.score
        return (
            f"Run of {figures.scenario} by {figures.strategy}: {counted(figures.num_rounds, 'round')} in "
            f"{format_seconds(figures.simulated_s)} of simulated time, test {judged.label} "
            f"{judged.text(self.score)}; {self.path}"
        )


@dataclass(frozen=True, repr=False)
class Replayed:
    """A plan's network played through, without training.

    Parameters
    ----------
    summary
        Final figures.
    sums
        Of the ledger.
    make_entries
        Gives the entries of the ledger.
    memory
        What there is to say of clients whose memory moved; empty where it did not.
    followed, saved
        The plans that rounds went by, and what changing them saved, in words; None and empty where it could not change.
    """

    summary: Summary
    sums: LedgerSums
    make_entries: Callable[[], Iterable[LedgerEntry]]
    memory: str = ""
    followed: PlanSequence | None = None
    saved: str = ""

    @cached_property
    def entries(self) -> tuple[LedgerEntry, ...]:
        """Planned and replayed entries of the ledger."""
        return tuple(self.make_entries())

    @property
    def seconds_a_round(self) -> float:
        """Mean round latency on the replay's clock, seconds."""
        return self.summary.simulated_s / self.summary.num_rounds

    @cached_property
    def ledger(self) -> Ledger:
        """The entries as a table."""
        return Ledger.from_entries(self.entries)

    def _repr_html_(self) -> str:
        from hybridsplit.orchestrator.views.notebook import fragment
        from hybridsplit.orchestrator.views.tables import truth_table

        return fragment(repr(self), truth_table(self.sums))

    def __repr__(self) -> str:
        """Return the mean round latency beside the planned one."""
        planned_s = self.summary.round_latency_planned_s
        return (
            f"Replayed {self.summary.scenario} by {self.summary.strategy}: {counted(self.summary.num_rounds, 'round')}"
            f", {format_seconds(self.seconds_a_round)} a round, planned {format_seconds(planned_s)}"
        )
