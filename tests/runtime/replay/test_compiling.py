"""When walks are compiled, where that is kept, and that it changes no bit."""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hybridsplit.runtime.replay.fades import Fades
from hybridsplit.runtime.replay.kernels.by_priority import walk_round
from hybridsplit.runtime.replay.kernels.in_turn import Clock, meet, walk_to_meeting
from hybridsplit.runtime.replay.kernels.jobs import BARRIER, COLUMNS, Spent
from hybridsplit.runtime.replay.kernels.links import (
    FadeChanges,
    Place,
    RunningSums,
    carried_until,
    fade_at,
    sample_at,
    time_transfer,
)  # fmt: skip
from hybridsplit.runtime.replay.packed_links import PackedLinks
from hybridsplit.runtime.replay.traces import BandwidthTrace
from hybridsplit.scenarios.compiled import compiling, keeping
from hybridsplit.scenarios.compiled.compiling import COMPILED, PYTHON, VARIABLE, form_for, has_numba
from hybridsplit.scenarios.errors import InputWarning, UsageError

needs_numba = pytest.mark.skipif(not has_numba(), reason="Numba is not installed")


@pytest.fixture
def with_numba(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Say that Numba is installed and nothing was compiled yet, and give the folder where that would be kept."""
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("HYBRIDSPLIT_CACHE", str(tmp_path))
    monkeypatch.setattr(compiling, "has_numba", lambda: True)
    monkeypatch.setattr(compiling, "_is_usable", lambda: True)
    folder = keeping.kept_in(walk_round.__module__)
    assert folder is not None
    return folder


def test_a_short_replay_is_never_compiled(with_numba: Path) -> None:
    assert form_for(walk_round, saved_s=0.5, compile_s=9.0) is PYTHON


def test_a_replay_that_saves_more_than_compiling_takes_is_compiled(
    with_numba: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYBRIDSPLIT_CACHE", "off")
    assert form_for(walk_round, saved_s=8.9, compile_s=9.0) is PYTHON
    assert form_for(walk_round, saved_s=9.1, compile_s=9.0) is COMPILED


def test_one_replay_pays_for_half_of_compiling_where_it_is_kept(with_numba: Path) -> None:
    assert form_for(walk_round, saved_s=4.4, compile_s=9.0) is PYTHON
    assert form_for(walk_round, saved_s=4.6, compile_s=9.0) is COMPILED


def test_what_was_compiled_before_pays_sooner(with_numba: Path) -> None:
    with_numba.mkdir(parents=True)
    (with_numba / "by_priority.walk_round-26.py311.nbi").touch()
    assert form_for(walk_round, saved_s=1.0, compile_s=9.0) is COMPILED
    assert form_for(walk_to_meeting, saved_s=1.0, compile_s=9.0) is PYTHON


def test_the_environment_decides_where_it_is_asked_to(with_numba: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "off")
    assert form_for(walk_round, saved_s=1e9, compile_s=9.0) is PYTHON
    monkeypatch.setenv(VARIABLE, "on")
    assert form_for(walk_round, saved_s=0.0, compile_s=9.0) is COMPILED
    monkeypatch.setenv(VARIABLE, "maybe")
    with pytest.raises(UsageError, match="found HYBRIDSPLIT_COMPILED=maybe; needs 'on' or 'off'"):
        form_for(walk_round, saved_s=0.0, compile_s=9.0)


def test_without_numba_all_is_python_and_asking_for_more_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "has_numba", lambda: False)
    monkeypatch.delenv(VARIABLE, raising=False)
    assert form_for(walk_round, saved_s=1e9, compile_s=0.0) is PYTHON
    monkeypatch.setenv(VARIABLE, "on")
    with pytest.raises(UsageError, match=r"hybridsplit\[fast\]"):
        form_for(walk_round, saved_s=1e9, compile_s=0.0)


def test_a_numba_that_refuses_to_be_imported_is_named_and_done_without(
    with_numba: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(compiling, "has_numba", lambda: True)
    monkeypatch.setitem(sys.modules, "numba", None)
    compiling._is_usable.cache_clear()
    try:
        with pytest.warns(InputWarning, match="nothing is compiled: Numba cannot be imported"):
            assert form_for(walk_round, saved_s=1e9, compile_s=9.0) is PYTHON
    finally:
        compiling._is_usable.cache_clear()


def drawn_traces() -> list[BandwidthTrace]:
    found = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        number = int(rng.integers(1, 30))
        rates_bps = rng.choice([0.0, 1e4, 1e6, 3.3e5], number) * rng.uniform(0.5, 1.5, number)
        rates_bps[-1] += 10.0
        found.append(
            BandwidthTrace(
                rng.uniform(0.05, 1.0, number), rates_bps, offset_s=float(rng.uniform(0, 5)),
                past_the_end=("loop", "hold", "fail")[seed % 3],
            )
        )  # fmt: skip
    return found


def answers(
    sums: RunningSums,
    place: Place,
    period_s: float,
    changes: FadeChanges,
    functions: tuple[Callable[..., Any], ...],
    asked: list[tuple[float, float]],
) -> list[tuple[Any, ...]]:
    transfers, sample, fade, carried = functions
    return [
        (
            *transfers(sums, place, needed_bits, time_s), sample(sums.edges_s, place, time_s),
            *fade(changes, period_s, place, time_s), *carried(sums, place, time_s),
        )
        for needed_bits, time_s in asked
    ]  # fmt: skip


@needs_numba
def test_compiled_links_carry_the_same_to_the_last_bit() -> None:
    traces = drawn_traces()
    packed = PackedLinks(0.4)
    for trace in traces:
        packed.number(trace)
    lists, arrays = packed.lists(), packed.vectors(COMPILED)
    functions = (time_transfer, sample_at, fade_at, carried_until)
    compiled = tuple(_compiled_part(function) for function in functions)
    rng = np.random.default_rng(7)
    for number, trace in enumerate(traces):
        times_s = [0.0, trace.duration_s, 3 * trace.duration_s, *rng.uniform(0.0, 40.0, 30).tolist()]
        asked = [(float(10 ** rng.uniform(0, 9)), time_s) for time_s in times_s]
        wanted = answers(lists.sums, lists.places[number], trace.duration_s, lists.fades, functions, asked)
        found = answers(arrays.sums, arrays.places[number], trace.duration_s, arrays.fades, compiled, asked)
        assert [tuple(map(repr_of, one)) for one in found] == [tuple(map(repr_of, one)) for one in wanted]
        # What a trace says by itself is what it says among others.
        fades = Fades(trace, 0.4)
        assert [one[3:5] for one in wanted] == [fades.at(time_s) for _, time_s in asked]


def repr_of(value: Any) -> str:
    return "nan" if math.isnan(value) else float(value).hex()


def _compiled_part(function: Any) -> Any:
    import numba

    compiling._teach_numba()
    return numba.njit(compiling._with_compiled_calls(function, {}))


@needs_numba
def test_no_addition_is_fused_with_a_multiplication() -> None:
    function = _compiled_part(time_transfer)
    packed = PackedLinks()
    packed.number(drawn_traces()[0])
    links = packed.vectors(COMPILED)
    function(links.sums, links.places[0], 1e6, 0.0)
    (assembly,) = function.inspect_asm().values()
    assert re.search(r"mulsd|fmul", assembly)
    assert not re.search(r"\bv?fn?m(add|sub|la|ls)", assembly)


@needs_numba
def test_a_cache_that_cannot_be_written_is_done_without(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (str(tmp_path / "file" / "below"), "off"):
        monkeypatch.setenv("HYBRIDSPLIT_CACHE", place)
        _lets_two_clients_meet()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@needs_numba
def test_what_is_compiled_is_kept_beside_no_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An installed package may stand where its user cannot write."""
    monkeypatch.setenv("HYBRIDSPLIT_CACHE", str(tmp_path))
    _lets_two_clients_meet()
    assert [*tmp_path.rglob("*meet-*.nbi")]
    if os.name == "posix":
        assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "compiled").iterdir())
    assert not [*Path(compiling.__file__).parent.rglob("*.nbi")]


