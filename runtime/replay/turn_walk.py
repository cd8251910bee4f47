"""Rounds with turns, chains, or recorded links of one's own, walked client by client without a simulation.

The simulation of :mod:`hybridsplit.runtime.replay.processes` gives the same to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate

from hybridsplit.runtime.replay.kernels.in_turn import CHAIN, NOBODY, Clock, Turn, meet, walk_to_meeting
from hybridsplit.runtime.replay.kernels.in_turn import Turns as TurnVectors
from hybridsplit.runtime.replay.kernels.jobs import COLUMNS, DOWNLOAD, Spent
from hybridsplit.runtime.replay.packed_links import PackedLinks
from hybridsplit.runtime.replay.packing import PackedJobs, Rows
from hybridsplit.runtime.replay.sequences import turn_sequences
from hybridsplit.runtime.replay.totals import RoundTotals, Timeline
from hybridsplit.runtime.replay.work import ClientWork
from hybridsplit.scenarios.compiled.compiling import form_for
from hybridsplit.scenarios.contracts.attendance import Attendance
from hybridsplit.scenarios.contracts.jobs import SHARED, Resource
from hybridsplit.scenarios.contracts.schedule import Chain, Simultaneous, Turns
from hybridsplit.scenarios.errors import RunError

_SAVED_S, _SAVED_CONSTANT_S, _COMPILE_S = 1.5e-6, 0.4e-6, 3.0
"""How much longer Python takes for a job where links are recorded, and where they are not; and how long compiling
takes: ``python -m benchmarks.replay_speed``."""


def walk_in_turn(
    work: Sequence[ClientWork], attendance: Attendance, schedule: Turns | Chain, *, synchronise: bool
) -> Timeline:
    """Walk all clients through all rounds.

    Parameters
    ----------
    work
        One item a client.
    attendance
        Who takes part in which round, and the bytes each downloads beyond its work.
    schedule
        Whose turn is when.
    synchronise
        Whether all clients wait for the slowest between two steps.

    Raises
    ------
    RunError
        If a client has to use a link of which it has no share, or one too slow to ever finish; or if a recording ends,
        must not repeat, and a transfer goes on past that.
    """
    meetings = work[0].local_steps if synchronise else 1
    walked = TurnWalk(work, attendance.rounds, schedule, meetings)
    totals: list[list[RoundTotals]] = [[] for _ in work]
    ends_s: list[float] = []
    now_s = 0.0
    for index in range(attendance.num_rounds):
        walked.begin(index, now_s)
        for _ in range(meetings):
            walked.walk(None)
            now_s = walked.now_s
            walked.meet(now_s)
        ends_s.append(now_s)
        for rounds, spent in zip(totals, walked.totals(), strict=True):
            rounds.append(spent)
    return Timeline(tuple(map(tuple, totals)), tuple(ends_s))


class TurnWalk:
    """Clients from one meeting to the next, through rounds.

    Parameters
    ----------
    work
        One item a client.
    present
        By round, the bytes that those who take part download beyond their work.
    schedule
        Whose turn is when.
    meetings
        How often all clients meet in a round: at its end, or at the end of every step.

    Attributes
    ----------
    now_s
        When the last client arrived at the last meeting.
    """

    def __init__(
        self,
        work: Sequence[ClientWork],
        present: Sequence[Mapping[str, int]],
        schedule: Turns | Chain | Simultaneous,
        meetings: int,
    ) -> None:
        self._work, self._present, self._schedule, self._meetings = work, present, schedule, meetings
        chain = frozenset(schedule.order) if isinstance(schedule, Chain) else frozenset[str]()
        self._links = PackedLinks()
        self._packed = PackedJobs(work, meetings, self._links, isinstance(schedule, Turns), chain)
        self._rows: list[list[Rows]] = [
            [self._packed.of(client, rounds.get(item.client_id)) for client, item in enumerate(work)]
            for rounds in present
        ]
        num_jobs = len(present) * sum(len(item.jobs) for item in work)
        saved_s = num_jobs * (_SAVED_S if self._links else _SAVED_CONSTANT_S)
        self._form = form_for(walk_to_meeting, saved_s, _COMPILE_S)
        self._jobs, self._link_vectors = self._packed.vector(self._form), self._links.vectors(self._form)
        self._walk, self._meet = self._form.of(walk_to_meeting), self._form.of(meet)
        self._sequences: dict[tuple[tuple[str, int], ...], dict[Resource | None, list[int]]] = {}
        self._index, self.now_s = 0, 0.0

    def begin(self, index: int, now_s: float) -> None:
        """Begin a round."""
        self._index, form = index, self._form
        self._spent: Spent = self._packed.nothing_spent(form)
        clocks_s = [now_s] * len(self._work)
        if index == 0:
            for client, item in enumerate(self._work):
                if item.start_offset_s > 0 and item.client_id in self._present[0]:
                    clocks_s[client] += item.start_offset_s
                    self._spent.waiting_s[client * COLUMNS + DOWNLOAD] += item.start_offset_s
        clocks = [
            Clock(rows.first, clock_s, item.trace_origin_s(index, now_s))
            for rows, clock_s, item in zip(self._rows[index], clocks_s, self._work, strict=True)
        ]
        self._clocks = form.vector(clocks, Clock)
        self._turns = form.vectors(self._turns_of(self._present[index]))

    def walk(self, step: int | None) -> None:
        """Go on to the next meeting, whichever step ends with it.

        Raises
        ------
        RunError
            If a transfer has no end.
        """
        client, at_s = self._walk(self._jobs, self._link_vectors, self._clocks, self._turns, self._spent)
        if client == NOBODY:
            self.now_s = float(at_s)
            return
        if math.isnan(at_s):
            raise RunError(
                f"the replay stopped after {self._index} of {len(self._present)} rounds; needs all of them: client "
                f"{self._work[client].client_id} waits for a turn that never comes"
            )
        form, clocks, jobs = self._form, self._clocks, self._jobs
        job, start_s = form.read(clocks, client, "job"), at_s - form.read(clocks, client, "origin_s")
        link, size_bits, stretch = (form.read(jobs, job, name) for name in ("link", "size_bits", "stretch"))
        self._links.trace(link).transfer(size_bits * stretch, float(start_s))
        raise AssertionError("a transfer that ends was taken for one that does not")

    def meet(self, at_s: float) -> None:
        """Let all clients wait for the last."""
        self._meet(self._clocks, self._spent, at_s)

    def totals(self) -> list[RoundTotals]:
        """Return what clients spent in the round."""
        present = self._present[self._index]
        takes_part = [item.client_id in present for item in self._work]
        return self._packed.totals(self._spent, self._rows[self._index], takes_part, self._form)

    def _turns_of(self, present: Mapping[str, int]) -> TurnVectors:
        """Return the sequences of a round, at their beginning."""
        sequences: list[list[int]] = [[] for _ in range(CHAIN + 1)]
        if not isinstance(self._schedule, Simultaneous):
            key = tuple(sorted(present.items()))
            found = self._sequences.get(key)
            if found is None:
                place = {item.client_id: client for client, item in enumerate(self._work)}
                by_resource = turn_sequences(self._schedule, self._work, present, step_by_step=self._meetings > 1)
                found = self._sequences[key] = {
                    resource: [place[name] for name, _, _ in turns] for resource, turns in by_resource.items()
                }
            for resource, turns in found.items():
                sequences[CHAIN if resource is None else SHARED.index(resource)] = turns
        ends = list(accumulate(map(len, sequences)))
        owners = [client for turns in sequences for client in turns]
        return TurnVectors(owners, [Turn(end - len(turns), end) for end, turns in zip(ends, sequences, strict=True)])
