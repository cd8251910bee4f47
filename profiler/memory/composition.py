"""Peaks of every cut and mode, tracing as few of them as exactness allows.

Between cuts that are whole repetitions of the same blocks apart, every moment of a step holds a number of bytes that is
affine in the number of repetitions, so the peak, their maximum, is convex in it. A convex function whose first and last
steps are equal is affine in between: then two traces at either end give the peaks of the whole run exactly. Otherwise
the run is halved and each half is treated alike.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

PeakOfCut = Callable[[int], int]
_LONGEST_PATTERN = 4
_FEWEST_WORTH_COMPOSING = 5


def homogeneous_runs(cuts: Sequence[int], signatures: Sequence[Hashable]) -> list[list[int]]:
    """Group cuts into runs that are whole repetitions of the same blocks apart.

    Parameters
    ----------
    cuts
        Cuts in rising order.
    signatures
        Signature of the block right below each cut.

    Returns
    -------
    list of list of int
        Every cut once. A model of alike layers gives one long run; one whose layers are pairs of blocks, such as
        attention and feed-forward, gives two.
    """
    runs: list[list[int]] = []
    start = 0
    while start < len(cuts):
        length, period = max(
            ((_repeating(cuts, signatures, start, period), -period) for period in range(1, _LONGEST_PATTERN + 1)),
            key=lambda found: (found[0] >= _FEWEST_WORTH_COMPOSING * -found[1], found),
        )
        period = -period if length >= _FEWEST_WORTH_COMPOSING * -period else 1
        length = length if period > 1 else _repeating(cuts, signatures, start, 1)
        stop = start + length
        runs += [list(cuts[start + offset : stop : period]) for offset in range(min(period, length))]
        start = stop
    return runs


def _repeating(cuts: Sequence[int], signatures: Sequence[Hashable], start: int, period: int) -> int:
    """How many cuts from ``start`` on are consecutive and repeat a pattern of ``period`` blocks."""
    stop = start + 1
    while stop < len(cuts) and cuts[stop] == cuts[stop - 1] + 1:
        if stop - period >= start and signatures[stop] != signatures[stop - period]:
            break
        stop += 1
    length = stop - start
    # A pattern that never repeats is none: each of its cuts stands alone.
    return length if length > period else 1


def peaks_of_run(run: Sequence[int], peak: PeakOfCut) -> dict[int, int]:
    """Return the peak of every cut of a run of cuts that are equally far apart."""
    if len(run) < _FEWEST_WORTH_COMPOSING:
        return {cut: peak(cut) for cut in run}
    first, second, last_but_one, last = run[0], run[1], run[-2], run[-1]
    ends = {cut: peak(cut) for cut in (first, second, last_but_one, last)}
    slope = ends[second] - ends[first]
    if ends[last] - ends[last_but_one] == slope and ends[last] - ends[first] == slope * (len(run) - 1):
        return {cut: ends[first] + slope * position for position, cut in enumerate(run)}
    middle = len(run) // 2
    known = dict(ends)

    def remembered(cut: int) -> int:
        if cut not in known:
            known[cut] = peak(cut)
        return known[cut]

    return peaks_of_run(run[:middle], remembered) | peaks_of_run(run[middle:], remembered)
