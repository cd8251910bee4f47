"""Rounds of clients that have shares of their own, and so meet at barriers only: each is walked by itself.

No client's times depend on another's between two barriers, so that nothing has to be simulated: the clock of each is
the running sum of its jobs. Clients on constant links that do the same are walked once. The simulation of
:mod:`hybridsplit.runtime.replay.processes` gives the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from hybridsplit.runtime.replay.passes import RoundOfPasses, walk_round
from hybridsplit.runtime.replay.timed import TimedJob, TimedSteps, TimedWork
from hybridsplit.runtime.replay.totals import RoundTotals, Timeline, no_totals
from hybridsplit.runtime.replay.work import ClientWork
from hybridsplit.scenarios.contracts.attendance import Attendance
from hybridsplit.scenarios.contracts.jobs import Job
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.schedule import Simultaneous

if TYPE_CHECKING:
    from hybridsplit.runtime.replay.turn_walk import TurnWalk


def walk_apart(work: Sequence[ClientWork], attendance: Attendance, *, synchronise: bool) -> Timeline:
    """Walk all clients through all rounds.

    Parameters
    ----------
    work
        One item a client.
    attendance
        Who takes part in which round, and the bytes each downloads beyond its work.
    synchronise
        Whether all clients wait for the slowest between two steps.

    Raises
    ------
    RunError
        If a client has to use a link of which it has no share, or one too slow to ever finish.
    """
    timed = TimedWork(work)
    usual: dict[int, TimedSteps] = {}
    meetings = work[0].local_steps if synchronise else 1
    heard = [client for client, item in enumerate(work) if item.trace is not None and not item.overlaps]
    recorded = _recorded([work[client] for client in heard], attendance, meetings)
    totals: list[list[RoundTotals]] = [[] for _ in work]
    ends_s: list[float] = []
    now_s = 0.0
    for round_index, present in enumerate(attendance.rounds):
        paces: dict[tuple[int, float], _Pace] = {}
        for client, item in enumerate(work):
            if item.trace is not None and not item.overlaps:
                continue
            extra_bytes = present.get(item.client_id)
            if extra_bytes is None:
                totals[client].append({})
                continue
            late_s = item.start_offset_s if round_index == 0 else 0.0
            pace: _Pace
            if item.overlaps:
                pace = _Overlapped(item, item.steps(extra_bytes), now_s, late_s, round_index)
                paces[-1 - client, late_s] = pace
            else:
                steps = timed.steps(client, extra_bytes) if extra_bytes else usual.get(client)
                if steps is None:
                    steps = usual[client] = timed.steps(client, 0)
                found = paces.get((id(steps), late_s))
                pace = _Constant(steps, now_s, late_s) if found is None else found
                paces[id(steps), late_s] = pace
            totals[client].append(pace.totals)
        if recorded is not None:
            recorded.begin(round_index, now_s)
        now_s = _to_the_end([*paces.values(), *([] if recorded is None else [recorded])], meetings, now_s)
        ends_s.append(now_s)
        for client, spent in zip(heard, [] if recorded is None else recorded.totals(), strict=True):
            totals[client].append(spent)
    return Timeline(tuple(map(tuple, totals)), tuple(ends_s))


def _recorded(work: Sequence[ClientWork], attendance: Attendance, meetings: int) -> TurnWalk | None:
    """Return the walk of the clients on recorded links, None where there are none."""
    if not work:
        return None
    from hybridsplit.runtime.replay.turn_walk import TurnWalk  # late: constant links need no vectors

    return TurnWalk(work, attendance.rounds, Simultaneous(), meetings)


def _to_the_end(paces: Collection[_Pace | TurnWalk], meetings: int, now_s: float) -> float:
    """Walk all from one meeting to the next, the last of which ends the round; return when that is."""
    for meeting in range(meetings):
        for pace in paces:
            pace.walk(None if meetings == 1 else meeting)
        now_s = max((pace.now_s for pace in paces), default=now_s)
        for pace in paces:
            pace.meet(now_s)
    return now_s


class _Pace:
    """A round of one client, or of some that are alike.

    Parameters
    ----------
    began_s
        Clock at the start of the round.
    late_s
        How long after it the client joins.
    """

    __slots__ = ("now_s", "totals")

    def __init__(self, began_s: float, late_s: float) -> None:
        self.now_s = began_s
        self.totals = no_totals()
        if late_s > 0:
            self.totals[Phase.MODEL_DOWNLOAD].waiting_s += late_s
            self.now_s += late_s

    def walk(self, step: int | None) -> None:
        """Do the jobs of a step; those of all steps when None."""
        raise NotImplementedError

    def meet(self, at_s: float) -> None:
        """Wait for the others."""
        self.totals[Phase.BARRIER].waiting_s += at_s - self.now_s
        self.now_s = at_s


class _Constant(_Pace):
    __slots__ = ("_steps",)

    def __init__(self, steps: Sequence[Sequence[TimedJob]], began_s: float, late_s: float) -> None:
        super().__init__(began_s, late_s)
        self._steps = steps

    def walk(self, step: int | None) -> None:
        """Do the jobs, whose seconds are known."""
        totals, now_s = self.totals, self.now_s
        for jobs in self._steps if step is None else (self._steps[step],):
            for phase, _, _, seconds, size, delay_s in jobs:
                spent = totals[phase]
                now_s += seconds
                spent.seconds += seconds
                spent.bytes += size
                if delay_s > 0:
                    now_s += delay_s
                    totals[Phase.PROPAGATION].seconds += delay_s
        self.now_s = now_s


class _Overlapped(_Pace):
    __slots__ = ("_began_s", "_origin_s", "_passes", "_work")

    def __init__(
        self, work: ClientWork, steps: Sequence[Sequence[Job]], began_s: float, late_s: float, round_index: int
    ) -> None:
        super().__init__(began_s, late_s)
        self._work, self._passes, self._began_s = work, RoundOfPasses.of(steps, work.micro_batches), began_s
        self._origin_s = work.trace_origin_s(round_index, began_s)

    def walk(self, step: int | None) -> None:
        """Do all jobs of the round: clients whose work overlaps meet others at its end only."""
        self.now_s = walk_round(self._work, self._passes, self.totals, self._began_s, self.now_s, self._origin_s)
