"""Peaks of every cut and mode, tracing as few of them as exactness allows.

Between cuts that are whole repetitions of the same blocks apart, every moment of a step holds a number of bytes that is
affine in the number of repetitions, so the peak, their maximum, is convex in it. A convex function that meets a line in
three places is that line from the first to the last of them: then three traces, two of them of the shallowest cuts,
give the peaks of the whole run exactly. Otherwise the slope at the other end gives a second line; where the peak at
their crossing is the larger of both, it is that everywhere. Else the run is parted there and each piece treated alike.
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
    known: dict[int, int] = {}

    def at(position: int) -> int:
        if position not in known:
            known[position] = peak(run[position])
        return known[position]

    _fill(known, at, 0, len(run) - 1)
    return {cut: at(position) for position, cut in enumerate(run)}


def _fill(known: dict[int, int], at: PeakOfCut, begin: int, end: int) -> None:
    """Fill in the peaks between two positions of a run, asking for as few as possible."""
    if end - begin + 1 < _FEWEST_WORTH_COMPOSING:
        return
    early = at(begin + 1) - at(begin)
    is_line = at(end) - at(begin) == early * (end - begin)
    late = early if is_line else at(end) - at(end - 1)

    def on_lines(position: int) -> int:
        return max(at(begin) + early * (position - begin), at(end) - late * (end - position))

    middle = (begin + end) // 2
    if early < late:
        # The line through the first two meets that through the last two; convexity keeps the crossing inside.
        crossing = begin + (at(end) - late * (end - begin) - at(begin)) // (early - late)
        middle = min(max(crossing, begin + 1), end - 1)
    if is_line or (early < late and all(at(p) == on_lines(p) for p in (middle, middle + 1))):
        for position in range(begin + 1, end):
            known[position] = on_lines(position)
        return
    _fill(known, at, begin, middle)
    _fill(known, at, middle, end)