@needs_numba
def test_what_was_altered_is_compiled_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Machine code is not read unless it is what was written."""
    monkeypatch.setenv("HYBRIDSPLIT_CACHE", str(tmp_path))
    _lets_two_clients_meet()
    kept = sorted(tmp_path.rglob("*meet-*.nb?"))
    written = [path.stat().st_mtime_ns for path in kept]
    _lets_two_clients_meet()
    assert [path.stat().st_mtime_ns for path in kept] == written
    for path in kept:
        path.write_bytes(path.read_bytes()[:-9] + b"otherwise")
    _lets_two_clients_meet()
    assert sorted(tmp_path.rglob("*meet-*.nb?")) == kept
    assert not any(path.read_bytes().endswith(b"otherwise") for path in kept)


def _lets_two_clients_meet() -> None:
    compiled = compiling._compiled.__wrapped__(meet)
    clocks = COMPILED.vector([Clock(3, 1.0, 0.0), Clock(5, 2.5, 0.0)], Clock)
    spent = COMPILED.vectors(Spent([0.0] * 2 * COLUMNS, [0.0] * 2 * COLUMNS))
    compiled(clocks, spent, 2.5)
    assert [COMPILED.read(clocks, client, "job") for client in range(2)] == [4, 6]
    assert [spent.waiting_s[client * COLUMNS + BARRIER] for client in range(2)] == [1.5, 0.0]
