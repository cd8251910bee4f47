"""What a search is asked for, and what it found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from hybridsplit.orchestrator.search.front import FrontPoint, RankCorrelation
from hybridsplit.orchestrator.studies.significance import MeanOverSeeds
from hybridsplit.profiler.untrained_scores import SCORES
from hybridsplit.scenarios.errors import UsageError
from hybridsplit.scenarios.scores import Score

if TYPE_CHECKING:
    import pandas as pd

    from hybridsplit.orchestrator.search.candidates import Candidate
    from hybridsplit.orchestrator.studies.over_seeds.runs import SeedRun

Trained = Literal["front", "all", "none"]
"""Which of the models whose test score is not known are trained."""
DEFAULT_SCORE = "operations"


@dataclass(frozen=True)
class SearchSettings:
    """How a search is made.

    Parameters
    ----------
    strategy
        How every model is planned.
    train
        Which of the models whose test score is not known are trained.
    score
        By what they are ranked before.
    seeds
        Seeds to train at: the scenario's own and those that follow it.
    """

    strategy: str = "optimal"
    train: Trained = "front"
    score: str = DEFAULT_SCORE
    seeds: int = 1

    def __post_init__(self) -> None:
        """Refuse what is no setting."""
        if self.train not in get_args(Trained):
            raise UsageError(f"train: found {self.train!r}; needs one of {', '.join(get_args(Trained))}")
        if self.score not in SCORES:
            raise UsageError(f"score: found {self.score!r}; needs one of {', '.join(SCORES)}")
        if self.seeds < 1:
            raise UsageError(f"seeds: found {self.seeds}; needs at least 1")


@dataclass(frozen=True)
class SearchedModel:
    """One model of a search.

    Parameters
    ----------
    name
        Of the variant.
    cost, lower_bound, gap
        Of its plan: what the scenario minimises (seconds, or joules), the proven bound and the relative distance; None
        without a plan.
    round_latency_s, fullest_share
        Of its plan: seconds of a round, and the largest peak of a client as a share of its budget.
    parameters
        Trainable parameters; None where nothing asked for it.
    score
        What it was ranked by before training; None where its test score was known.
    test_score
        Accuracy, macro F1 or R² of the test data with its interval over seeds; None where it is not known.
    test_score_is
        ``trained`` in this search, or ``measured`` or ``stated`` by the scenario; empty where it is not known.
    place
        ``front``; ``not told apart`` from it by the seeds; ``beaten``; ``not trained``; or ``no plan``.
    infeasible
        Why there is no plan.
    """

    name: str
    cost: float | None
    lower_bound: float | None
    gap: float | None
    round_latency_s: float | None
    fullest_share: float | None
    parameters: float | None
    score: float | None
    test_score: MeanOverSeeds | None
    test_score_is: str
    place: str
    infeasible: str


@dataclass(frozen=True, repr=False)
class ModelSearch:
    """What a search found.

    Parameters
    ----------
    scenario, minimises, strategy, score, judged_by, seeds
        What was searched, what its plans minimise, how they were made, what ranked the models before training and what
        judges them after it, and the seeds.
    models
        Every model, in the order of the variants.
    front
        Models that none beats in both figures, by rising cost; of scores before training where no test score is known.
    by_score
        Whether the front is one of scores before training, since no test score is known.
    correlations
        What every score was worth on the models that were trained.
    candidates
        Every model with its scenario and plan.
    runs
        By model, a run a seed.
    """

    scenario: str
    minimises: str
    strategy: str
    score: str
    judged_by: Score
    seeds: tuple[int, ...]
    models: tuple[SearchedModel, ...]
    front: tuple[FrontPoint, ...]
    by_score: bool
    correlations: tuple[RankCorrelation, ...]
    candidates: tuple[Candidate, ...] = field(compare=False)
    runs: Mapping[str, tuple[SeedRun, ...]] = field(compare=False)

    @property
    def frame(self) -> pd.DataFrame:
        """One row a model, columns as the fields of :class:`SearchedModel`; the test score is under its own name.

        That is ``accuracy``, ``macro_f1`` or ``r2``, by ``model.problem_type``, with ``_low``, ``_high`` and ``_is``.
        """
        import pandas as pd

        rows = []
        for one in self.models:
            row, figure, name = _plain(one), one.test_score, self.judged_by.name
            row |= {
                name: None if figure is None else figure.mean,
                f"{name}_low": None if figure is None else figure.low,
                f"{name}_high": None if figure is None else figure.high,
                f"{name}_is": one.test_score_is,
            }
            rows.append(row)
        return pd.DataFrame(rows)

    def document(self) -> dict[str, Any]:
        """Return plain values."""
        name = self.judged_by.name
        models = [
            _plain(one)
            | {
                name: None if one.test_score is None else one.test_score.model_dump(mode="json"),
                f"{name}_is": one.test_score_is,
            }
            for one in self.models
        ]
        front_of = "score" if self.by_score else name
        return {
            "scenario": self.scenario,
            "objective": self.minimises,
            "strategy": self.strategy,
            "score": self.score,
            "judged_by": name,
            "seeds": list(self.seeds),
            "front_is_of_scores": self.by_score,
            "front": [
                {"name": point.name, front_of: point.value, "cost": point.cost, "lower_bound": point.lower_bound}
                | {"gap": point.gap}
                for point in self.front
            ],
            "models": models,
            "rank_correlations": [asdict(one) for one in self.correlations],
        }

    def _repr_html_(self) -> str:
        from hybridsplit.orchestrator.views.notebook import fragment
        from hybridsplit.orchestrator.views.search import search_table

        return fragment(search_table(self))

    def __repr__(self) -> str:
        """Return how many models are on the front, in one line."""
        of = "scores before training" if self.by_score else self.judged_by.label
        return f"ModelSearch of {self.scenario}: {len(self.front)} of {len(self.models)} models on the front of {of}"


def _plain(one: SearchedModel) -> dict[str, Any]:
    """The fields of a model but for its test score, which has the name of its kind."""
    return {key: value for key, value in asdict(one).items() if key not in ("test_score", "test_score_is")}
