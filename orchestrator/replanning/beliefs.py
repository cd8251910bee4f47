"""What is expected of the next round, from what finished ones have shown."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from hybridsplit.orchestrator.recorded.stretched import stretched_table
from hybridsplit.runtime.replay.changing import Observed, RoundObserved
from hybridsplit.runtime.replay.memory_trace import MemoryTrace
from hybridsplit.runtime.replay.steady import steady_link
from hybridsplit.runtime.replay.traces import BandwidthTrace
from hybridsplit.scenarios.contracts.ladder import parse_ladder
from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.contracts.plan import Plan

_LONGEST = 1000.0
"""Times as long as planned that a transfer is expected to take at most: a link that stood still comes back."""


@dataclass(frozen=True)
class Beliefs:
    """What links and memory are expected to be.

    Parameters
    ----------
    stretch
        By client, how many times as long as planned its transfers take, up and down.
    memory_bytes
        By client, the memory it has, where its memory moves.
    """

    stretch: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    memory_bytes: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def from_rounds(cls, rounds: Sequence[RoundObserved], before: Beliefs) -> Beliefs:
        """Average over finished rounds, seconds over planned seconds; who sent nothing is believed to be as before.

        Parameters
        ----------
        rounds
            The rounds.
        before
            What is believed of clients and directions that these rounds show nothing of.
        """
        stretch, memory = dict(before.stretch), dict(before.memory_bytes)
        for client in {name for one in rounds for name in one.clients}:
            seen = [one.clients[client] for one in rounds if client in one.clients]
            up, down = stretch.get(client, (1.0, 1.0))
            stretch[client] = (
                _ratio(seen, lambda o: o.uplink_s, lambda o: o.planned_uplink_s, up),
                _ratio(seen, lambda o: o.downlink_s, lambda o: o.planned_downlink_s, down),
            )
            held = [one.memory_bytes for one in seen if one.memory_bytes is not None]
            if held:
                memory[client] = math.fsum(held) / len(held)
        return cls(stretch, memory)

    @classmethod
    def at_first(cls, rounds: Sequence[RoundObserved]) -> Beliefs:
        """Return what is believed before anything has changed: links as planned, and the memory that was seen first.

        Parameters
        ----------
        rounds
            All finished rounds, in order.
        """
        memory: dict[str, float] = {}
        for one in rounds:
            for client, seen in one.clients.items():
                if seen.memory_bytes is not None:
                    memory.setdefault(client, seen.memory_bytes)
        return cls({}, memory)

    def table(self, table: OptionTable, local_steps: int) -> OptionTable:
        """Return an option table in which bytes and ladders cost what is expected of them.

        Parameters
        ----------
        table
            The option table.
        local_steps
            Steps of a round.
        """
        changed = stretched_table(table, self.stretch)
        if not self.memory_bytes:
            return changed
        frame = changed.table.copy()
        moves = (frame["levels"] != "") & frame["client"].isin(list(self.memory_bytes))
        for place in frame.index[moves]:
            levels = parse_ladder(str(frame.at[place, "levels"]))
            budget_bytes = self.memory_bytes[str(frame.at[place, "client"])]
            fitting = [level.step_s for level in levels if level.peak_bytes <= budget_bytes]
            # How long it would wait below the leanest level is not known: at least the mean over the recording.
            slowest_s = max(float(str(frame.at[place, "client_compute_s"])), levels[-1].step_s * local_steps)
            frame.at[place, "client_compute_s"] = fitting[0] * local_steps if fitting else slowest_s
        return OptionTable(frame)

    def links(self) -> dict[str, BandwidthTrace]:
        """Return links that are what is expected, by client."""
        return {client: steady_link(1.0 / up, 1.0 / down) for client, (up, down) in self.stretch.items()}

    def memory(self, plan: Plan) -> dict[str, MemoryTrace]:
        """Return memory that is what is expected, by client on a ladder of a plan: its leanest level always fits.

        Parameters
        ----------
        plan
            The plan.
        """
        found = {}
        for client in plan.clients:
            if client.levels:
                expected_bytes = self.memory_bytes.get(client.id, client.memory_budget_bytes)
                budget_bytes = max(int(expected_bytes), client.levels[-1].peak_bytes)
                found[client.id] = MemoryTrace((1.0,), (budget_bytes,), "expected memory")
        return found

    def differ(self, other: Beliefs) -> float:
        """Return the largest relative difference of a rate or of memory, from the smaller to the larger of both."""
        found = 1.0
        for client in self.stretch.keys() | other.stretch.keys():
            for a, b in zip(self.stretch.get(client, (1.0, 1.0)), other.stretch.get(client, (1.0, 1.0)), strict=True):
                found = max(found, a / b, b / a)
        for client in self.memory_bytes.keys() & other.memory_bytes.keys():
            a, b = max(1.0, self.memory_bytes[client]), max(1.0, other.memory_bytes[client])
            found = max(found, a / b, b / a)
        return found - 1.0


def _ratio(
    seen: Sequence[Observed], took: Callable[[Observed], float], planned: Callable[[Observed], float], before: float
) -> float:
    planned_s = math.fsum(planned(one) for one in seen)
    if not planned_s > 0:
        return before
    return min(max(math.fsum(took(one) for one in seen) / planned_s, 1.0 / _LONGEST), _LONGEST)
