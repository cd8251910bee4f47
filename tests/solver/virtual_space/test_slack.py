"""What devices take at least, and which ranges are on a way, against listing all rows of ranges."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridsplit.solver.virtual_space.slack import least_loads, least_total, on_a_way


def rows_of_ranges(ranges: list[tuple[int, int]], last: int, most: int) -> list[tuple[int, ...]]:
    """All rows of ranges that lead from 0 to the last place, as positions."""
    found = []
    for number in range(1, most + 1):
        for row in itertools.product(range(len(ranges)), repeat=number):
            places = [0, *(ranges[one][1] for one in row)]
            if places[-1] == last and all(ranges[one][0] == place for one, place in zip(row, places, strict=False)):
                found.append(row)
    return found


@given(seed=st.integers(0, 10_000), most=st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_ways_and_least_totals_are_those_of_all_rows(seed: int, most: int) -> None:
    draw, last = np.random.default_rng(seed), 4
    ranges = [(a, b) for a, b in itertools.combinations(range(last + 1), 2) if draw.random() < 0.6] or [(0, 1)]
    starts, ends = np.array(ranges).T
    sizes = draw.random(len(ranges))
    rows = rows_of_ranges(ranges, last, most)
    assert on_a_way(starts, ends, last, most).tolist() == [
        any(one in row for row in rows) for one in range(len(ranges))
    ]
    least = min((float(sizes[list(row)].sum()) for row in rows), default=np.inf)
    assert least_total(starts, ends, sizes, last, most) == pytest.approx(least)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_every_assignment_within_the_capacities_takes_what_devices_take_at_least(seed: int) -> None:
    draw = np.random.default_rng(seed)
    capacities = draw.uniform(0.5, 1.5, 3)
    items = draw.uniform(0.05, 0.7, 5)
    devices = np.repeat(np.arange(3), 5)
    found = least_loads(devices, np.tile(items, 3), float(items.sum()), capacities)
    for places in itertools.product(range(3), repeat=5):
        loads = np.bincount(places, items, 3)
        if (loads > capacities).any():
            continue
        chosen = {place * 5 + item for item, place in enumerate(places)}
        for one in found:
            counted = sum(count for part, count in zip(one.parts, one.counts, strict=True) if int(part) in chosen)
            assert counted >= one.least - 1e-9


def test_nothing_is_asked_of_devices_that_may_stay_empty_and_all_of_those_that_must_be_full() -> None:
    devices, sizes = np.array([0, 1]), np.array([0.5, 0.5])
    assert least_loads(devices, sizes, 0.9, np.ones(2)) == []
    full = least_loads(devices, sizes, 2.0, np.ones(2))
    assert [one.device for one in full] == [0, 0, 0, 1, 1, 1]
    assert [one.counts.tolist() for one in full[:3]] == [[0.5], [1.0], [1.0]]
