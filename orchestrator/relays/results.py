"""What comparing, replaying and running over relays come to, as values for the Python interface."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from hybridsplit.orchestrator.relays.planning import ComparedRelays
from hybridsplit.orchestrator.relays.replaying import RelaySummary, TrainedFigures
from hybridsplit.orchestrator.run_folder import RunFolder
from hybridsplit.orchestrator.scored import accuracy_of, final_score
from hybridsplit.orchestrator.views.notebook import fragment
from hybridsplit.scenarios.contracts.relay_plan import RelayPlan
from hybridsplit.scenarios.units import counted, format_seconds

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class RelaysComparison:
    """Strategies for a model over relays side by side.

    Parameters
    ----------
    name
        Of the scenario.
    rows
        One a strategy.
    """

    name: str
    rows: tuple[ComparedRelays, ...]

    @property
    def frame(self) -> pd.DataFrame:
        """The rows as a table."""
        import pandas as pd

        return pd.DataFrame([row.model_dump() for row in self.rows])

    def _repr_html_(self) -> str:
        from hybridsplit.orchestrator.relays.views import relays_comparison_table

        return fragment(relays_comparison_table(self.rows))

    def __repr__(self) -> str:
        """Return the best strategy, and how many have no plan."""
        planned = {row.strategy: row.value_s for row in self.rows if row.value_s is not None}
        words = f"Comparison of {len(self.rows)} strategies on {self.name}"
        if planned:
            best = min(planned, key=lambda name: planned[name])
            words += f": {best} is the fastest, {format_seconds(planned[best])}"
        failed = len(self.rows) - len(planned)
        return words + (f"; {failed} without a plan" if failed else "")


@dataclass(frozen=True, repr=False)
class ReplayedRelays:
    """A plan over relays played through.

    Parameters
    ----------
    plan
        The plan.
    summary
        What was found.
    path
        The folder of plan, figures and report; None where nothing was written.
    """

    plan: RelayPlan
    summary: RelaySummary
    path: Path | None = None

    def _repr_html_(self) -> str:
        from hybridsplit.orchestrator.relays.views import replay_line

        return fragment(escape(replay_line(self.summary, self.plan)))

    def __repr__(self) -> str:
        """Return the replayed seconds beside the planned ones."""
        return (
            f"Replayed {self.plan.scenario['name']} by {self.plan.strategy}: {self.plan.objective} "
            f"{format_seconds(self.summary.value_s)}, planned {format_seconds(self.plan.value_s)}"
        )


@dataclass(frozen=True, repr=False)
class RelayRun:
    """A finished run over relays.

    Parameters
    ----------
    path
        Its folder, with all files of the run.
    plan
        The plan it went by.
    summary
        Final figures.
    """

    path: Path
    plan: RelayPlan
    summary: RelaySummary

    @property
    def figures(self) -> TrainedFigures:
        """What training came to."""
        assert self.summary.training is not None, "a run trains"
        return self.summary.training

    @property
    def rounds(self) -> pd.DataFrame:
        """One row a round: ``round``, ``simulated_s``, ``train_loss``, and the score.

        That is ``test_accuracy``, or ``test_macro_f1`` or ``test_r2`` by ``model.problem_type``.
        """
        rounds = RunFolder(self.path).rounds()
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
        return accuracy_of(self.figures)

    @property
    def score(self) -> float:
        """Score of the test data after the last round: accuracy, macro F1 or R², by ``model.problem_type``."""
        return final_score(self.figures)

    @property
    def report(self) -> Path:
        """The HTML report."""
        return RunFolder(self.path).report

    def _repr_html_(self) -> str:
        from hybridsplit.orchestrator.relays.views import replay_line, training_lines

        return fragment(
            *(escape(line) for line in (*training_lines(self.summary), replay_line(self.summary, self.plan)))
        )

    def __repr__(self) -> str:
        """Return what the run came to, in one line."""
        judged = self.figures.score
        return (
            f"Run of {self.plan.scenario['name']} by {self.plan.strategy}: {counted(len(self.rounds), 'round')} in "
            f"{format_seconds(self.figures.simulated_s)} of simulated time, test {judged.label} "
            f"{judged.text(self.score)}; {self.path}"
        )
