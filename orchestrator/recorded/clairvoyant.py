"""What nobody could do better over one window of recordings, knowing all of it before the round begins.

A relaxation of our own. Every client may take any of its options, or a mixture of them, that its own jobs alone, one
after another at the whole resources, finish in time. Of the uplink, the downlink and the server it is asked only that
the work of all clients fits into what each carries by then: for links the linear programme of who sends when, at the
rates of the window; a link whose rate is a concave function of its share of the band is held under its tangents.
Orders, waits, integrality and limits that couple options are left out, so every plan and schedule satisfies it. The
least seconds a unit of progress follow from the most progress by every deadline.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import coo_array, csr_array

from hybridsplit.runtime.replay.links import downlink_rate_bps, uplink_rate_bps
from hybridsplit.scenarios.contracts.jobs import Resource, StatedCosts, round_jobs
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.three_part import HeadCosts
from hybridsplit.scenarios.errors import SolverFailure, UsageError
from hybridsplit.scenarios.units import bits
from hybridsplit.solver.problem.build import build_problem
from hybridsplit.solver.problem.planning_problem import TIME_TO_PROGRESS
from hybridsplit.solver.problem.three_part import HeadArrays

if TYPE_CHECKING:
    from hybridsplit.runtime.replay.traces import BandwidthTrace
    from hybridsplit.scenarios.contracts.options import OptionTable
    from hybridsplit.scenarios.schema import Client, Scenario

FloatArray = NDArray[np.float64]

_MOST_INTERVALS = 96
_NARROW = 1.02
"""Ratio of the ends of a stretch of deadlines that is not divided further."""
_MOST_DEADLINES = 16
_TANGENT_SHARES = (1e-3, 0.015, 0.03, 0.06, 0.12, 0.25, 0.5, 1.0)
"""Shares of the band at which tangents are laid on the rate of a link that is not linear in its share."""
_STEP, _SLACK = 1e-4, 1e-6
"""Relative step of a derivative, and what its error may take off a tangent."""


class _Link:
    """One direction of a client's link: its rate at the whole band, and lines that no rate at any share is above.

    Its rate at a share ``s`` of the band is at most ``a + b·s`` for every line ``(a, b)``, bit/s.
    """

    def __init__(self, client: Client, scenario: Scenario, trace: BandwidthTrace | None, *, up: bool) -> None:
        rate_of = uplink_rate_bps if up else downlink_rate_bps

        def rate_bps(share: float) -> float:
            return rate_of(client.link, scenario.radio, share)

        self.whole_bps = rate_bps(1.0)
        self.is_shared = not client.link.is_dedicated
        self._trace = None if trace is None else trace.towards(up=up)
        self.lines: tuple[tuple[float, float], ...] = ((0.0, self.whole_bps),)
        if self._trace is not None and self._trace.is_absolute:
            self.lines = ((0.0, 1.0),)
        elif self.is_shared and rate_bps(0.5) > 0.5 * self.whole_bps * (1 + _SLACK):
            self.lines = tuple(_tangent(rate_bps, share) for share in _TANGENT_SHARES)
        known_s = None if self._trace is None or self._trace.latency_s is None else float(self._trace.latency_s.min())
        self._delay_s = client.link.delay_s(is_up=up) if known_s is None else known_s

    def seconds(self, size_bytes: float, window_s: float, start_s: float) -> float:
        """How long a transfer takes that has the whole link, and its propagation, which is never shorter."""
        if self._trace is None:
            return bits(size_bytes) / self.whole_bps + self._delay_s
        mean_bps = None if self._trace.is_absolute else self.whole_bps
        return self._trace.transfer(bits(size_bytes), window_s + start_s, mean_bps).elapsed_s + self._delay_s

    def changes_s(self, window_s: float, end_s: float) -> FloatArray:
        """Times in the round at which the rate changes."""
        if self._trace is None:
            return np.array([0.0, end_s])
        return self._trace.between(window_s, window_s + end_s)[0] - window_s

    def best(self, window_s: float, edges_s: FloatArray) -> FloatArray:
        """[G] the largest factor of the lines within every interval: of the recording over its mean, or its rate."""
        if self._trace is None:
            return np.ones(len(edges_s) - 1)
        times_s, rates = self._trace.between(window_s, window_s + float(edges_s[-1]))
        # The largest of the samples that an interval touches.
        first = np.searchsorted(times_s - window_s, edges_s[:-1], side="right") - 1
        last = np.searchsorted(times_s - window_s, edges_s[1:], side="left")
        first = np.clip(first, 0, len(rates) - 1)
        last = np.maximum(np.minimum(last, len(rates)), first + 1)
        largest = np.array([rates[a:b].max() for a, b in zip(first.tolist(), last.tolist(), strict=True)])
        return largest if self._trace.is_absolute else largest / self._trace.mean_bps


def _tangent(rate_bps: Callable[[float], float], share: float) -> tuple[float, float]:
    """Return a line ``(a, b)`` above a concave rate, which touches it near a share but for the slack."""
    low, high = share * (1 - _STEP), share * (1 + _STEP)
    slope = (rate_bps(high) - rate_bps(low)) / (high - low)
    return rate_bps(share) * (1 + _SLACK) - slope * share, slope


class Clairvoyant:
    """Bounds for the windows of a scenario's recordings.

    Parameters
    ----------
    scenario, table
        The scenario, which minimises time to progress, and its option table.
    traces
        Recordings by client; a client without one has a constant link.

    Raises
    ------
    UsageError
        If the scenario minimises something else, or lets clients be dropped.
    InfeasibleError
        If it has no plan.
    """

    def __init__(self, scenario: Scenario, table: OptionTable, traces: Mapping[str, BandwidthTrace]) -> None:
        problem = build_problem(table, scenario)
        if problem.objective != TIME_TO_PROGRESS or problem.has_penalties:
            raise UsageError(
                f"the clairvoyant bound is one of {TIME_TO_PROGRESS} with all clients; the scenario minimises "
                f"{problem.objective}{', and clients may be dropped' if problem.has_penalties else ''}"
            )
        self._ids = [client.id for client in problem.clients]
        self._client = problem.client_index
        self._worth = problem.weighted_progress
        self._server_s = problem.work.server_s
        self._up_bits, self._down_bits = problem.uplink_bits, problem.downlink_bits
        self._links = [
            tuple(_Link(client, scenario, traces.get(client.id), up=up) for up in (True, False))
            for client in problem.clients
        ]
        names = ("model_download_bytes", "uplink_bytes", "downlink_bytes", "model_upload_bytes")
        columns = ("client_compute_s", "server_compute_s", *names, "upload_every")
        rows = problem.table[list(columns)].itertuples(index=False)
        heads = zip(*(column.tolist() for column in HeadArrays.of(problem.options)), strict=True)
        steps = scenario.training.local_steps
        self._jobs = [round_jobs(_costs(HeadCosts(*head), *row), steps) for head, row in zip(heads, rows, strict=True)]

    def seconds_to_progress(self, windows_s: Mapping[str, float], round_latency_s: float) -> float:
        """Return the least seconds a unit of progress in a round that begins at these points of the recordings.

        Parameters
        ----------
        windows_s
            By client, the point of its recording that the round begins at, s.
        round_latency_s
            Latency of some plan's round in the same window: deadlines beyond it are covered by the progress that all
            options together can make.

        Raises
        ------
        SolverFailure
            If a linear programme could not be solved.
        """
        window_s = [windows_s.get(name, 0.0) for name in self._ids]
        alone_s = np.array([self._alone_s(row, window_s[self._client[row]]) for row in range(len(self._jobs))])
        earliest_s = max(float(alone_s[self._client == client].min()) for client in range(len(self._ids)))
        everything = math.fsum(float(self._worth[self._client == client].max()) for client in range(len(self._ids)))

        @cache
        def most(deadline_s: float) -> float:
            return min(everything, self._most_progress(alone_s, window_s, deadline_s))

        latest_s = max(round_latency_s, earliest_s)
        # A round that ends within a stretch takes at least its beginning and makes at most what its end allows.
        stretches = [(_ratio(earliest_s, most(latest_s)), earliest_s, latest_s)]
        for _ in range(_MOST_DEADLINES):
            _, begin_s, end_s = stretches[0]
            if end_s <= begin_s * _NARROW:
                break
            middle_s = math.sqrt(begin_s * end_s) if begin_s > 0 else end_s / 2
            heapq.heapreplace(stretches, (_ratio(begin_s, most(middle_s)), begin_s, middle_s))
            heapq.heappush(stretches, (_ratio(middle_s, most(end_s)), middle_s, end_s))
        return min(stretches[0][0], _ratio(latest_s, everything))

    def _alone_s(self, row: int, window_s: float) -> float:
        """Return when a client's jobs are done that has all resources to itself."""
        uplink, downlink = self._links[self._client[row]]
        now_s = 0.0
        for job in self._jobs[row]:
            if job.resource in (Resource.DEVICE, Resource.SERVER):
                now_s += job.amount
            else:
                now_s += (uplink if job.resource.is_up else downlink).seconds(job.amount, window_s, now_s)
        return now_s

    def _most_progress(self, alone_s: FloatArray, window_s: list[float], deadline_s: float) -> float:
        """Return an upper bound on the progress of a round that ends by a deadline; minus infinity where none does."""
        rows = np.flatnonzero(alone_s <= deadline_s * (1 + 1e-12))
        if len(np.unique(self._client[rows])) < len(self._ids):
            return -math.inf
        edges_s = self._edges(window_s, deadline_s)
        programme = _Programme(len(rows))
        programme.choose_one(self._client[rows], len(self._ids))
        programme.at_most(np.arange(len(rows)), self._server_s[rows], deadline_s)
        for side, size_bits in enumerate((self._up_bits, self._down_bits)):
            sending = [c for c in range(len(self._ids)) if self._links[c][side].is_shared]
            factors = [self._links[c][side].best(window_s[c], edges_s) for c in sending]
            owned = [np.flatnonzero(self._client[rows] == c) for c in sending]
            lines = [self._links[c][side].lines for c in sending]
            programme.carry(owned, [size_bits[rows[own]] for own in owned], lines, factors, np.diff(edges_s))
        return programme.most(self._worth[rows])

    def _edges(self, window_s: list[float], deadline_s: float) -> FloatArray:
        """Intervals of a round: between changes of any rate, or equal ones where these are too many."""
        changes = [link.changes_s(window_s[c], deadline_s) for c, links in enumerate(self._links) for link in links]
        edges_s = np.unique(np.concatenate([np.array([0.0, deadline_s]), *changes]))
        edges_s = edges_s[(edges_s >= 0) & (edges_s <= deadline_s)]
        return edges_s if len(edges_s) <= _MOST_INTERVALS else np.linspace(0.0, deadline_s, _MOST_INTERVALS + 1)


