"""A short run of the fuzz command: mutated input is used, or refused by one message, and nothing else."""

from __future__ import annotations

import pytest
import yaml

from benchmarks.fuzz import FINE, Child, try_cases
from benchmarks.fuzz_cases import make_case


@pytest.mark.parametrize(
    ("kind", "count", "limit_s"), [("load", 150, 10.0), pytest.param("plan", 10, 120.0, marks=pytest.mark.slow)]
)
def test_mutations_are_done_or_refused(kind: str, count: int, limit_s: float) -> None:
    outcomes, faults = try_cases(kind, range(count), seed=1, limit_s=limit_s)
    assert faults == []
    assert sum(outcomes.values()) == count
    assert set(outcomes) <= FINE
    assert len(outcomes) > 1, "some are refused and some are not"


def test_a_case_is_known_by_seed_kind_and_number() -> None:
    cases = {
        (seed, kind, n): make_case(seed, kind, n) for seed in (0, 1) for kind in ("load", "plan") for n in range(9)
    }
    assert all(make_case(*key) == case for key, case in cases.items())
    assert len({case.text for case in cases.values()}) > 30
    assert all(isinstance(yaml.safe_load(make_case(0, "plan", n).text), dict) for n in range(9))


def test_a_case_that_takes_too_long_is_a_hang_and_the_next_is_tried() -> None:
    child = Child("plan", 0.001, "off")
    try:
        first = child.ask({"seed": 0, "kind": "plan", "number": 0})
        assert first["outcome"] == "hang"
        assert child.ask({"seed": 0, "kind": "plan", "number": 0})["outcome"] == "hang"
    finally:
        child.stop()
