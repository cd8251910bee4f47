"""Clients' work as the flat vectors in which it is walked, and what they spent back from these."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import NamedTuple

from hybridsplit.runtime.replay.kernels.jobs import (
    ALONE,
    BARRIER,
    COLUMNS,
    DOWNLOAD,
    MEETING,
    PASSES_TURN,
    TAKES_TURN,
    Spent,
)  # fmt: skip
from hybridsplit.runtime.replay.kernels.jobs import Job as Row
from hybridsplit.runtime.replay.packed_links import PackedLinks
from hybridsplit.runtime.replay.totals import PhaseTotals, RoundTotals, totals_with
from hybridsplit.runtime.replay.work import ClientWork
from hybridsplit.scenarios.compiled.compiling import Form
from hybridsplit.scenarios.contracts.jobs import SHARED, Job, Resource
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.schedule import urgency_key
from hybridsplit.scenarios.units import bits

_NUMBER = {resource: number for number, resource in enumerate(SHARED)}


class Rows(NamedTuple):
    """The rows of a client's round.

    Parameters
    ----------
    first
        Where they begin.
    counted
        Phase, column and bytes of what is counted.
    """

    first: int
    counted: Sequence[tuple[Phase, int, int]]


class _Task(NamedTuple):
    """A job of clients that are alike but for their recordings and urgencies: what its row has.

    ``direction`` is of a recorded link, 1 up and 2 down, and 0 elsewhere.
    """

    action: int
    column: int
    seconds: float
    direction: int
    size_bits: float
    delay_s: float
    left_of: tuple[Phase, int] | None


@dataclass
class PackedJobs:
    """Jobs of clients as rows of vectors, added as rounds need them.

    Parameters
    ----------
    work
        One item a client.
    meetings
        How often all clients meet in a round.
    links
        The recordings that they hear.
    shares_resources
        Whether jobs on shared resources are served one at a time.
    chain
        Clients whose whole rounds, or steps, come one after another.
    """

    work: Sequence[ClientWork]
    meetings: int
    links: PackedLinks
    shares_resources: bool = False
    chain: frozenset[str] = frozenset()
    rows: list[Row] = field(default_factory=list)
    _found: dict[tuple[object, ...], Rows] = field(default_factory=dict)
    _tasks: dict[tuple[object, ...], tuple[list[_Task], list[tuple[Phase, int, int]]]] = field(default_factory=dict)

    def of(self, client: int, extra_bytes: int | None, urgency_s: float | None = None) -> Rows:
        """Return where the rows of a client's round are.

        Parameters
        ----------
        client
            Its place among all.
        extra_bytes
            What it downloads beyond its work; None where it takes no part.
        urgency_s
            What is added to the seconds that it has left, where the most urgent is served first.

        Raises
        ------
        RunError
            If it has to use a link of which it has no share, or one too slow to ever finish.
        """
        item = self.work[client]
        usual = client, extra_bytes
        found = self._found.get(usual)
        if found is None:
            in_chain = item.client_id in self.chain
            # Of those who take no part it makes no difference what they would have to do.
            kind = (in_chain,) if extra_bytes is None else (*_ALIKE(item), id(item.jobs), in_chain, extra_bytes)
            trace = None if extra_bytes is None else item.trace
            directions = tuple(trace is not None and item.trace_of(link) is not None for link in _LINKS)
            if (kind, directions) not in self._tasks:
                self._tasks[kind, directions] = self._tasks_of(item, extra_bytes, in_chain)
            tasks, counted = self._tasks[kind, directions]
            key = kind, directions, id(trace), None if extra_bytes is None else urgency_s
            found = self._found.get(key)
            if found is None:
                found = self._found[key] = Rows(len(self.rows), counted)
                self.rows += self._rows_of(item, tasks, urgency_s)
            self._found[usual] = found
        return found

    def _tasks_of(
        self, item: ClientWork, extra_bytes: int | None, in_chain: bool
    ) -> tuple[list[_Task], list[tuple[Phase, int, int]]]:
        tasks: list[_Task] = []
        sizes = dict.fromkeys((Phase.MODEL_DOWNLOAD, Phase.PROPAGATION, Phase.BARRIER), 0)
        columns: dict[Phase, int] = {phase: column for column, phase in enumerate(sizes)}

        def act(action: int, column: int = BARRIER) -> None:
            tasks.append(_Task(action, column, 0.0, 0, 0.0, 0.0, None))

        steps: Sequence[Sequence[Job]] = [[]] * item.local_steps if extra_bytes is None else item.steps(extra_bytes)
        for step, jobs in enumerate(steps):
            if step > 0 and self.meetings > 1:
                if in_chain:
                    act(PASSES_TURN)
                act(MEETING)
            if in_chain and (step == 0 or self.meetings > 1):
                act(TAKES_TURN, BARRIER if step > 0 else DOWNLOAD)
            for job in jobs:
                column = columns.setdefault(job.phase, len(columns))
                tasks.append(self._task(item, job, column))
                carries = job.resource not in (Resource.DEVICE, Resource.SERVER)
                sizes[job.phase] = sizes.get(job.phase, 0) + (int(job.amount) if carries else 0)
        if in_chain:
            act(PASSES_TURN)
        act(MEETING)
        return tasks, [(phase, columns[phase], size) for phase, size in sizes.items()]

    def _task(self, item: ClientWork, job: Job, column: int) -> _Task:
        number = _NUMBER.get(job.resource, ALONE) if self.shares_resources else ALONE
        left_of = job.phase, job.step
        if job.resource is Resource.DEVICE or job.resource is Resource.SERVER:
            seconds = job.amount if job.resource is Resource.DEVICE else item.server_s(job)
            return _Task(number, column, seconds, 0, 0.0, 0.0, left_of)
        item.check(job)
        size_bits, delay_s = bits(job.amount), item.delay_s(job.resource)
        if item.trace_of(job.resource) is None:
            return _Task(number, column, size_bits / item.rate_bps(job.resource), 0, 0.0, delay_s, left_of)
        return _Task(number, column, 0.0, 1 if job.resource.is_up else 2, size_bits, delay_s, left_of)

    def _rows_of(self, item: ClientWork, tasks: Sequence[_Task], urgency_s: float | None) -> list[Row]:
        """Return the rows of a client, which differs from others by its recordings and its urgency."""
        heard = (_UNHEARD, *(self._heard(item, link) for link in _LINKS))
        # Of a download that the plan does not have nothing is known, as if no time were left.
        left_s = {} if urgency_s is None else item.left_s(urgency_s)
        return [
            Row(
                action, column, seconds, (of := heard[direction]).link, size_bits, of.stretch, of.scale, delay_s,
                of.delay_link, 0.0 if left_of is None else -urgency_key(left_s.get(left_of, 0.0)),
            )
            for action, column, seconds, direction, size_bits, delay_s, left_of in tasks
        ]  # fmt: skip

    def _heard(self, item: ClientWork, resource: Resource) -> _Heard:
        trace = item.trace_of(resource)
        if trace is None:
            return _UNHEARD
        link, mean_bps = self.links.number(trace), item.mean_bps(resource)
        delay_link = -1 if trace.latency_s is None else link
        if mean_bps is None or not 0.0 < mean_bps < math.inf:
            return _Heard(link, 1.0, 1.0, delay_link)
        return _Heard(link, trace.mean_bps / mean_bps, mean_bps / trace.mean_bps, delay_link)

    def vector(self, form: Form) -> list[Row]:
        """Return all rows as a vector of a form."""
        return form.vector(self.rows, Row)

    def nothing_spent(self, form: Form) -> Spent:
        """Return zeros for all clients."""
        zeros = [0.0] * (len(self.work) * COLUMNS)
        return form.vectors(Spent(zeros, zeros.copy()))

    def totals(self, spent: Spent, rows: Sequence[Rows], present: Sequence[bool], form: Form) -> list[RoundTotals]:
        """Return what clients spent in a round; nothing is listed of those who took no part.

        Parameters
        ----------
        spent
            The vectors.
        rows, present
            Of each client: what it had to do, and whether it took part.
        form
            The vectors' form.
        """
        seconds, waiting_s = form.listed(spent.seconds), form.listed(spent.waiting_s)
        return [
            totals_with(
                {
                    phase: PhaseTotals(seconds[at + column], waiting_s[at + column], size)
                    for phase, column, size in counted
                }
            )
            if takes_part
            else {}
            for at, (_, counted), takes_part in zip(range(0, len(seconds), COLUMNS), rows, present, strict=True)
        ]


class _Heard(NamedTuple):
    """A recorded link: its number, recorded rates over its own and the reverse, and where its delays are."""

    link: int
    stretch: float
    scale: float
    delay_link: int


_UNHEARD = _Heard(-1, 1.0, 1.0, -1)
_LINKS = (Resource.UPLINK, Resource.DOWNLINK)
_ALIKE = attrgetter(
    "local_steps", "server_share", "uplink_bps", "downlink_bps", "uplink_delay_s", "downlink_delay_s", "is_dedicated",
    "uses_recorded_rates",
)  # fmt: skip
"""What the rows of clients with the same jobs follow from, but for recordings and urgencies."""