def _costs(
    head: HeadCosts,
    client_compute_s: float,
    server_compute_s: float,
    model_down: int,
    up: int,
    down: int,
    model_up: int,
    every: int,
) -> StatedCosts:
    """Costs of an option; the exchange of the model, and of a head, is a part of what goes up and down."""
    of_steps = {
        Phase.UPLINK: up - model_up - head.head_gradient_bytes,
        Phase.DOWNLINK: down - model_down - head.head_features_bytes,
    }
    of_model = {Phase.MODEL_DOWNLOAD: model_down, Phase.MODEL_UPLOAD: model_up}
    return StatedCosts(client_compute_s, server_compute_s, of_steps | of_model, every, head)


def _ratio(seconds: float, progress: float) -> float:
    return seconds / progress if progress > 0 else math.inf


class _Programme:
    """A linear programme over shares of options [R] and seconds of links."""

    def __init__(self, num_rows: int) -> None:
        self._num_variables = self._num_options = num_rows
        self._entries: list[tuple[NDArray[np.int64], NDArray[np.int64], FloatArray]] = []
        self._bounds: list[float] = []
        self._one_of: csr_array | None = None

    def choose_one(self, client: NDArray[np.int64], num_clients: int) -> None:
        """Have every client take options that sum to one."""
        number = np.arange(len(client))
        self._one_of = csr_array((np.ones(len(client)), (client, number)), shape=(num_clients, len(client)))

    def at_most(self, variables: NDArray[np.int64], factors: FloatArray, bound: float) -> None:
        """Limit a weighted sum of variables."""
        self._entries.append((np.full(len(variables), len(self._bounds)), variables, factors))
        self._bounds.append(bound)

    def carry(
        self,
        owned: list[NDArray[np.int64]],
        size_bits: list[FloatArray],
        lines: list[tuple[tuple[float, float], ...]],
        factors: list[FloatArray],
        lengths_s: FloatArray,
    ) -> None:
        """Have one direction carry the bits of all clients: in every interval their shares of it sum to at most one.

        A client's mean share of an interval carries no more than a constant one does, since rates are concave in the
        share. Bits are in units of what the client could send alone, so that the numbers stay near one.
        """
        count = len(lengths_s)
        shares = []
        for own, size, its_lines, factor in zip(owned, size_bits, lines, factors, strict=True):
            able_s = factor * lengths_s
            scale = max(float(sum(its_lines[-1])) * float(able_s.sum()), np.finfo(float).tiny)
            share = self._more(count)
            shares.append(share)
            if len(its_lines) == 1:
                variables, factors_of = share, -its_lines[0][1] * able_s / scale
            else:
                variables, factors_of = self._more(count), np.full(count, -1.0)
                for above, slope in its_lines:
                    for interval, most_s in enumerate(able_s.tolist()):
                        pair = np.array([variables[interval], share[interval]])
                        self.at_most(pair, np.array([1.0, -slope * most_s / scale]), above * most_s / scale)
            self.at_most(np.concatenate((own, variables)), np.concatenate((size / scale, factors_of)), 0.0)
        for interval in range(count):
            self.at_most(np.array([share[interval] for share in shares]), np.ones(len(shares)), 1.0)

    def _more(self, count: int) -> NDArray[np.int64]:
        """Return so many further variables."""
        begin = self._num_variables
        self._num_variables += count
        return np.arange(begin, begin + count)

    def most(self, worth: FloatArray) -> float:
        """Return the most that the options can be worth; minus infinity where nothing is allowed."""
        number = [np.concatenate([entry[part] for entry in self._entries]) for part in (0, 1)]
        factors = np.concatenate([entry[2] for entry in self._entries])
        shape = (len(self._bounds), self._num_variables)
        one_of = self._one_of
        assert one_of is not None
        one_of.resize((one_of.shape[0], self._num_variables))
        found = linprog(
            np.concatenate((-worth, np.zeros(self._num_variables - len(worth)))),
            A_ub=csr_array(coo_array((factors, (number[0], number[1])), shape=shape)), b_ub=np.array(self._bounds),
            A_eq=one_of, b_eq=np.ones(one_of.shape[0]), bounds=(0, None), method="highs",
        )  # fmt: skip
        if found.status == 2:
            return -math.inf
        if found.status != 0:
            raise SolverFailure(f"the linear programme of the clairvoyant bound ended with: {found.message}")
        return -float(found.fun) + 1e-9
