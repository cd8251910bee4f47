"""The final figures of a run or a replay: planned beside replayed beside measured."""

# Annotations are values here and not text (no __future__): of text, pydantic's reading is a third of the import.

from typing import Literal, cast

from hybridsplit.scenarios.contracts.disciplines import Disciplines
from hybridsplit.scenarios.contracts.placement import FrozenValue
from hybridsplit.scenarios.contracts.sealed import Kind
from hybridsplit.scenarios.scores import ACCURACY, SCORES, Score

SUMMARY_SCHEMA_VERSION = 2
SUMMARY_KIND = Kind("the summary of a run", SUMMARY_SCHEMA_VERSION, "run again into another folder (--out)")


class LatencyFigure(FrozenValue):
    """Mean or a quantile of the round latency, seconds, with a 95 % interval by the bootstrap over rounds."""

    seconds: float
    low_s: float
    high_s: float


class RoundLatencies(FrozenValue):
    """Round latencies over recorded links, each round a window of the recordings that was drawn."""

    mean: LatencyFigure
    p50: LatencyFigure
    p90: LatencyFigure
    p95: LatencyFigure
    p99: LatencyFigure
    distinct_windows: int
    """Rounds that the shortest recording holds without overlap: with fewer of them than rounds, the intervals are too
    narrow."""


def scores_of(score: Score, reached: float | None, frozen: float | None) -> dict[str, float | None]:
    """Return the fields of a summary, or of a strategy that was trained, that hold its score.

    Parameters
    ----------
    score
        The scenario's.
    reached, frozen
        After the last round, of the run and of its frozen control; None where there is none.
    """
    return {score.column: reached, score.control_key: frozen}


class Scored(FrozenValue):
    """Scores of the test data: one of each kind at most, all others None."""

    @property
    def score(self) -> Score:
        """The score that there is; accuracy where nothing was trained."""
        return next((one for one in SCORES if getattr(self, one.column) is not None), ACCURACY)

    @property
    def test_score(self) -> float | None:
        """Its value after the last round; None where nothing was trained."""
        return cast("float | None", getattr(self, self.score.column))


class ScoredBesideControl(Scored):
    """The same, with those of a run in which every client part stayed frozen."""

    @property
    def frozen_control_score(self) -> float | None:
        """That of the run in which every client part stayed frozen; None without one."""
        return cast("float | None", getattr(self, self.score.control_key))


class Summary(ScoredBesideControl):
    """The document of ``summary.json``. Figures are final ones, never the best of a run."""

    schema_version: Literal[2] = 2
    scenario: str
    """Name of the scenario."""
    scenario_hash: str
    strategy: str
    status: str
    gap: float
    num_rounds: int
    round_latency_planned_s: float
    round_latency_replayed_s: float
    """Mean over the rounds."""
    round_latencies: RoundLatencies | None = None
    """How round latencies are spread; None over constant links, and for a single round."""
    disciplines: Disciplines | None = None
    """By what a replay served at the server and on the radio; None where all was served by the plan."""
    data_seen: float | None = None
    """Share of the data that was in time, mean over rounds; None where rounds wait for all."""
    simulated_s: float
    """The replay's clock at the end."""
    test_accuracy: float | None = None
    """A fraction; None where nothing was trained, or the score is another one."""
    test_macro_f1: float | None = None
    """A fraction, where samples have several labels."""
    test_r2: float | None = None
    """At most 1, where numbers are predicted."""
    frozen_control_accuracy: float | None = None
    """Of the run in which every client part stayed frozen; None without one, or where the score is another one."""
    frozen_control_macro_f1: float | None = None
    """Of that run, where samples have several labels."""
    frozen_control_r2: float | None = None
    """Of that run, where numbers are predicted."""
    bytes: dict[str, dict[str, int]]
    """By source and phase."""
    bytes_agree: bool
    """Whether all sources count the same bytes, by client, round and phase."""
    peak_bytes: dict[str, int]
    """Measured peak by client."""
    within_budget: bool
    notes: tuple[str, ...]
    """Sentences for the reader, the events among them."""
    executor: str | None = None
    """None for a replay."""
    events: tuple[str, ...] = ()
    """What happened to clients and workers, in words."""
