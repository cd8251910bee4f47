"""What it takes to move what clients and server hand over between two plans, before the first round under the new one.

With constant shares every client moves at its own; where the whole resource goes to one client at a time, clients take
each direction one after another, in the plan's order. Everybody waits until all has moved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hybridsplit.runtime.replay.changing import MovedBytes
from hybridsplit.runtime.replay.totals import PhaseTotals, RoundTotals
from hybridsplit.runtime.replay.work import ClientWork
from hybridsplit.scenarios.contracts.jobs import Job, Resource
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.plan import Plan


def move(
    plan: Plan, work: Sequence[ClientWork], wanted: Mapping[str, MovedBytes]
) -> tuple[dict[str, RoundTotals], float]:
    """Move, up and down at the same time.

    Parameters
    ----------
    plan, work
        The new plan, and its clients' work in a round that begins where moving does.
    wanted
        What is to be moved, by client.

    Returns
    -------
    By client of the plan, what it spends, waiting included; and how long all takes, s.

    Raises
    ------
    RunError
        If a client has no share of a link that it needs.
    """
    spent = {item.client_id: {phase: PhaseTotals() for phase in (Phase.MOVED_UP, Phase.MOVED_DOWN)} for item in work}
    rank = {client: place for place, client in enumerate(getattr(plan.schedule, "order", ()))}
    in_order = sorted(work, key=lambda item: rank.get(item.client_id, len(rank)))
    ends_s = {item.client_id: 0.0 for item in work}
    for phase, up in ((Phase.MOVED_UP, True), (Phase.MOVED_DOWN, False)):
        free_s = 0.0
        for item in in_order:
            size = getattr(wanted.get(item.client_id, MovedBytes()), "up" if up else "down")
            if size == 0:
                continue
            # A client with both directions to move takes one after the other, so that its seconds add up.
            waits = plan.serves_one_at_a_time and not item.is_dedicated
            begins_s = max(ends_s[item.client_id], free_s if waits else 0.0)
            total = spent[item.client_id][phase]
            resource = Resource.UPLINK if up else Resource.DOWNLINK
            taken = item.transfer(Job(phase, 0, resource, size), begins_s - item.trace_origin_s(0, 0.0))
            total.bytes = size
            total.seconds = taken.served_s
            total.waiting_s = taken.waiting_s + begins_s - ends_s[item.client_id]
            end_s = begins_s + taken.elapsed_s + item.delay_s(resource)
            total.seconds += item.delay_s(resource)
            ends_s[item.client_id] = end_s
            free_s = begins_s + taken.elapsed_s if waits else free_s
    all_s = max(ends_s.values())
    for client, end_s in ends_s.items():
        spent[client][Phase.MOVED_DOWN].waiting_s += all_s - end_s
    return spent, all_s
