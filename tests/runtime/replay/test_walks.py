"""What is walked without a simulation is what SimPy's processes give, to the last bit: as Python, and compiled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridsplit.runtime.replay.apart import walk_apart
from hybridsplit.runtime.replay.link_trace import LinkTrace
from hybridsplit.runtime.replay.processes import simulate
from hybridsplit.runtime.replay.traces import BandwidthTrace
from hybridsplit.runtime.replay.turn_walk import walk_in_turn
from hybridsplit.runtime.replay.urgent import walk_by_priority
from hybridsplit.runtime.replay.work import ClientWork
from hybridsplit.scenarios.compiled.compiling import VARIABLE, has_numba
from hybridsplit.scenarios.contracts.attendance import Attendance
from hybridsplit.scenarios.contracts.jobs import round_jobs
from hybridsplit.scenarios.contracts.phases import HEAD_PHASES, Phase
from hybridsplit.scenarios.contracts.schedule import Chain, Dispatch, Turns
from hybridsplit.scenarios.contracts.three_part import NO_HEAD, HeadCosts
from hybridsplit.scenarios.contracts.updates import NO_UPDATES, UpdateCosts
from hybridsplit.scenarios.errors import RunError
from hybridsplit.scenarios.sections.traces import PastTheEnd

BOTH_FORMS = pytest.mark.parametrize(
    "form",
    [
        pytest.param("off", id="python"),
        pytest.param("on", id="compiled", marks=pytest.mark.skipif(not has_numba(), reason="Numba is not installed")),
    ],
)


@contextmanager
def walked_in(form: str) -> Iterator[None]:
    """Walk in one form, however short the replay."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, form)
        yield


@dataclass(frozen=True)
class Costs:
    """Bytes and seconds of a client's round."""

    client_compute_s: float
    server_compute_s: float
    sizes: tuple[int, int, int, int]
    upload_every: int = 1
    head: HeadCosts = NO_HEAD
    micro_batches: int = 1
    updates: UpdateCosts = NO_UPDATES

    def phase_bytes(self, phase: Phase) -> int:
        """Bytes of a phase."""
        order = (Phase.MODEL_DOWNLOAD, Phase.UPLINK, Phase.DOWNLINK, Phase.MODEL_UPLOAD)
        return self.sizes[order.index(phase)]


@dataclass(frozen=True)
class Case:
    """All that a replay is made from."""

    work: tuple[ClientWork, ...]
    attendance: Attendance
    schedule: Dispatch
    synchronise: bool


