"""Rounds of many clients: whole clients from the programme by a deadline, and whose turn it is when a round begins.

The programme (:mod:`hybridsplit.solver.relays.deadline`) says how many clients of every kind of group take each
placement and when their uploads begin. With a share of the machines alone, it leaves room for what it does not see:
work that comes in whole pieces, and clients that wait for each other. Each solution is dealt to the groups so that
their own machines are equally busy, clients are let in by the slack that they have, and the round is walked: the
shortest counts. It is then changed as long as rounds are shorter: by clients that end last and take what others take,
and by placements whose clients begin sooner or later. Changes come from a stream of the scenario's seed, and their
number ends them; time is only the second limit.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hybridsplit.scenarios.contracts.relay_costs import FloatArray
from hybridsplit.scenarios.streams import stream_seed
from hybridsplit.solver.relays.columns import column_of
from hybridsplit.solver.relays.deadline import Deadline
from hybridsplit.solver.relays.dealing import Dealt, begins_of, dealt_clients, turns_of
from hybridsplit.solver.relays.routes import Route
from hybridsplit.solver.relays.task import Placed, Task, fits_memory, with_deep_depths
from hybridsplit.solver.relays.walk import walk

_ROOMS = (0.75, 0.65, 0.7, 0.85)
_ENDS = 6
_WAITS = (0.5, 0.3, 1.0)
"""Shares of their slack after which clients that use shared machines are let in."""
_MOST_CHANGES = 120
_LATER = (-0.05, -0.025, -0.01, 0.01, 0.025, 0.05)
"""Parts of a round by which clients of a placement begin later."""
_STRETCHED = (0.25, 0.5, 0.8, 1.25, 2.0)
_PARTS = (0.25, 0.5, 1.0)
"""Parts of the groups of a kind in which a client changes its placement."""


class Crowd(NamedTuple):
    """A round of many clients.

    Parameters
    ----------
    placed, turns
        Placement of every client, and whose turn it is when a round begins.
    value_s
        Seconds of the round.
    """

    placed: Placed
    turns: tuple[int, ...]
    value_s: float


@dataclass(frozen=True)
class _Round:
    """Clients with when they are to begin, and the round that this gives."""

    dealt: tuple[Dealt, ...]
    begins_s: FloatArray
    crowd: Crowd
    ends_s: FloatArray


def best_crowd(task: Task, deadline: Deadline, bound_s: float, below_s: float, until: float) -> Crowd | None:
    """Return the shortest round found; None where none is shorter than what is known.

    Parameters
    ----------
    task, deadline
        What is planned, and the programme over its placements.
    bound_s, below_s
        A bound of the round, and a round that is known.
    until
        Moment of the monotonic clock to end at.
    """
    best: _Round | None = None
    enough_s = bound_s * (1 + task.scenario.search.gap)
    for room in _ROOMS:
        value_s = best.crowd.value_s if best else below_s
        if value_s <= enough_s or time.monotonic() > until:
            break
        _, chosen = deadline.shortest(bound_s, value_s, until, ends=_ENDS, room=room)
        dealt = tuple(dealt_clients(task, deadline, chosen))
        for share in _WAITS if dealt else ():
            found = _walked(task, dealt, begins_of(dealt, share))
            if found is not None and (best is None or found.crowd.value_s < best.crowd.value_s):
                best = found
            if time.monotonic() > until:
                break
    if best is not None:
        best = _changed(task, best, enough_s, until)
    return best.crowd if best is not None and best.crowd.value_s < below_s else None


def _walked(task: Task, dealt: Sequence[Dealt], begins_s: FloatArray) -> _Round | None:
    columns = [one.column for one in dealt]
    if not fits_memory(task, columns):
        return None
    placed, turns = with_deep_depths(task, columns), turns_of(dealt, begins_s)
    ends_s = np.array(walk(placed, turns, trains=task.trains))
    return _Round(tuple(dealt), begins_s, Crowd(placed, turns, float(ends_s.max())), ends_s)


def _changed(task: Task, best: _Round, enough_s: float, until: float) -> _Round:
    """Change placements and beginnings as long as rounds are shorter."""
    random = np.random.default_rng(stream_seed(task.scenario.seed, "relays", "crowds"))
    for _ in range(_MOST_CHANGES):
        if best.crowd.value_s <= enough_s or time.monotonic() > until:
            break
        classes: dict[tuple[object, ...], list[int]] = {}
        for index, one in enumerate(best.dealt):
            classes.setdefault(_class_of(one), []).append(index)
        members = list(classes.values())
        if random.random() < 0.5:
            dealt, begins_s = _let_in(best, members, random)
        else:
            dealt, begins_s = _moved(task, best, members, random)
        if dealt is best.dealt and turns_of(dealt, begins_s) == best.crowd.turns:
            continue
        found = _walked(task, dealt, begins_s)
        if found is not None and found.crowd.value_s < best.crowd.value_s:
            best = found
    return best


def _class_of(one: Dealt) -> tuple[object, ...]:
    """What alike clients of alike groups share."""
    route = one.column.route
    return one.kind, len(route.nodes), route.nodes[1:], route.micro_batches, one.column.cuts


def _let_in(best: _Round, members: list[list[int]], random: np.random.Generator) -> tuple[Sequence[Dealt], FloatArray]:
    """Let clients of a placement begin sooner or later."""
    weights = np.sqrt([len(one) for one in members])
    chosen = members[int(random.choice(len(members), p=weights / weights.sum()))]
    begins_s = best.begins_s.copy()
    if random.random() < 0.5:
        begins_s[chosen] += float(random.choice(_LATER)) * best.crowd.value_s
    else:
        begins_s[chosen] *= float(random.choice(_STRETCHED))
    return best.dealt, begins_s


def _moved(
    task: Task, best: _Round, members: list[list[int]], random: np.random.Generator
) -> tuple[Sequence[Dealt], FloatArray]:
    """Give clients of a placement that ends late the placement of others, in some or all groups of their kind."""
    late = sorted(members, key=lambda one: -float(best.ends_s[one].max()))
    old = late[min(int(random.geometric(0.5)) - 1, len(late) - 1)]
    others = [one for one in members if best.dealt[one[0]].kind == best.dealt[old[0]].kind and one is not old]
    if not others:
        return best.dealt, best.begins_s
    new = others[int(random.integers(len(others)))]
    like, begin_s = best.dealt[new[0]], float(np.median(best.begins_s[new]))
    last: dict[str, int] = {}
    for index in sorted(old, key=lambda index: float(best.ends_s[index])):
        last[best.dealt[index].column.route.group] = index
    groups = list(last)
    count = max(1, round(len(groups) * float(random.choice(_PARTS))))
    dealt, begins_s = list(best.dealt), best.begins_s.copy()
    for place in random.permutation(len(groups))[:count]:
        index = last[groups[int(place)]]
        route = _same_route(task.routes, like.column.route, groups[int(place)])
        dealt[index] = like._replace(column=column_of(route, like.column.cuts))
        begins_s[index] = begin_s
    return dealt, begins_s


def _same_route(routes: Sequence[Route], route: Route, group: str) -> Route:
    """The route of an alike group: theirs are in the same order."""
    of_group = [one for one in routes if one.group == route.group]
    place = next(n for n, one in enumerate(of_group) if one is route)
    return [one for one in routes if one.group == group][place]
