"""Options and urgencies with a short round: a walk of small changes that cools down.

Every trial times a whole round. Who ends late becomes more urgent and who ends early less, which is the change that
most often helps; others are an option or an urgency drawn at random. Options that the prices of the relaxation rate
well are drawn more often.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Sequence as ManyOf
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hybridsplit.scenarios.streams import stream_seed
from hybridsplit.solver.dispatch.sequences import Sequence, Sequences
from hybridsplit.solver.dispatch.walk import ends_s
from hybridsplit.solver.problem.arrays import BoolArray, FloatArray, IntArray
from hybridsplit.solver.problem.planning_problem import PlanningProblem

_MOST_JOBS = 200_000
"""Jobs that are timed in all trials together: about half a second."""
_FEWEST_TRIALS, _FEWEST_OF_MANY = 24, 4
"""The second where so many clients make each trial long: those change urgencies by who ended late alone."""
_MOST_JOBS_OF_FEW = 2_000_000
_TRIALS_A_CHOICE = 40
"""Most trials for every option of every client, and every urgency: more find nothing where clients are few."""
_START_TEMPERATURE = 0.005
"""Relative worsening that is accepted now and then at the beginning."""
_CHANGES_URGENCY = 0.6
"""Fraction of trials that change urgencies, half of them by who ended late."""
_ENOUGH, _ENOUGH_OF_MANY = 1e-7, 3e-3
"""A plan so close to the bound, relatively, ends the search; the second where so many clients leave few trials."""
_FEW_TRIALS = 100
_ROUNDING = 1e-9
"""Relative room of limits, so that rounding never ends a walk whose round is accepted."""
_FEW_CLIENTS = 4
"""So many are ranked in every way."""
_APART = 10.0
"""Rounds between the urgencies of two ranks."""
_RANKED = 3.0
"""Mean rank of an option that is drawn by its rating."""


@dataclass(frozen=True)
class Dispatched:
    """A choice of options served by priority.

    Parameters
    ----------
    rows
        [N] row of every client.
    urgency_s
        [N] what is added to the seconds that a client has left; 0 for dropped clients.
    value_s
        Objective, seconds.
    """

    rows: IntArray
    urgency_s: FloatArray
    value_s: float


class _Chosen(NamedTuple):
    """Options [N], those of clients that are not left out, what these do in a round, and what all gain and cost."""

    rows: IntArray
    kept: IntArray
    sequences: tuple[Sequence, ...]
    gain: float
    penalty_s: float


class DispatchSearch:
    """Search of one problem.

    Parameters
    ----------
    problem
        The planning problem; its objective is in seconds.
    options
        [N] rows that every client may take.
    ratings
        [K] what every row costs at the relaxation's prices, less what it is worth; smaller is better. None to take
        options as they come.
    is_over
        Whether the time is up.
    bound_s
        No plan has a smaller objective: one that reaches it ends the search.
    """

    def __init__(
        self,
        problem: PlanningProblem,
        options: ManyOf[IntArray],
        ratings: FloatArray | None,
        is_over: Callable[[], bool],
        bound_s: float = 0.0,
    ) -> None:
        self._problem, self._is_over, self._bound_s = problem, is_over, bound_s
        self._sequences = Sequences(problem)
        self._rng = np.random.default_rng(stream_seed(problem.scenario.seed, "dispatch"))
        self._options = [_by_rating(own, ratings) for own in options]
        self._chosen: _Chosen | None = None

    def best_from(self, starts: list[IntArray]) -> Dispatched:
        """Search from the best of some choices of options ([N] rows each)."""
        best: tuple[Dispatched, FloatArray] | None = None
        for rows in starts:
            found = self._timed(rows, np.zeros(len(rows)), math.inf if best is None else best[0].value_s)
            if best is None or found[0].value_s < best[0].value_s:
                best = found
        assert best is not None, "no start"
        return self._anneal(*best)

    def best_in_ranks(self, starts: list[IntArray]) -> Dispatched:
        """Search likewise, from urgencies so far apart that one client goes before another whatever each has left.

        Where a step passes a resource twice, changes of urgencies that are small steps seldom lead there.
        """
        found: list[tuple[Dispatched, FloatArray]] = []
        for rows in starts:
            once = self._timed(rows, np.zeros(len(rows)))
            apart_s = _APART * float(once[1].max())
            ranked = _rankings(once[1], ~self._problem.is_dropped[rows])
            found += [once, *(self._timed(rows, apart_s * ranks) for ranks in ranked)]
        return self._anneal(*min(found, key=lambda choice: choice[0].value_s))

    def _timed(self, rows: IntArray, urgency_s: FloatArray, limit_s: float = math.inf) -> tuple[Dispatched, FloatArray]:
        """Time a choice; also [N] the end of every client. Above a limit its value may be given as infinite."""
        chosen, value_s = self._chosen_of(rows), self._problem.objective_s
        # The objective is linear in the round's latency.
        at_once_s, a_second = (value_s(latency_s, chosen.gain, chosen.penalty_s) for latency_s in (0.0, 1.0))
        longest_s = (limit_s - at_once_s) / (a_second - at_once_s) if math.isfinite(a_second) else math.inf
        reached_s = np.zeros(len(rows))
        ends = ends_s(chosen.sequences, urgency_s[chosen.kept].tolist(), limit_s=longest_s * (1 + _ROUNDING))
        reached_s[chosen.kept] = ends
        return Dispatched(rows, urgency_s, value_s(float(reached_s.max()), chosen.gain, chosen.penalty_s)), reached_s

    def _chosen_of(self, rows: IntArray) -> _Chosen:
        """Return what a choice of options comes to, kept while only urgencies change."""
        if self._chosen is None or self._chosen.rows is not rows:
            kept = np.flatnonzero(~self._problem.is_dropped[rows])
            own = tuple(self._sequences.of(row) for row in rows[kept].tolist())
            gain, penalty_s = self._problem.total_gain(rows), float(self._problem.penalty_s[rows].sum())
            self._chosen = _Chosen(rows, kept, own, gain, penalty_s)
        return self._chosen

    def _anneal(self, start: Dispatched, reached_s: FloatArray) -> Dispatched:
        """Search from a choice and the end of every client in it."""
        rng, problem = self._rng, self._problem
        jobs = sum(len(segment.jobs) for row in start.rows for segment in self._sequences.of(int(row)))
        choices = problem.num_clients + sum(len(own) for own in self._options)
        fewest = min(_FEWEST_TRIALS, max(_FEWEST_OF_MANY, _MOST_JOBS_OF_FEW // max(1, jobs)))
        trials = max(fewest, min(_MOST_JOBS // max(1, jobs), _TRIALS_A_CHOICE * choices))
        enough_s = self._bound_s * (1 + (_ENOUGH if trials >= _FEW_TRIALS else _ENOUGH_OF_MANY))
        best = now = start
        for trial in range(trials):
            if self._is_over() or best.value_s <= enough_s:
                break
            rows, urgency_s = now.rows, now.urgency_s
            drawn = rng.random()
            if drawn < _CHANGES_URGENCY / 2 or trials < _FEWEST_TRIALS:
                kept = ~problem.is_dropped[rows]
                urgency_s = urgency_s + kept * 2.0 * rng.random() * (reached_s - reached_s[kept].mean())
            elif drawn < _CHANGES_URGENCY:
                client = rng.integers(problem.num_clients)
                urgency_s = urgency_s.copy()
                urgency_s[client] += rng.normal() * 0.3 * reached_s.max()
            else:
                client = rng.integers(problem.num_clients)
                rows = rows.copy()
                rows[client] = self._draw(int(client))
                if rows[client] == now.rows[client] or not problem.keeps_limits(rows):
                    continue
            temperature_s = max(_START_TEMPERATURE * (1.0 - trial / trials) ** 2 * best.value_s, 1e-300)
            # What is drawn to decide on a worse plan says how much worse it may be, and how long timing is worth it.
            state = rng.bit_generator.state
            luck = rng.random()
            most_s = now.value_s - temperature_s * math.log(max(luck, 1e-300))
            changed, ends = self._timed(rows, urgency_s, most_s)
            worse_s = changed.value_s - now.value_s
            if worse_s <= 0:
                rng.bit_generator.state = state
            if worse_s <= 0 or luck < math.exp(-worse_s / temperature_s):
                now, reached_s = changed, ends
                if now.value_s < best.value_s:
                    best = now
        return best

    def _draw(self, client: int) -> int:
        options = self._options[client]
        by_rating = self._rng.random() < 0.5
        place = int(self._rng.exponential(_RANKED)) if by_rating else int(self._rng.integers(len(options)))
        return int(options[min(place, len(options) - 1)])


def _rankings(ends_s: FloatArray, kept: BoolArray) -> Iterator[FloatArray]:
    """Yield [N] ranks of clients: all where they are few, else by when they end without, either way and as they come.

    Clients that are left out have rank 0.
    """
    places = np.flatnonzero(kept)
    orders: Iterable[ManyOf[int]] = itertools.permutations(places.tolist())
    if len(places) > _FEW_CLIENTS:
        by_end = places[np.argsort(ends_s[places], kind="stable")].tolist()
        orders = (by_end, by_end[::-1], places.tolist(), places[::-1].tolist())
    for order in orders:
        ranks = np.zeros(len(ends_s))
        ranks[list(order)] = np.arange(len(order))
        yield ranks


def _by_rating(rows: IntArray, ratings: FloatArray | None) -> IntArray:
    return rows if ratings is None else rows[np.argsort(ratings[rows], kind="stable")]
