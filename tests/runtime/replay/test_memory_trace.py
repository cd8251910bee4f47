"""Memory over time: what is there and when, against a search over every instant; and the files it is read from."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridsplit.runtime.replay.memory_files import load_memory, read_memory
from hybridsplit.runtime.replay.memory_trace import MemoryTrace
from hybridsplit.scenarios.errors import RunError, ScenarioError
from hybridsplit.scenarios.sections.traces import PastTheEnd

MIB = 1 << 20
samples = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 5)), min_size=1, max_size=6)


def trace_of(pairs: list[tuple[int, int]], past_the_end: PastTheEnd = "loop") -> MemoryTrace:
    return MemoryTrace(
        tuple(float(length) for length, _ in pairs), tuple(size for _, size in pairs), past_the_end=past_the_end
    )


def every_second(pairs: list[tuple[int, int]], past_the_end: PastTheEnd) -> list[int]:
    """What is there in each whole second, for a long time."""
    once = [size for length, size in pairs for _ in range(length)]
    return once * 200 if past_the_end == "loop" else once + [once[-1]] * 200


@given(samples, st.sampled_from(["loop", "hold"]), st.integers(0, 30), st.integers(0, 12))
def test_the_least_of_a_while_is_that_of_its_instants(
    pairs: list[tuple[int, int]], past: PastTheEnd, start: int, length: int
) -> None:
    instants = every_second(pairs, past)
    found = trace_of(pairs, past).least_within(start + 0.25, max(length - 0.5, 0.0))
    assert found == min(instants[start : start + max(length, 1)])


@given(samples, st.sampled_from(["loop", "hold"]), st.integers(0, 30), st.integers(1, 12), st.integers(0, 6))
def test_the_first_time_with_enough_is_found(
    pairs: list[tuple[int, int]], past: PastTheEnd, start: int, length: int, needed: int
) -> None:
    instants = every_second(pairs, past)
    fitting = (at for at in range(start, start + 60) if min(instants[at : at + length]) >= needed)
    expected = next(fitting, math.inf)
    assert trace_of(pairs, past).first_time(needed, float(start), float(length)) == expected


@given(samples, st.integers(0, 6))
def test_times_below_make_up_what_is_below(pairs: list[tuple[int, int]], needed: int) -> None:
    below = trace_of(pairs).below_s(needed)
    assert math.fsum(below) == sum(length for length, size in pairs if size < needed)
    twice = every_second(pairs, "loop")[: 2 * sum(length for length, _ in pairs)]
    runs = "".join("x" if size < needed else " " for size in twice).split()
    assert max(below, default=0) == min(max(map(len, runs), default=0), sum(length for length, _ in pairs))


def test_a_trace_that_must_not_repeat_ends_with_an_error() -> None:
    trace = trace_of([(2, 5), (1, 3)], "fail")
    assert trace.least_within(0.0, 3.0) == 3
    with pytest.raises(RunError, match=r"ends after 3\.00 s and must not repeat"):
        trace.least_within(2.5, 1.0)


def test_lengths_of_zero_are_dropped_and_a_budget_caps() -> None:
    trace = MemoryTrace((1.0, 0.0, 2.0), (7, 1, 5)).capped(6)
    assert (trace.durations_s, trace.budget_bytes) == ((1.0, 2.0), (6, 5))


@pytest.mark.parametrize(
    "text",
    [
        '[{"duration_s": 2, "budget_bytes": 2097152}, {"duration_s": 1, "budget_bytes": 1572864}]',
        "0\t2\n2\t1.5\n3\t1.5\n",
        "# of a phone\r\n\r\n10 2\r\n12 1.5\r\n13 1.5",
        "time_s,available_mib\n0,2\n2,1.5\n3,1.5\n",
        "time_ms;memory (KiB)\n0;2048\n2000;1536\n3000;1536\n",
        "date,available_bytes\n2024-05-01T10:00:00,2097152\n2024-05-01T10:00:02,1572864\n2024-05-01T10:00:03,1572864",
        "time_s,MemAvailable_kB\n0,2048\n3,1536\n2,1536\n",
    ],
)
def test_formats_say_the_same(text: str) -> None:
    trace = read_memory(text, "phone")
    assert trace.budget_bytes[0] == 2 * MIB
    assert set(trace.budget_bytes[1:]) == {3 * MIB // 2}
    assert trace.durations_s[0] == 2.0
    assert trace.least_within(2.0, 0.9) == 3 * MIB // 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty"),
        ("0 1\n1 2 3\n", "line 2"),
        ("0 1\n1 2000000\n", "line 2: found 2000000 in the column of MiB"),
        ("time_s,rate_mbps\n0,1\n", "1 of time and 0 of memory"),
        ("time_s,free_mib,used_mib\n0,1,1\n", "2 of memory"),
        ("time_s,free_mb\n0,1\n1,1\n", "0 of memory"),
        ("time_s,free_mib\n0,1\n1,none\n", "line 3"),
        ("[1]", "item 1: found duration_s"),
        ('[{"duration_s": 1}]', "item 1: found budget_bytes"),
        ('[{"duration_s": 1, "budget_bytes": -4}]', "sample 1 has -4 bytes"),
        ("[", "begins like JSON but is not"),
        ("0 1\n", "found one sample"),
        ("0 -1\n1 -1\n", "line 1: found -1"),
    ],
)
def test_what_is_in_doubt_is_refused_with_its_place(text: str, said: str) -> None:
    with pytest.raises(ScenarioError, match=said):
        read_memory(text, "phone")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"nothing\.tsv: cannot be read"):
        load_memory(tmp_path / "nothing.tsv")