SECONDS = st.sampled_from([0.0, 0.1, 0.3, 1.0, 1 / 3, 7.7])
SIZES = st.sampled_from([0, 1, 3, 1000, 123_457])


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Few kinds of clients, so that many are alike and ask at the same time; some are late or away."""
    steps = draw(st.integers(1, 3))
    kinds = []
    for _ in range(draw(st.integers(1, 3))):
        client_s, server_s = draw(SECONDS), draw(SECONDS)
        head = draw(st.sampled_from([NO_HEAD, HeadCosts(client_s / 2, 700, 41, server_s / 3)]))
        costs = Costs(client_s, server_s, (draw(SIZES), draw(SIZES), draw(SIZES), draw(SIZES)), head=head)
        up_bps, down_bps = (draw(st.sampled_from([1e3, 3e5, 7e6])) for _ in range(2))
        delays_s = [draw(st.sampled_from([0.0, 0.01])) for _ in range(2)]
        share = draw(st.sampled_from([1.0, 0.3]))
        is_dedicated = draw(st.booleans())
        jobs = round_jobs(costs, steps, is_dedicated=is_dedicated)
        kinds.append(ClientWork("", steps, jobs, share, up_bps, down_bps, *delays_s, is_dedicated=is_dedicated))
    names = [f"c-{number}" for number in range(draw(st.integers(1, 7)))]
    work = tuple(
        replace(
            draw(st.sampled_from(kinds)), client_id=name, start_offset_s=draw(st.sampled_from([0.0, 0.0, 0.0, 0.4]))
        )
        for name in names
    )
    rounds = []
    for _ in range(draw(st.integers(1, 3))):
        away = draw(st.sets(st.sampled_from(names), max_size=len(names) - 1))
        rounds.append({name: draw(st.sampled_from([0, 0, 500])) for name in names if name not in away})
    urgency_s = tuple(draw(st.sampled_from([0.0, -1.0, 2.5])) for _ in names)
    schedule = Dispatch(order=tuple(draw(st.permutations(names))), urgency_s=urgency_s)
    return Case(work, Attendance(tuple(rounds)), schedule, draw(st.booleans()))


@BOTH_FORMS
@given(case=cases(), moment_s=st.sampled_from([0.0, 1e-9, 0.05]))
@settings(deadline=None, max_examples=150)
def test_service_by_priority(form: str, case: Case, moment_s: float) -> None:
    number = case.attendance.num_rounds
    wanted = simulate(
        case.work, number, case.schedule, synchronise=case.synchronise, attendance=case.attendance, moment_s=moment_s
    )
    with walked_in(form):
        found = walk_by_priority(
            case.work, case.attendance, case.schedule, synchronise=case.synchronise, moment_s=moment_s
        )
    assert found == wanted


@BOTH_FORMS
@given(
    case=cases(),
    moment_s=st.sampled_from([0.0, 1e-9, 0.05]),
    seed=st.integers(0, 50),
    past_the_end=st.sampled_from(["loop", "hold"]),
    fade_below=st.sampled_from([0.05, 0.5, 1.2]),
)
@settings(max_examples=100)
def test_service_by_priority_over_recorded_links(
    form: str, case: Case, moment_s: float, seed: int, past_the_end: PastTheEnd, fade_below: float
) -> None:
    """Fades, delays that change, windows, links of one direction, and some that are constant, to the last bit."""
    work, number = over_recordings(case, seed, past_the_end), case.attendance.num_rounds
    schedule = case.schedule.model_copy(update={"fade_below": fade_below})
    synchronise, attendance = case.synchronise, case.attendance
    wanted = simulate(work, number, schedule, synchronise=synchronise, attendance=attendance, moment_s=moment_s)
    with walked_in(form):
        found = walk_by_priority(work, attendance, schedule, synchronise=synchronise, moment_s=moment_s)
    assert found == wanted


@BOTH_FORMS
@given(
    case=cases(),
    seed=st.integers(0, 50),
    past_the_end=st.sampled_from(["loop", "hold"]),
    is_recorded=st.booleans(),
    in_chain=st.none() | st.integers(1, 7),
)
@settings(max_examples=100)
def test_turns_and_chains(
    form: str, case: Case, seed: int, past_the_end: PastTheEnd, is_recorded: bool, in_chain: int | None
) -> None:
    """Each resource in turns, or some clients one after another; clients that are away let their turn pass."""
    work, number = case.work, case.attendance.num_rounds
    if is_recorded:
        work = over_recordings(case, seed, past_the_end)
    order = case.schedule.order
    schedule = Turns(order=order) if in_chain is None else Chain(order=order[:in_chain])
    wanted = simulate(work, number, schedule, synchronise=case.synchronise, attendance=case.attendance)
    with walked_in(form):
        assert walk_in_turn(work, case.attendance, schedule, synchronise=case.synchronise) == wanted


def over_recordings(case: Case, seed: int, past_the_end: PastTheEnd) -> tuple[ClientWork, ...]:
    """Give clients recordings with outages and delays that change, of one direction or both; some stay constant."""
    rng, number = np.random.default_rng(seed), case.attendance.num_rounds
    traces = [_drawn_trace(rng, past_the_end) for _ in range(3)]
    one_way = LinkTrace(
        traces[0].durations_s, traces[0].rates_bps, "up alone", past_the_end=past_the_end, uplink=traces[0]
    )
    return tuple(
        replace(
            item,
            trace=[None, traces[0], traces[1].shifted(0.3), one_way][int(rng.integers(4))],
            windows_s=tuple(rng.uniform(0, 2.0, number)) if rng.random() < 0.5 else None,
            uses_recorded_rates=bool(rng.random() < 0.3),
        )
        for item in case.work
    )


def _drawn_trace(rng: np.random.Generator, past_the_end: PastTheEnd) -> BandwidthTrace:
    rates_bps = rng.choice([0.0, 1e4, 1e6], 6)
    rates_bps[-1] += 10.0
    latency_s = rng.choice([0.0, 0.02], 6) if rng.random() < 0.5 else None
    return BandwidthTrace(rng.uniform(0.05, 1.0, 6), rates_bps, latency_s=latency_s, past_the_end=past_the_end)


@BOTH_FORMS
@given(case=cases(), seed=st.integers(0, 5), is_recorded=st.booleans(), most_ahead=st.integers(0, 2))
@settings(deadline=None, max_examples=150)
def test_clients_with_shares_of_their_own(form: str, case: Case, seed: int, is_recorded: bool, most_ahead: int) -> None:
    rng, number, work = np.random.default_rng(seed), case.attendance.num_rounds, case.work
    if not case.synchronise:
        # Clients that meet after every step have nothing to go ahead with.
        ahead = rng.integers(0, most_ahead + 1, len(work)).tolist()
        work = tuple(
            item if any(job.phase in HEAD_PHASES for job in item.jobs) else replace(item, staleness=value)
            for item, value in zip(work, ahead, strict=True)
        )
    if is_recorded:
        trace = BandwidthTrace(
            rng.uniform(0.05, 1.0, 6), rng.choice([0.0, 1e4, 1e6], 6) + np.array([1.0, 0, 0, 0, 0, 0]),
            latency_s=rng.choice([0.0, 0.02], 6),
        )  # fmt: skip
        windows_s = tuple(rng.uniform(0, trace.duration_s, number))
        work = tuple(
            replace(item, trace=trace, windows_s=windows_s if place % 2 else None) if place % 3 else item
            for place, item in enumerate(work)
        )
    wanted = simulate(work, number, synchronise=case.synchronise, attendance=case.attendance)
    with walked_in(form):
        assert walk_apart(work, case.attendance, synchronise=case.synchronise) == wanted


@BOTH_FORMS
@given(
    costs=st.tuples(st.sampled_from([0.3, 1 / 3, 7.7]), st.sampled_from([0.1, 1.0]), SIZES, SIZES),
    parts=st.integers(2, 4),
    steps=st.integers(1, 3),
    seed=st.integers(0, 50),
    is_recorded=st.booleans(),
)
@settings(max_examples=100)
def test_clients_with_batches_in_parts(
    form: str, costs: tuple[float, float, int, int], parts: int, steps: int, seed: int, is_recorded: bool
) -> None:
    """Beside clients with whole batches, on constant and on recorded links, to the last bit."""
    client_s, server_s, up, down = costs
    sizes = (700, up, down, 41)
    divided = Costs(client_s, server_s, sizes, micro_batches=parts, updates=UpdateCosts(client_s / 7, server_s / 3))
    whole = Costs(client_s, server_s, sizes)
    work = tuple(
        ClientWork(
            f"c-{place}", steps, round_jobs(one, steps), 0.3, 3e5, 7e6, 0.01, 0.02, micro_batches=one.micro_batches
        )
        for place, one in enumerate((divided, whole, divided))
    )
    everybody = Attendance.of_everybody([item.client_id for item in work], 3)
    case = Case(work, everybody, Dispatch(order=("c-0", "c-1", "c-2"), urgency_s=(0.0, 0.0, 0.0)), False)
    if is_recorded:
        work = over_recordings(case, seed, "loop")
    wanted = simulate(work, 3, attendance=everybody)
    with walked_in(form):
        assert walk_apart(work, everybody, synchronise=False) == wanted


@BOTH_FORMS
def test_a_recording_that_ends_is_named_by_every_walk(form: str) -> None:
    jobs = round_jobs(Costs(8.0, 1.0, (10, 10, 10, 10)), 2)
    trace = BandwidthTrace(np.array([3.0]), np.array([1e4]), "short.csv", past_the_end="fail")
    everybody = Attendance.of_everybody("ab", 1)
    work = [ClientWork(name, 2, jobs, 1.0, 1e6, 1e6, trace=trace) for name in "ab"]
    dedicated = [replace(item, jobs=round_jobs(Costs(8.0, 1.0, (10,) * 4), 2, is_dedicated=True)) for item in work]
    dispatch = Dispatch(order=("a", "b"), urgency_s=(0.0, 0.0))
    with walked_in(form):
        for heard in (work, [replace(item, is_dedicated=True) for item in dedicated]):
            with pytest.raises(RunError, match=r"short\.csv: the recording ends after 3\.00 s"):
                walk_by_priority(heard, everybody, dispatch, synchronise=False, moment_s=0.0)
            with pytest.raises(RunError, match=r"short\.csv: the recording ends after 3\.00 s"):
                walk_in_turn(heard, everybody, Turns(order=("a", "b")), synchronise=False)
            with pytest.raises(RunError, match=r"short\.csv: the recording ends after 3\.00 s"):
                walk_apart(heard, everybody, synchronise=False)


@pytest.mark.parametrize("synchronise", [False, True])
def test_a_link_that_carries_nothing_is_refused_by_name(synchronise: bool) -> None:
    jobs = round_jobs(Costs(1.0, 0.0, (10, 10, 10, 10)), 2)
    work = [ClientWork("a", 2, jobs, 1.0, 1e6, 1e6), ClientWork("b", 2, jobs, 1.0, 0.0, 1e6)]
    everybody = Attendance.of_everybody("ab", 1)
    schedule = Dispatch(order=("a", "b"), urgency_s=(0.0, 0.0))
    with pytest.raises(RunError, match="client b, phase uplink"):
        walk_apart(work, everybody, synchronise=synchronise)
    with pytest.raises(RunError, match="client b, phase uplink"):
        walk_by_priority(work, everybody, schedule, synchronise=synchronise, moment_s=0.0)
    # One that stays away has nothing to carry.
    only_a = Attendance(({"a": 0},))
    assert walk_apart(work, only_a, synchronise=synchronise).totals[1] == ({},)
    walked = walk_by_priority(work, only_a, schedule, synchronise=synchronise, moment_s=0.0)
    assert walked.totals[1] == ({},)
