"""The order in which machines run micro-batches forward and backward, and how long a step takes in it.

A machine with warm-up depth w runs w micro-batches forward, then backward and forward in turn, and the rest backward:
it holds w micro-batches at most. Depths may not rise along the chain, or two machines would wait for each other. 1F1B
(PipeDream, arXiv 1806.03377) is w = K - k + 1 at the k-th of K machines, or with replicas the number of machines from
there on by those that share the work; a deeper warm-up hides the links between them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

_MOST_TRIED = 40


class Crossing(NamedTuple):
    """A link that micro-batches cross.

    Parameters
    ----------
    up_s, down_s
        How long one keeps each direction busy.
    up_delay_s, down_delay_s
        Propagation, which keeps nothing busy.
    """

    up_s: float
    down_s: float
    up_delay_s: float = 0.0
    down_delay_s: float = 0.0


@dataclass(frozen=True)
class Stage:
    """A machine that runs blocks, and the way to the next one that does.

    Parameters
    ----------
    forward_s, backward_s
        Of a micro-batch.
    update_s
        Once, after the last backward of all replicas, the sum of their gradients included.
    links
        Links to the next stage.
    most_warm_up
        Micro-batches that its memory holds.
    replicas
        Machines that hold its blocks: micro-batch i runs on machine i mod ``replicas``. Depths are those of each.
    """

    forward_s: float
    backward_s: float
    update_s: float
    links: tuple[Crossing, ...]
    most_warm_up: int
    replicas: int = 1

    def share(self, num_micro_batches: int) -> int:
        """Return how many micro-batches its busiest machine runs."""
        return -(-num_micro_batches // self.replicas)


def directions(num_micro_batches: int, warm_up: int) -> Iterator[bool]:
    """Yield the order of a machine: whether its next micro-batch runs forward.

    Parameters
    ----------
    num_micro_batches
        Micro-batches m.
    warm_up
        Its depth, 1 to m.
    """
    forward = backward = 0
    while backward < num_micro_batches:
        if forward < num_micro_batches and forward - backward < warm_up:
            forward += 1
            yield True
        else:
            backward += 1
            yield False


def step_seconds(stages: Sequence[Stage], warm_ups: Sequence[int], num_micro_batches: int) -> float:
    """Return the seconds of a step of training: the max-plus recursion of the stated orders.

    Links carry micro-batches in ascending order, whichever replica has them ready first.

    Parameters
    ----------
    stages, warm_ups
        [K] stages, and their warm-up depths.
    num_micro_batches
        Micro-batches m.

    Raises
    ------
    ValueError
        If depths rise along the chain, so that no machine could go on.
    """
    number = num_micro_batches
    depths = tuple(min(depth, stage.share(number)) for depth, stage in zip(warm_ups, stages, strict=True))
    if depths != _without_rise(stages, depths, number):
        raise ValueError(f"warm-up depths {list(warm_ups)} rise along the chain; needs them to stay or fall")
    last = len(stages) - 1
    machines = [
        _Machine(k, list(range(j, number, stage.replicas)), depths[k])
        for k, stage in enumerate(stages)
        for j in range(stage.replicas)
    ]
    up = [_Direction(number, stage.links) for stage in stages]
    down = [_Direction(number, stage.links[::-1]) for stage in stages]
    down_at_last: list[float | None] = [None] * number
    moving = True
    while moving:
        moving = False
        for machine in machines:
            k, stage = machine.stage, stages[machine.stage]
            while machine.position < len(machine.order):
                forward, n = machine.order[machine.position]
                if forward:
                    ready = 0.0 if k == 0 else up[k - 1].arrived_s[n]
                else:
                    ready = down_at_last[n] if k == last else down[k].arrived_s[n]
                if ready is None:
                    break
                machine.free_s = max(machine.free_s, ready) + (stage.forward_s if forward else stage.backward_s)
                machine.position += 1
                moving = True
                if not forward and k > 0:
                    down[k - 1].send(n, machine.free_s, upwards=False)
                elif forward and k == last:
                    down_at_last[n] = machine.free_s
                elif forward:
                    up[k].send(n, machine.free_s, upwards=True)
    return max(machine.free_s + stages[machine.stage].update_s for machine in machines)


class _Machine:
    """One of a stage's machines: its order, how far it has come, and when it is free."""

    def __init__(self, stage: int, numbers: list[int], warm_up: int) -> None:
        self.stage, self.position, self.free_s = stage, 0, 0.0
        forward, backward = iter(numbers), iter(numbers)
        turns = directions(len(numbers), warm_up)
        self.order = [(turn, next(forward) if turn else next(backward)) for turn in turns]


class _Direction:
    """The links from one stage to another: micro-batches go in ascending order, and links carry one at a time."""

    def __init__(self, number: int, links: Sequence[Crossing]) -> None:
        self.arrived_s: list[float | None] = [None] * number
        self._done_s: list[float | None] = [None] * number
        self._links, self._free_s, self._next = links, [0.0] * len(links), 0

    def send(self, n: int, done_s: float, *, upwards: bool) -> None:
        """Send a micro-batch as soon as all before it have been sent."""
        self._done_s[n] = done_s
        while self._next < len(self._done_s) and (at := self._done_s[self._next]) is not None:
            self.arrived_s[self._next] = _over(at, self._links, self._free_s, upwards=upwards)
            self._next += 1


