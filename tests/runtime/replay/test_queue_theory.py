"""The server of a replay against queueing theory, job by job where there is a recursion and in the mean elsewhere."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridsplit.runtime.replay.allocation import EqualParts, FirstCome, FloatArray, Rule
from tests.runtime.replay.queues import Arrivals, ends_s, poisson

Works = Callable[[np.random.Generator, int], FloatArray]


def exponential(rng: np.random.Generator, number: int) -> FloatArray:
    return rng.exponential(1.0, number)


def deterministic(rng: np.random.Generator, number: int) -> FloatArray:
    return np.ones(number)


def two_sizes(rng: np.random.Generator, number: int) -> FloatArray:
    """0.5 s mostly and 5.5 s in a tenth: mean 1, second moment 3.25."""
    return rng.choice([0.5, 5.5], number, p=[0.9, 0.1])


NUMBER = 5_000
"""Jobs of a fast test, whose times are compared one by one; means are compared closely over many more."""
SECOND_MOMENT = {exponential: 2.0, deterministic: 1.0, two_sizes: 3.25}


def lindley(arrivals: Arrivals) -> FloatArray:
    """[N] waits of a first-come queue (Lindley, 1952)."""
    waits = np.zeros(len(arrivals.times_s))
    gaps = np.diff(arrivals.times_s)
    for job in range(1, len(waits)):
        waits[job] = max(0.0, waits[job - 1] + arrivals.amounts[job - 1] - gaps[job - 1])
    return waits


def shared_ends_s(arrivals: Arrivals) -> FloatArray:
    """[N] ends under processor sharing, by attained service: a job leaves when as much has been served since it came.

    The service that every job present has attained grows by 1 over their number.
    """
    ends = np.zeros(len(arrivals.times_s))
    leaving: dict[int, float] = {}
    attained = now = 0.0
    coming = 0
    while coming < len(ends) or leaving:
        first = min(leaving, key=lambda job: leaving[job], default=-1)
        end = now + (leaving[first] - attained) * len(leaving) if leaving else np.inf
        next_arrival = arrivals.times_s[coming] if coming < len(ends) else np.inf
        until = min(end, next_arrival)
        attained += (until - now) / len(leaving) if leaving else 0.0
        now = until
        if end <= next_arrival:
            ends[first] = now
            del leaving[first]
        else:
            leaving[coming] = attained + arrivals.amounts[coming]
            coming += 1
    return ends


@pytest.mark.parametrize("works", [exponential, deterministic])
def test_first_come_waits_as_pollaczek_and_khinchine_say(works: Works) -> None:
    load = 0.5
    arrivals = poisson(f"first-come {works.__name__}", NUMBER, load, works)
    done_s, used_s = ends_s(FirstCome(), arrivals)
    waits_s = done_s - arrivals.times_s - arrivals.amounts
    np.testing.assert_allclose(waits_s, lindley(arrivals), atol=1e-7)
    np.testing.assert_allclose(used_s, arrivals.amounts, rtol=1e-9, atol=1e-9)
    expected_s = load * SECOND_MOMENT[works] / (2 * (1 - load))
    assert waits_s.mean() == pytest.approx(expected_s, rel=0.15)


@pytest.mark.parametrize("works", [exponential, two_sizes])
def test_processor_sharing_takes_as_long_whatever_the_sizes(works: Works) -> None:
    """The mean time in the system depends on the mean work alone: 1 / (1 - load) for M/M/1 and M/G/1 alike."""
    load = 0.5
    arrivals = poisson(f"sharing {works.__name__}", NUMBER, load, works)
    done_s, used_s = ends_s(EqualParts(), arrivals)
    np.testing.assert_allclose(done_s, shared_ends_s(arrivals), atol=1e-7)
    np.testing.assert_allclose(used_s, arrivals.amounts, rtol=1e-9, atol=1e-9)
    assert (done_s - arrivals.times_s).mean() == pytest.approx(1 / (1 - load), rel=0.1)


@pytest.mark.slow
def test_under_processor_sharing_a_job_of_twice_the_work_takes_twice_as_long() -> None:
    """The mean time in the system of jobs of work x is x / (1 - load) (Kleinrock, 1967)."""
    load = 0.5
    arrivals = poisson("sharing, by size", 60_000, load, two_sizes)
    in_system_s = ends_s(EqualParts(), arrivals)[0] - arrivals.times_s
    for work_s in (0.5, 5.5):
        own = in_system_s[arrivals.amounts == work_s]
        assert own.mean() == pytest.approx(work_s / (1 - load), rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("works", [exponential, deterministic])
def test_means_come_closer_to_theory_with_more_jobs(works: Works) -> None:
    load = 0.7
    arrivals = poisson(f"many {works.__name__}", 60_000, load, works)
    waits_s = ends_s(FirstCome(), arrivals)[0] - arrivals.times_s - arrivals.amounts
    assert waits_s.mean() == pytest.approx(load * SECOND_MOMENT[works] / (2 * (1 - load)), rel=0.06)
    in_system_s = ends_s(EqualParts(), arrivals)[0] - arrivals.times_s
    assert in_system_s.mean() == pytest.approx(1 / (1 - load), rel=0.05)


@st.composite
def bursts(draw: st.DrawFn) -> Arrivals:
    number = draw(st.integers(1, 12))
    gaps = draw(st.lists(st.sampled_from([0.0, 0.0, 0.25, 1 / 3, 2.0]), min_size=number, max_size=number))
    works = draw(st.lists(st.sampled_from([1e-6, 0.1, 0.25, 1 / 3, 3.0]), min_size=number, max_size=number))
    return Arrivals(np.cumsum(gaps), np.array(works))


@given(arrivals=bursts())
@settings(deadline=None, max_examples=60)
def test_no_work_is_lost_and_the_server_never_idles_while_there_is_some(arrivals: Arrivals) -> None:
    """Every discipline ends each busy period at the same time: the unfinished work is the same function of time."""
    rules: list[Rule] = [FirstCome(), EqualParts()]
    (first_s, first_used_s), (shared_s, shared_used_s) = (ends_s(rule, arrivals) for rule in rules)
    assert first_used_s == pytest.approx(arrivals.amounts, rel=1e-9, abs=1e-12)
    assert shared_used_s == pytest.approx(arrivals.amounts, rel=1e-9, abs=1e-12)
    busy_until_s = 0.0
    ends = []
    for time_s, work_s in zip(arrivals.times_s, arrivals.amounts, strict=True):
        if time_s > busy_until_s + 1e-9 and busy_until_s > 0:
            ends.append(busy_until_s)
        busy_until_s = max(busy_until_s, time_s) + work_s
    for end_s in (*ends, busy_until_s):
        assert np.abs(first_s - end_s).min() < 1e-9 * max(1.0, end_s)
        assert np.abs(shared_s - end_s).min() < 1e-9 * max(1.0, end_s)
    assert max(first_s.max(), shared_s.max()) <= busy_until_s * (1 + 1e-9)
    assert (first_s[:-1] <= first_s[1:]).all()
