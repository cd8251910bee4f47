"""The simulated clients: one SimPy process each, from the download of the client part to the barrier."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

import simpy

from hybridsplit.runtime.replay.admission import ClientJobs, Job, RoundTurns
from hybridsplit.runtime.replay.work import ClientWork
from hybridsplit.scenarios.contracts.attendance import Attendance
from hybridsplit.scenarios.contracts.phases import FORWARD_FRACTION, ROUND_ORDER, Phase
from hybridsplit.scenarios.contracts.schedule import Schedule, Simultaneous
from hybridsplit.scenarios.errors import RunError


@dataclass(slots=True)
class PhaseTotals:
    """What a client spent in one phase of one round: seconds served, seconds waited, bytes carried."""

    seconds: float = 0.0
    waiting_s: float = 0.0
    bytes: int = 0


RoundTotals = dict[Phase, PhaseTotals]


@dataclass(frozen=True)
class Timeline:
    """Outcome of a simulation.

    Parameters
    ----------
    totals
        ``totals[client][round]`` by phase, clients in the order of the work; empty where one took no part.
    round_ends_s
        Clock at the end of each round.
    """

    totals: tuple[tuple[RoundTotals, ...], ...]
    round_ends_s: tuple[float, ...]


class Barrier:
    """Holds every client until the last one has arrived, which ends the step or the round."""

    def __init__(self, environment: simpy.Environment, num_clients: int) -> None:
        self._environment = environment
        self._num_clients = num_clients
        self._arrived = 0
        self._all_here = environment.event()
        self.ends_s: list[float] = []

    def arrive(self) -> simpy.Event:
        """Say that one more client is done, and return what it has to wait for."""
        all_here = self._all_here
        self._arrived += 1
        if self._arrived == self._num_clients:
            self.ends_s.append(self._environment.now)
            self._arrived, self._all_here = 0, self._environment.event()
            all_here.succeed()
        return all_here


def simulate(
    work: Sequence[ClientWork],
    num_rounds: int,
    schedule: Schedule | None = None,
    *,
    synchronise: bool = False,
    attendance: Attendance | None = None,
) -> Timeline:
    """Run all clients through all rounds.

    Parameters
    ----------
    work
        One item a client; its order breaks ties, so two simulations of the same work agree.
    num_rounds
        Rounds to simulate.
    schedule
        Who waits for whom; all at once when None.
    synchronise
        Whether all clients wait for the slowest between two steps.
    attendance
        Who takes part in these rounds, and the bytes each downloads beyond its work; everybody, and none, when None.

    Returns
    -------
    Timeline
        Totals of every client, round and phase.

    Raises
    ------
    RunError
        If a client has to use a resource of which it has no share, or a link too slow to ever finish.
    """
    environment = simpy.Environment()
    round_end = Barrier(environment, len(work))
    step_end = Barrier(environment, len(work)) if synchronise else None
    totals: list[list[RoundTotals]] = [[] for _ in work]
    steps = work[0].local_steps if work else 1
    order = schedule or Simultaneous()
    everybody = Attendance.of_everybody((item.client_id for item in work), num_rounds)
    present = (attendance or everybody).rounds
    turns = [
        RoundTurns(environment, order, [_jobs(item, taking_part) for item in work], steps, step_by_step=synchronise)
        for taking_part in present
    ]
    for item, rounds in zip(work, totals, strict=True):
        own = [taking_part.get(item.client_id) for taking_part in present]
        environment.process(_client(environment, item, turns, own, round_end, step_end, rounds))
    environment.run()
    if len(round_end.ends_s) != num_rounds:
        raise RunError(f"the replay stopped after {len(round_end.ends_s)} of {num_rounds} rounds; needs all of them")
    return Timeline(tuple(tuple(rounds) for rounds in totals), tuple(round_end.ends_s))


def _jobs(work: ClientWork, taking_part: Mapping[str, int]) -> ClientJobs:
    """List the jobs on shared resources that a client really has in a round."""
    jobs: set[Job] = set()
    if work.client_id not in taking_part:
        return ClientJobs(work.client_id, frozenset())
    for phase in (Phase.MODEL_DOWNLOAD, Phase.MODEL_UPLOAD):
        extra = taking_part[work.client_id] if phase is Phase.MODEL_DOWNLOAD else 0
        if work.phase_bytes[phase] + extra > 0:
            jobs.add((work.client_id, phase, 0))
    for phase in (Phase.UPLINK, Phase.DOWNLINK):
        sizes = _spread(work.phase_bytes[phase], work.local_steps)
        jobs |= {(work.client_id, phase, step) for step, size in enumerate(sizes) if size > 0}
    if work.server_s > 0:
        jobs |= {(work.client_id, Phase.SERVER_COMPUTE, step) for step in range(work.local_steps)}
    return ClientJobs(work.client_id, frozenset(jobs))


def _client(
    environment: simpy.Environment,
    work: ClientWork,
    turns: Sequence[RoundTurns],
    catch_up_bytes: Sequence[int | None],
    round_end: Barrier,
    step_end: Barrier | None,
    rounds: list[RoundTotals],
) -> Generator[simpy.Event, None, None]:
    steps, name = work.local_steps, work.client_id
    forward_s = work.client_compute_s / steps * FORWARD_FRACTION
    backward_s = work.client_compute_s / steps - forward_s
    server_s = work.server_s / steps
    uplink_bytes = _spread(work.phase_bytes[Phase.UPLINK], steps)
    downlink_bytes = _spread(work.phase_bytes[Phase.DOWNLINK], steps)
    for round_index, (turn, extra_bytes) in enumerate(zip(turns, catch_up_bytes, strict=True)):
        if extra_bytes is None:
            yield from _skip_round(environment, name, steps, turn, round_end, step_end)
            rounds.append({})
            continue
        totals: RoundTotals = {phase: PhaseTotals() for phase in ROUND_ORDER}
        origin_s = work.trace_origin_s(round_index, environment.now)
        if round_index == 0 and work.start_offset_s > 0:
            totals[Phase.MODEL_DOWNLOAD].waiting_s += work.start_offset_s
            yield environment.timeout(work.start_offset_s)
        own_turn = (name, Phase.BARRIER, 0)
        yield from _await(environment, turn, own_turn, totals[Phase.MODEL_DOWNLOAD])
        first_bytes = work.phase_bytes[Phase.MODEL_DOWNLOAD] + extra_bytes
        yield from _carry(environment, work, turn, totals, (name, Phase.MODEL_DOWNLOAD, 0), origin_s, first_bytes)
        for step in range(steps):
            if step_end is not None and step > 0:
                turn.ended(own_turn)
                yield from _meet(environment, step_end, totals[Phase.BARRIER])
                own_turn = (name, Phase.BARRIER, step)
                yield from _await(environment, turn, own_turn, totals[Phase.BARRIER])
            yield from _serve(environment, totals[Phase.CLIENT_COMPUTE], forward_s)
            job = (name, Phase.UPLINK, step)
            yield from _carry(environment, work, turn, totals, job, origin_s, uplink_bytes[step])
            yield from _use_server(environment, turn, totals, (name, Phase.SERVER_COMPUTE, step), server_s)
            yield from _carry(
                environment, work, turn, totals, (name, Phase.DOWNLINK, step), origin_s, downlink_bytes[step]
            )
            yield from _serve(environment, totals[Phase.CLIENT_COMPUTE], backward_s)
        yield from _carry(environment, work, turn, totals, (name, Phase.MODEL_UPLOAD, 0), origin_s)
        turn.ended(own_turn)
        yield from _meet(environment, round_end, totals[Phase.BARRIER])
        rounds.append(totals)


def _skip_round(
    environment: simpy.Environment,
    name: str,
    steps: int,
    turn: RoundTurns,
    round_end: Barrier,
    step_end: Barrier | None,
) -> Generator[simpy.Event, None, None]:
    """Let a round pass in which a client takes no part: the others do not wait for it."""
    unheeded = PhaseTotals()
    for step in range(steps if step_end is not None else 1):
        if step_end is not None and step > 0:
            yield from _meet(environment, step_end, unheeded)
        own_turn = (name, Phase.BARRIER, step)
        yield from _await(environment, turn, own_turn, unheeded)
        turn.ended(own_turn)
    yield from _meet(environment, round_end, unheeded)


def _meet(environment: simpy.Environment, barrier: Barrier, totals: PhaseTotals) -> Generator[simpy.Event, None, None]:
    arrived_s = environment.now
    yield barrier.arrive()
    totals.waiting_s += environment.now - arrived_s


def _await(
    environment: simpy.Environment, turn: RoundTurns, job: Job, totals: PhaseTotals
) -> Generator[simpy.Event, None, None]:
    ready = turn.wait_for(job)
    if ready is not None:
        asked_s = environment.now
        yield ready
        totals.waiting_s += environment.now - asked_s


def _serve(
    environment: simpy.Environment, totals: PhaseTotals, duration_s: float
) -> Generator[simpy.Event, None, None]:
    if duration_s > 0:
        yield environment.timeout(duration_s)
        totals.seconds += duration_s


def _use_server(
    environment: simpy.Environment, turn: RoundTurns, totals: RoundTotals, job: Job, duration_s: float
) -> Generator[simpy.Event, None, None]:
    yield from _await(environment, turn, job, totals[Phase.SERVER_COMPUTE])
    yield from _serve(environment, totals[Phase.SERVER_COMPUTE], duration_s)
    turn.ended(job)


def _carry(
    environment: simpy.Environment,
    work: ClientWork,
    turn: RoundTurns,
    totals: RoundTotals,
    job: Job,
    origin_s: float,
    size_bytes: int | None = None,
) -> Generator[simpy.Event, None, None]:
    phase = job[1]
    size_bytes = work.phase_bytes[phase] if size_bytes is None else size_bytes
    if size_bytes <= 0:
        return
    yield from _await(environment, turn, job, totals[phase])
    transfer = work.transfer(phase, size_bytes, environment.now - origin_s)
    yield environment.timeout(transfer.elapsed_s)
    turn.ended(job)
    spent = totals[phase]
    spent.seconds += transfer.served_s
    spent.waiting_s += transfer.waiting_s
    spent.bytes += size_bytes


def _spread(total_bytes: int, steps: int) -> list[int]:
    """Divide bytes over steps so that they sum exactly: whole bytes, the remainder on the first steps."""
    each, remainder = divmod(total_bytes, steps)
    return [each + (step < remainder) for step in range(steps)]
