"""Client peaks of every cut and mode, tracing as few of them as exactness allows.

Between the cuts of a run of alike blocks every moment of a step holds a number of bytes that is affine in the number of
blocks below the cut, so the peak, their maximum, is convex in it. A convex function whose first and last steps are
equal is affine in between: then two traces at either end give the peaks of the whole run exactly. Otherwise the run is
halved and each half is treated alike.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

PeakOfCut = Callable[[int], int]


def homogeneous_runs(cuts: Sequence[int], signatures: Sequence[Hashable]) -> list[list[int]]:
    """Group cuts into runs whose blocks below the cut are alike.

    Parameters
    ----------
    cuts
        Cuts in rising order.
    signatures
        Signature of the block right below each cut.
    """
    runs: list[list[int]] = []
    for position, cut in enumerate(cuts):
        follows = position > 0 and cut == cuts[position - 1] + 1 and signatures[position] == signatures[position - 1]
        if follows:
            runs[-1].append(cut)
        else:
            runs.append([cut])
    return runs


def peaks_of_run(run: Sequence[int], peak: PeakOfCut) -> dict[int, int]:
    """Return the peak of every cut of a run of consecutive, alike cuts."""
    if len(run) <= 4:
        return {cut: peak(cut) for cut in run}
    first, second, last_but_one, last = run[0], run[1], run[-2], run[-1]
    ends = {cut: peak(cut) for cut in (first, second, last_but_one, last)}
    slope = ends[second] - ends[first]
    if ends[last] - ends[last_but_one] == slope and ends[last] - ends[first] == slope * (last - first):
        return {cut: ends[first] + slope * (cut - first) for cut in run}
    middle = len(run) // 2
    known = dict(ends)

    def remembered(cut: int) -> int:
        if cut not in known:
            known[cut] = peak(cut)
        return known[cut]

    return peaks_of_run(run[:middle], remembered) | peaks_of_run(run[middle:], remembered)
