"""The order in which machines run micro-batches forward and backward, and how long a step takes in it.

A machine with warm-up depth w runs w micro-batches forward, then backward and forward in turn, and the rest backward:
it holds w micro-batches at most. Depths may not rise along the chain, or two machines would wait for each other. 1F1B
(PipeDream, arXiv 1806.03377) is w = K - k + 1 at the k-th of K machines; a deeper warm-up hides the links between them.
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
        Once, after the last backward.
    links
        Links to the next stage.
    most_warm_up
        Micro-batches that its memory holds.
    """

    forward_s: float
    backward_s: float
    update_s: float
    links: tuple[Crossing, ...]
    most_warm_up: int


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
    if any(a < b for a, b in itertools.pairwise(warm_ups)):
        raise ValueError(f"warm-up depths {list(warm_ups)} rise along the chain; needs them to stay or fall")
    last, number = len(stages) - 1, num_micro_batches
    orders = [list(directions(number, warm_up)) for warm_up in warm_ups]
    position, free = [0] * len(stages), [0.0] * len(stages)
    up_ready: list[list[float]] = [[0.0] * number if k == 0 else [] for k in range(len(stages))]
    down_ready: list[list[float]] = [[] for _ in stages]
    up_free = [[0.0] * len(stage.links) for stage in stages]
    down_free = [[0.0] * len(stage.links) for stage in stages]
    done_up, done_down = [0] * len(stages), [0] * len(stages)
    moving = True
    while moving:
        moving = False
        for k, stage in enumerate(stages):
            while position[k] < len(orders[k]):
                forward = orders[k][position[k]]
                ready, count = (up_ready[k], done_up[k]) if forward else (down_ready[k], done_down[k])
                if count >= len(ready):
                    break
                free[k] = max(free[k], ready[count]) + (stage.forward_s if forward else stage.backward_s)
                position[k] += 1
                moving = True
                if forward:
                    done_up[k] += 1
                    if k == last:
                        down_ready[k].append(free[k])
                    else:
                        up_ready[k + 1].append(_over(free[k], stage.links, up_free[k], upwards=True))
                else:
                    done_down[k] += 1
                    if k > 0:
                        down_ready[k - 1].append(
                            _over(free[k], stages[k - 1].links[::-1], down_free[k - 1], upwards=False)
                        )
    return max(at + stage.update_s for at, stage in zip(free, stages, strict=True))


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
    return _allowed(stages, [len(stages) - k for k in range(len(stages))], num_micro_batches)


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
    """Cut depths to m and to what memory holds, so that they do not rise along the chain."""
    most, result = number, []
    for stage, depth in zip(stages, depths, strict=True):
        # A machine without blocks passes everything on at once.
        passes = stage.forward_s + stage.backward_s == 0
        most = max(1, min(most, number if passes else depth, stage.most_warm_up))
        result.append(most)
    return tuple(result)
