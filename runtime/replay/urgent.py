"""Service by priority, walked event by event.

The same events in the same order as in the simulation (:mod:`hybridsplit.runtime.replay.dispatch` within
:mod:`hybridsplit.runtime.replay.processes`), which gives the same to the last bit, without its processes:
:mod:`hybridsplit.runtime.replay.kernels.by_priority` has the events of a round.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from hybridsplit.runtime.replay.kernels.by_priority import walk_round
from hybridsplit.runtime.replay.kernels.dispatch_state import Client, Counts, Round, Shared, Starts, Void
from hybridsplit.runtime.replay.packed_links import PackedLinks
from hybridsplit.runtime.replay.packing import PackedJobs, Rows
from hybridsplit.runtime.replay.totals import RoundTotals, Timeline
from hybridsplit.runtime.replay.work import ClientWork
from hybridsplit.scenarios.compiled.compiling import form_for
from hybridsplit.scenarios.contracts.attendance import Attendance
from hybridsplit.scenarios.contracts.jobs import SHARED
from hybridsplit.scenarios.contracts.schedule import Dispatch

_SAVED_S, _SAVED_CONSTANT_S, _COMPILE_S = 7e-6, 2e-6, 9.0
"""How much longer Python takes for a job where links are recorded, and where they are not; and how long compiling
takes: ``python -m benchmarks.replay_speed``."""


def walk_by_priority(
    work: Sequence[ClientWork], attendance: Attendance, schedule: Dispatch, *, synchronise: bool, moment_s: float
) -> Timeline:
    """Walk all clients through all rounds.

    Parameters
    ----------
    work
        One item a client.
    attendance
        Who takes part in which round, and the bytes each downloads beyond its work.
    schedule
        The order and the urgency of the clients, and what is a fade.
    synchronise
        Whether all clients wait for the slowest between two steps.
    moment_s
        What is asked for within it of each other counts as asked for at once.

    Raises
    ------
    RunError
        If a client has to use a link of which it has no share, or one too slow to ever finish; or if a recording ends,
        must not repeat, and a transfer goes on past that.
    """
    walked = _Walk(work, attendance, schedule, moment_s, work[0].local_steps if synchronise else 1)
    totals: list[list[RoundTotals]] = [[] for _ in work]
    ends_s: list[float] = []
    now_s = 0.0
    for index in range(attendance.num_rounds):
        now_s = walked.round(index, now_s)
        ends_s.append(now_s)
        for rounds, spent in zip(totals, walked.totals(index), strict=True):
            rounds.append(spent)
    return Timeline(tuple(map(tuple, totals)), tuple(ends_s))


class _Walk:
    def __init__(
        self, work: Sequence[ClientWork], attendance: Attendance, schedule: Dispatch, moment_s: float, meetings: int
    ) -> None:
        self._work, self._present, self._moment_s = work, attendance.rounds, moment_s
        place_of = {name: place for place, name in enumerate(schedule.order)}
        ranks = [place_of[item.client_id] for item in work]
        self._links = PackedLinks(schedule.fade_below)
        self._packed = PackedJobs(work, meetings, self._links, shares_resources=True)
        self._rows: list[list[Rows]] = [
            [
                self._packed.of(client, present.get(item.client_id), schedule.urgency_s[ranks[client]])
                for client, item in enumerate(work)
            ]
            for present in self._present
        ]
        num_jobs = len(self._present) * sum(len(item.jobs) for item in work)
        saved_s = num_jobs * (_SAVED_S if self._links else _SAVED_CONSTANT_S)
        form = self._form = form_for(walk_round, saved_s, _COMPILE_S)
        of_rank = [0] * len(ranks)
        for client, rank in enumerate(ranks):
            of_rank[rank] = client
        clients = [Client(rank, client) for client, rank in enumerate(ranks)]
        self._around = form.vectors(
            Round(
                self._packed.rows, self._links.lists(), clients, [Shared() for _ in SHARED], of_rank, [Counts(meetings)]
            )
        )
        self._walk_round, self._void = form.of(walk_round), list[Void]()
        self._spent = self._packed.nothing_spent(form)

    def round(self, index: int, now_s: float) -> float:
        """Walk a round that begins at a time, and return when it ends."""
        form, around, present = self._form, self._around, self._present[index]
        self._spent = self._packed.nothing_spent(form)
        is_late = index == 0
        starts = Starts(
            [rows.first for rows in self._rows[index]],
            [item.start_offset_s if is_late and item.client_id in present else 0.0 for item in self._work],
            [item.trace_origin_s(index, now_s) for item in self._work],
        )
        void = form.vector(self._void, Void)
        end_s, *wishes = self._walk_round(around, self._spent, form.vectors(starts), void, now_s, self._moment_s)
        if math.isnan(end_s):
            needed_bits, start_s = (form.read(around.counts, 0, name) for name in ("needed_bits", "start_s"))
            job = form.read(around.clients, form.read(around.counts, 0, "failed"), "job")
            self._links.trace(form.read(around.jobs, job, "link")).transfer(needed_bits, start_s)
            raise AssertionError("a transfer that ends was taken for one that does not")
        self._void = [Void(number, *wish) for number, own in enumerate(wishes) for wish in own]
        return float(end_s)

    def totals(self, index: int) -> list[RoundTotals]:
        """Return what clients spent in the round that was walked last."""
        takes_part = [item.client_id in self._present[index] for item in self._work]
        return self._packed.totals(self._spent, self._rows[index], takes_part, self._form)
