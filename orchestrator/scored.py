"""The final score of a trained run, by whatever its model is judged."""

from __future__ import annotations

from hybridsplit.scenarios.contracts.summary import Scored
from hybridsplit.scenarios.errors import UsageError
from hybridsplit.scenarios.scores import ACCURACY


def final_score(figures: Scored) -> float:
    """Return the score of the test data after the last round.

    Parameters
    ----------
    figures
        Of a run that trained.
    """
    assert figures.test_score is not None, "a run trains"
    return figures.test_score


def accuracy_of(figures: Scored) -> float:
    """Return that score where it is accuracy.

    Parameters
    ----------
    figures
        Of a run that trained.

    Raises
    ------
    UsageError
        If the model is judged by another score.
    """
    if figures.score is not ACCURACY:
        raise UsageError(f"accuracy: this run is judged by {figures.score.label}; read score")
    return final_score(figures)