def _over(start_s: float, links: Sequence[Crossing], free: list[float], *, upwards: bool) -> float:
    """Send a message over links one after another, each of which carries messages in turn; return its arrival."""
    at = start_s
    for index, link in enumerate(links):
        free[index] = max(free[index], at) + (link.up_s if upwards else link.down_s)
        at = free[index] + (link.up_delay_s if upwards else link.down_delay_s)
    return at


def one_forward_one_backward(stages: Sequence[Stage], num_micro_batches: int) -> tuple[int, ...]:
    """Return the depths of 1F1B, cut to what memory holds.

    Parameters
    ----------
    stages, num_micro_batches
        [K] stages, and micro-batches m.
    """
    behind = list(itertools.accumulate(stage.replicas for stage in reversed(stages)))[::-1]
    depths = [-(-machines // stage.replicas) for machines, stage in zip(behind, stages, strict=True)]
    return _allowed(stages, depths, num_micro_batches)


def all_forward_first(stages: Sequence[Stage], num_micro_batches: int) -> tuple[int, ...]:
    """Return the depths of GPipe (arXiv 1811.06965), cut to what memory holds.

    Parameters
    ----------
    stages, num_micro_batches
        [K] stages, and micro-batches m.
    """
    return _allowed(stages, [num_micro_batches] * len(stages), num_micro_batches)


def warm_ups_of(pipeline: str, stages: Sequence[Stage], num_micro_batches: int) -> tuple[tuple[int, ...], float]:
    """Return warm-up depths and the seconds of a step by the name of an order.

    Parameters
    ----------
    pipeline
        ``best``, ``1f1b`` or ``gpipe``.
    stages, num_micro_batches
        [K] stages, and micro-batches m.
    """
    if pipeline == "best":
        return best_warm_ups(stages, num_micro_batches)
    named = one_forward_one_backward if pipeline == "1f1b" else all_forward_first
    depths = named(stages, num_micro_batches)
    return depths, step_seconds(stages, depths, num_micro_batches)


def best_warm_ups(stages: Sequence[Stage], num_micro_batches: int) -> tuple[tuple[int, ...], float]:
    """Return warm-up depths with the shortest step found, and its seconds.

    All depths are tried where there are few; otherwise those that fall by a fixed amount a machine from any start, and
    from the best of these, changes of one depth as long as they help.

    Parameters
    ----------
    stages, num_micro_batches
        [K] stages, and micro-batches m.
    """
    number = num_micro_batches
    if number == 1:
        depths = (1,) * len(stages)
        return depths, step_seconds(stages, depths, 1)
    known: dict[tuple[int, ...], float] = {}

    def tried(depths: Sequence[int]) -> float:
        allowed = _allowed(stages, depths, number)
        if allowed not in known:
            known[allowed] = step_seconds(stages, allowed, number)
        return known[allowed]

    few = _all_depths(len(stages), number)
    if few is not None:
        for depths in few:
            tried(depths)
    else:
        tried(one_forward_one_backward(stages, number))
        for last, fall in itertools.product(range(1, 4), range(number)):
            tried([last + fall * (len(stages) - 1 - k) for k in range(len(stages))])
        _descend(known, tried, number)
    best = min(known, key=lambda depths: (known[depths], sum(depths)))
    return best, known[best]


def _descend(known: dict[tuple[int, ...], float], tried: Callable[[Sequence[int]], float], number: int) -> None:
    """Change one depth at a time from the best known, as long as it helps."""
    improving = True
    while improving:
        best = min(known, key=lambda depths: (known[depths], sum(depths)))
        before = known[best]
        for k, change in itertools.product(range(len(best)), (-1, 1, 3)):
            depths = list(best)
            depths[k] = min(number, max(1, depths[k] + change))
            tried(depths)
        improving = min(known.values()) < before * (1 - 1e-12)


def _all_depths(num_stages: int, number: int) -> list[tuple[int, ...]] | None:
    """All depths that do not rise, the last machine's 1; None where there are many."""
    found: list[tuple[int, ...]] = []
    for rest in itertools.combinations_with_replacement(range(number, 0, -1), num_stages - 1):
        found.append((*rest, 1))
        if len(found) > _MOST_TRIED:
            return None
    return found


def _allowed(stages: Sequence[Stage], depths: Sequence[int], number: int) -> tuple[int, ...]:
    """Cut depths to m and to what memory holds, so that no two machines wait for each other."""
    # A machine without blocks passes everything on at once.
    passes = [stage.forward_s + stage.backward_s == 0 for stage in stages]
    wanted = [number if free else depth for free, depth in zip(passes, depths, strict=True)]
    return _without_rise(
        stages, [min(depth, stage.most_warm_up) for depth, stage in zip(wanted, stages, strict=True)], number
    )


def _without_rise(stages: Sequence[Stage], depths: Sequence[int], number: int) -> tuple[int, ...]:
    """Cut depths so that a stage never waits for micro-batches that one before it holds back.

    A stage of r machines with depth w begins forward with micro-batch n after backward of n - r·w, and backward of n
    after forward of n + r·(w - 1). Both can be met along the chain if r·(w - 1) < r'·w' for every stage before it.
    """
    most, result = number, []
    for stage, depth in zip(stages, depths, strict=True):
        share = stage.share(number)
        allowed = max(1, min(depth, share, 1 + (most - 1) // stage.replicas))
        most = min(most, number if allowed >= share else stage.replicas * allowed)
        result.append(allowed)
    return tuple(result)
