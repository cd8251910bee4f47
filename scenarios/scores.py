"""What a trained model is judged by on the test data: one score for each kind of label, higher if better, 1 at best."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

ScoreName = Literal["accuracy", "macro_f1", "r2"]


@dataclass(frozen=True)
class Score:
    """A score of test data.

    Parameters
    ----------
    name
        ``accuracy``, ``r2`` or ``macro_f1``.
    label
        What it is called on a terminal, in a sentence.
    is_fraction
        Whether it lies in [0, 1] and is shown in percent.
    """

    name: ScoreName
    label: str
    is_fraction: bool

    @property
    def column(self) -> str:
        """Its column in ``rounds.parquet``, and its key in ``summary.json``."""
        return f"test_{self.name}"

    @property
    def heading(self) -> str:
        """What it is called at the beginning of a sentence."""
        return f"{self.label[:1].upper()}{self.label[1:]}"

    @property
    def control_key(self) -> str:
        """Key in ``summary.json`` of the score with all client parts frozen."""
        return f"frozen_control_{self.name}"

    def text(self, value: float) -> str:
        """Return a value as it is shown: in percent, or with three decimals."""
        return f"{value:.1%}" if self.is_fraction else f"{value:.3f}"


ACCURACY = Score("accuracy", "accuracy", is_fraction=True)
R2 = Score("r2", "R²", is_fraction=False)
MACRO_F1 = Score("macro_f1", "macro F1", is_fraction=True)
SCORES = (ACCURACY, MACRO_F1, R2)
"""All scores. Each is 1 for a model that is never wrong; R² has no lower limit, the others end at 0."""

SINGLE_LABEL: Final = "single_label_classification"
MULTI_LABEL: Final = "multi_label_classification"
REGRESSION: Final = "regression"
_OF = {SINGLE_LABEL: ACCURACY, MULTI_LABEL: MACRO_F1, REGRESSION: R2}


def score_for(problem_type: str) -> Score:
    """Return the score of a scenario's ``model.problem_type``: share of right classes, macro F1, or R².

    Parameters
    ----------
    problem_type
        One of transformers' names of it.
    """
    return _OF[problem_type]


def score_in(scenario: Mapping[str, Any]) -> Score:
    """Return the score of a resolved scenario, as plans carry it.

    Parameters
    ----------
    scenario
        Its values; without a problem type, as older files are, labels are single classes.
    """
    return score_for(scenario["model"].get("problem_type", SINGLE_LABEL))


def score_called(name: ScoreName) -> Score:
    """Return the score of a name.

    Parameters
    ----------
    name
        One of :data:`SCORES`.
    """
    return next(score for score in SCORES if score.name == name)


def score_of_columns(columns: Collection[str]) -> Score:
    """Return the score that a table of rounds has a column of; accuracy where it has none.

    Parameters
    ----------
    columns
        Names of its columns.
    """
    return next((score for score in SCORES if score.column in columns), ACCURACY)
