"""The thread that asks for periods: what it learns is true, it comes to an end, and it is told and tells."""

from __future__ import annotations

import itertools
import threading
import time

import numpy as np
import pytest

from hybridsplit.profiler.accelerators.space import virtual_space
from hybridsplit.solver.virtual_space import background
from hybridsplit.solver.virtual_space.background import Background
from hybridsplit.solver.virtual_space.columns import make_column
from hybridsplit.solver.virtual_space.compact import Decided
from hybridsplit.solver.virtual_space.enumerate import all_parts
from hybridsplit.solver.virtual_space.periods import fits_memories, period_of
from hybridsplit.solver.virtual_space.pool import Clock
from tests.solver.virtual_space.tasks import random_task

_WAIT_S = 60.0


def ended(aside: Background) -> bool:
    """Wait until a thread has ended, which takes no longer than the try it is at."""
    assert aside._thread is not None
    aside._thread.join(_WAIT_S)
    return not aside._thread.is_alive()


@pytest.mark.parametrize("seed", range(4))
def test_the_worst_choice_and_a_low_bound_are_closed_around_the_shortest_period(seed: int) -> None:
    space = virtual_space(random_task(seed, apps=2))
    plans = [[make_column(space, app, parts) for parts in all_parts(space, app)] for app in range(2)]
    choices = [one for one in itertools.product(*plans) if fits_memories(space, one)]
    if not choices:
        return
    worst = max(choices, key=lambda one: period_of(space, one))
    shortest = min(period_of(space, one) for one in choices)
    best, objective, bound = worst, period_of(space, worst), shortest / 10
    aside = Background(space, 0.01, Clock(time.monotonic() + _WAIT_S))
    until = time.monotonic() + _WAIT_S
    while objective > bound * 1.01 and time.monotonic() < until and (aside._thread is None or aside._thread.is_alive()):
        best, objective, bound = aside.exchange(best, objective, bound)
        time.sleep(0.01)
    aside.stop()
    assert ended(aside)
    assert objective == period_of(space, best) >= shortest
    assert fits_memories(space, best)
    assert bound <= shortest * (1 + 1e-9)
    if len({one.link_bps for one in space.devices}) == 1:
        assert objective <= bound * 1.01 * (1 + 1e-9)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Periods that are asked for; none is ever decided."""
    periods: list[float] = []

    def open_still(*arguments: object, **_: object) -> Decided:
        periods.append(float(str(arguments[1])))
        time.sleep(0.005)
        return Decided(None, False, True)

    monkeypatch.setattr(background, "decided", open_still)
    return periods


def test_periods_between_the_bound_and_the_closing_one_are_asked_for_until_the_time_is_up(asked: list[float]) -> None:
    space = virtual_space(random_task(1, apps=2))
    aside = Background(space, 0.01, Clock(time.monotonic() + 0.3))
    assert aside.exchange((), 1.05, 1.0) == ((), 1.05, 1.0)
    assert ended(aside)
    assert asked[0] == pytest.approx(1.05 / 1.01, rel=1e-4)
    assert asked[1] == pytest.approx((1.05 / 1.01) ** 0.5, rel=1e-4)
    assert len(asked) > 4


def test_a_closed_gap_asks_for_nothing_and_a_stop_ends_the_thread(asked: list[float]) -> None:
    space = virtual_space(random_task(1, apps=2))
    aside = Background(space, 0.01, Clock(np.inf))
    aside.exchange((), 1.005, 1.0)
    time.sleep(0.05)
    assert not asked
    aside.exchange((), 1.002, 0.9)
    time.sleep(0.05)
    assert not asked, "a bound does not sink, nor does a worse choice take the place of a better one"
    assert aside._thread is not None
    assert not aside._thread.daemon, "Python waits for it: one that is left inside HiGHS ends the process with an abort"
    before = threading.active_count()
    aside.stop()
    assert ended(aside)
    assert threading.active_count() == before - 1


def test_what_more_tries_cannot_decide_is_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    number = []

    def in_vain(*_: object, **__: object) -> Decided:
        number.append(1)
        return Decided(None, False, False)

    monkeypatch.setattr(background, "decided", in_vain)
    aside = Background(virtual_space(random_task(1, apps=2)), 0.01, Clock(np.inf))
    aside.exchange((), 2.0, 1.0)
    assert ended(aside)
    assert len(number) == 1
