"""How much of a resource is used over a round, and how many clients wait for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from types import MappingProxyType

from hybridsplit.orchestrator.timeline.intervals import Interval
from hybridsplit.scenarios.contracts.phases import DOWNLINK_PHASES, SERVER_PHASES, UPLINK_PHASES, Phase
from hybridsplit.scenarios.contracts.plan import ClientPlan

RESOURCES: Mapping[str, tuple[Phase, ...]] = MappingProxyType(
    {"uplink": UPLINK_PHASES, "downlink": DOWNLINK_PHASES, "server": SERVER_PHASES}
)
"""What clients share, and the phases that occupy it."""


@dataclass(frozen=True)
class Steps:
    """A figure over time that is constant between changes.

    Parameters
    ----------
    times_s
        When it changes, from the round's start; it begins at the first one and ends at the last one.
    levels
        What it is from each time on.
    """

    times_s: tuple[float, ...]
    levels: tuple[float, ...]

    @property
    def integral_s(self) -> float:
        """Level times seconds."""
        ends = self.times_s[1:]
        return sum(level * (end - start) for level, start, end in zip(self.levels, self.times_s, ends, strict=False))

    @property
    def largest(self) -> float:
        """The largest level that lasts."""
        ends = self.times_s[1:]
        lasting = (level for level, start, end in zip(self.levels, self.times_s, ends, strict=False) if end > start)
        return max(lasting, default=0.0)

    def thinned(self, most: int) -> Steps:
        """Return the figure as means over equal pieces of time where it has more changes than so many.

        Parameters
        ----------
        most
            Changes that are kept as they are.
        """
        if len(self.times_s) <= most:
            return self
        import numpy as np

        times_s, levels = np.array(self.times_s), np.array(self.levels)
        sums_s = np.concatenate(([0.0], np.cumsum(levels[:-1] * np.diff(times_s))))
        edges_s = np.linspace(times_s[0], times_s[-1], most)
        means = np.diff(np.interp(edges_s, times_s, sums_s)) / np.diff(edges_s)
        return Steps(tuple(edges_s.tolist()), (*means.tolist(), 0.0))


def utilisation(intervals: Iterable[Interval], clients: Sequence[ClientPlan], resource: str, end_s: float) -> Steps:
    """Return the part of a resource that serves someone, over a round.

    Parameters
    ----------
    intervals
        Of the round.
    clients
        The plan's clients, with their shares.
    resource
        One of :data:`RESOURCES`.
    end_s
        End of the round.
    """
    shares = {client.id: float(getattr(client, f"{resource}_share")) for client in clients}
    return _summed(intervals, end_s, lambda one: 0.0 if one.is_waiting else shares.get(one.client, 0.0), resource)


def queue_length(intervals: Iterable[Interval], clients: Sequence[ClientPlan], resource: str, end_s: float) -> Steps:
    """Return how many clients wait for a resource, over a round: for their turn, or for a link at rate zero.

    Parameters
    ----------
    intervals, clients, resource, end_s
        As for :func:`utilisation`; clients with a link of their own wait for none of the shared ones.
    """
    apart = {client.id for client in clients if client.has_dedicated_link} if resource != "server" else set()
    return _summed(intervals, end_s, lambda one: 1.0 if one.is_waiting and one.client not in apart else 0.0, resource)


def _summed(
    intervals: Iterable[Interval], end_s: float, weight_of: Callable[[Interval], float], resource: str
) -> Steps:
    changes = [(0.0, 0.0), (end_s, 0.0)]
    for one in intervals:
        weight = weight_of(one) if one.phase in RESOURCES[resource] else 0.0
        if weight > 0:
            changes += [(one.start_s, weight), (min(one.end_s, end_s), -weight)]
    times_s, levels, level = [], [], 0.0
    for time_s, group in groupby(sorted(changes), key=lambda change: change[0]):
        level += sum(change for _, change in group)
        times_s.append(time_s)
        levels.append(level if level > 1e-12 else 0.0)
    return Steps(tuple(times_s), tuple(levels))
