"""Plans that change between rounds: what a replay tells after each round, and what it is told in return.

The replay knows no planner: whoever plans again implements :class:`Replanner`. The formulation of observations, the
hook and what a change costs is a reconstruction of ours; that cuts are set anew as a run goes on is the idea of dynamic
SmartSplit (Wu et al., arXiv 2410.11577).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from hybridsplit.scenarios.contracts.placement import Placement
    from hybridsplit.scenarios.contracts.plan import Plan


@dataclass(frozen=True)
class Observed:
    """What a finished round has shown of one client that took part.

    Parameters
    ----------
    uplink_bits, downlink_bits
        What it sent and received.
    uplink_s, downlink_s
        Seconds in which that was carried. With constant shares the time at which its link stood still counts; elsewhere
        it cannot be told from the wait for the others.
    planned_uplink_s, planned_downlink_s
        Seconds that the plan's rates give for the same.
    ended_s
        From the start of the round until it waited for the others alone.
    memory_bytes
        Mean over the steps of what it could take, where its memory moves; None elsewhere.
    """

    uplink_bits: int
    downlink_bits: int
    uplink_s: float
    downlink_s: float
    planned_uplink_s: float
    planned_downlink_s: float
    ended_s: float
    memory_bytes: float | None = None


@dataclass(frozen=True)
class RoundObserved:
    """What a finished round has shown.

    Parameters
    ----------
    latency_s
        How long it took, without what was moved before it.
    clients
        By client that took part.
    """

    latency_s: float
    clients: Mapping[str, Observed]


@dataclass(frozen=True)
class Boundary:
    """Where the next round is about to begin.

    Parameters
    ----------
    round
        The round that comes, from 1.
    now_s
        The replay's clock.
    plan
        The plan so far.
    observed
        All finished rounds, in order.
    """

    round: int
    now_s: float
    plan: Plan
    observed: Sequence[RoundObserved]


@dataclass(frozen=True)
class MovedBytes:
    """What has to be moved for one client before it can go on with a new plan.

    Parameters
    ----------
    up, down
        Bytes from the client to the server, and back.
    """

    up: int = 0
    down: int = 0


@dataclass(frozen=True)
class NewPlan:
    """A plan to go on with.

    Parameters
    ----------
    plan
        The plan; its clients are those of the plan before.
    reason
        Why, in words.
    expected_saving
        The part of the objective that it is expected to save.
    """

    plan: Plan
    reason: str
    expected_saving: float


class Replanner(Protocol):
    """Says between two rounds whether to go on with another plan."""

    def next_plan(self, boundary: Boundary) -> NewPlan | None:
        """Return the plan to go on with; None to keep the present one.

        The answer must follow from the boundary alone: a run that is resumed asks again, and must hear the same.
        """
        ...

    def moved_bytes(self, before: Placement, after: Placement) -> MovedBytes:
        """Return what has to be moved for a client before its first round under another placement."""
        ...


@dataclass(frozen=True)
class PlanChange:
    """A change of plan that was made.

    Parameters
    ----------
    round
        The first round under the new plan.
    reason, expected_saving
        As of :class:`NewPlan`.
    changed
        Clients whose placement changed.
    moved_bytes
        What was moved before that round; who sits it out moves later.
    moving_s
        How long all waited for that.
    """

    round: int
    reason: str
    expected_saving: float
    changed: tuple[str, ...]
    moved_bytes: int
    moving_s: float


@dataclass(frozen=True)
class PlanSequence:
    """The plans that rounds went by.

    Parameters
    ----------
    plans
        In the order in which they came into use.
    of_round
        By round, the number of its plan, from 0.
    changes
        One for every plan after the first.
    """

    plans: tuple[Plan, ...]
    of_round: tuple[int, ...]
    changes: tuple[PlanChange, ...]

    def plan_of(self, round_index: int) -> Plan:
        """Return the plan of a round."""
        return self.plans[self.of_round[round_index]]
