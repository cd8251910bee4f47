"""One programme for all apps within a given period: which parts run where, whatever plans they belong to.

Every app sends one unit of flow from its first place between layers to its last, over parts, which are ranges of layers
on a device. What a part adds to its device does not depend on the parts before and after it, so that limits are sums
over parts, and there are some thousand of these where there are millions of plans. HiGHS refuses a period of this
programme far sooner than one over plans.

Where links have different rates, a hop is counted at the rate of each end's own link, which is no more than it takes:
what is refused is refused, and a choice is taken only after it was checked.
"""

from __future__ import annotations

from dataclasses import dataclass

import highspy
import numpy as np
import scipy.sparse as sp

from hybridsplit.scenarios.contracts.virtual_space import UNITS, BoolArray, FloatArray, IntArray
from hybridsplit.solver.virtual_space.columns import CNN, KERNEL, NUM_MEMORIES, RX, TX, Column, Part
from hybridsplit.solver.virtual_space.dual_feasible import counted_sizes
from hybridsplit.solver.virtual_space.periods import frames_in
from hybridsplit.solver.virtual_space.reassign import Reassignment
from hybridsplit.solver.virtual_space.slack import LeastLoad, least_loads, least_total, on_a_way

MOST_PARTS = 12_000
"""Parts of all apps, over all devices, up to which the programme is tried."""
_WHOLE, _ROUNDING = 1 + 1e-9, 1e-9
_NUM_ROWS = len(UNITS) + NUM_MEMORIES
LEAST_S = 0.02
"""Seconds below which nothing is tried."""
_SEARCHES = ("feasibility_jump", "rins", "rens", "root_reduced_cost")
"""What HiGHS seeks choices by beside its tree."""


@dataclass(frozen=True)
class Decided:
    """What the programme came to.

    Parameters
    ----------
    choice
        One plan of every app within the period; None where none was found.
    is_refused
        Whether there is none.
    is_exact
        Whether more time would decide: not where what it found is no choice, or where it has too many parts.
    """

    choice: tuple[Column, ...] | None
    is_refused: bool
    is_exact: bool


@dataclass(frozen=True)
class _Variables:
    """Parts that can be chosen: their app, way, device, range and what they add to the limits of their device."""

    app: IntArray
    way: IntArray
    device: IntArray
    start: IntArray
    end: IntArray
    adds: FloatArray
    room: FloatArray


def decided(
    of: Reassignment,
    period_s: float,
    time_limit_s: float,
    seed: int = 0,
    *,
    presolve: bool = True,
    by_layers: bool = False,
    near: tuple[tuple[Column, ...], BoolArray] | None = None,
) -> Decided:
    """Find a choice within a period, or refuse it.

    Parameters
    ----------
    of
        The space, with what its parts take; it keeps choices that are found.
    period_s
        The period.
    time_limit_s
        Seconds after which to stop.
    seed
        Seed of HiGHS.
    presolve
        Whether HiGHS shortens the programme first, and seeks choices beside its tree: what is hard to refuse is refused
        several times sooner then, and choices are found that are not otherwise; what is easy to refuse takes longer.
    by_layers
        Whether ways of apps are stated by the layers that their parts run, each once, instead of by a flow through
        places. The relaxation is the same; but HiGHS reads from layers which parts exclude each other, and not from a
        flow, so that it refuses sooner. Choices it finds less often then.
    near
        A choice, and [A, D] whether an app may take other ranges of layers on a device than there; anywhere when None.
    """
    scale = np.ones((len(of.space.apps), _NUM_ROWS))
    scale[:, : len(UNITS)] = frames_in(of.space, period_s)[:, None] / period_s
    parts = _variables(of, scale)
    if near is not None:
        parts = _near(parts, *near)
    if len(parts.app) > MOST_PARTS or time_limit_s < LEAST_S:
        return Decided(None, False, time_limit_s < LEAST_S)
    highs = _model(of, parts, scale, by_layers)
    highs.setOptionValue("time_limit", time_limit_s)
    highs.setOptionValue("random_seed", seed)
    if not presolve:
        highs.setOptionValue("presolve", "off")
        # Seeking choices takes most of the time in which a period is refused.
        highs.setOptionValue("mip_heuristic_effort", 0.0)
        for search in _SEARCHES:
            highs.setOptionValue(f"mip_heuristic_run_{search}", False)
    highs.run()
    if highs.getModelStatus() == highspy.HighsModelStatus.kInfeasible:
        return Decided(None, True, True)
    if highs.getInfo().primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
        return Decided(None, False, True)
    chosen = np.flatnonzero(np.array(highs.getSolution().col_value)[: len(parts.app)] > 0.5)
    choice = _choice(of, parts, chosen)
    if choice is None or of.note(list(choice)) > period_s * (1 + 1e-9):
        return Decided(None, False, False)
    return Decided(choice, False, True)


def _variables(of: Reassignment, scale: FloatArray) -> _Variables:
    """Return the parts that are within all limits by themselves, and in a plan of so few parts."""
    found = []
    for index, app in enumerate(of.parts):
        adds, of_app = app.adds.copy(), of.space.apps[index]
        # What the ends send is counted at parts that make it needed, not at those that make it needless.
        adds[of_app.source, app.starts == 0, TX] += app.sent[of_app.source, TX]
        adds[of_app.target, app.ends == of_app.num_layers, RX] += app.sent[of_app.target, RX]
        adds *= scale[index]
        allowed: BoolArray = app.is_possible & (adds <= _WHOLE).all(axis=-1) & (app.room <= _WHOLE)
        device, one = np.nonzero(allowed)
        is_used = on_a_way(app.starts[one], app.ends[one], of_app.num_layers, of.space.most_cuts + 1)
        device, one = device[is_used], one[is_used]
        columns = np.full(len(one), index), app.ways[one], device, app.starts[one], app.ends[one]
        found.append((*columns, adds[device, one], app.room[device, one]))
    return _Variables(*(np.concatenate(values) for values in zip(*found, strict=True)))


def _near(parts: _Variables, best: tuple[Column, ...], free: BoolArray) -> _Variables:
    """Return the parts that are in a choice already, or where it may change."""
    is_allowed = free[parts.app, parts.device]
    for column in best:
        for part in column.parts:
            here = (parts.app == column.app) & (parts.device == part.device) & (parts.way == part.reloads)
            is_allowed |= here & (parts.start == part.start) & (parts.end == part.end)
    return _Variables(*(values[is_allowed] for values in vars(parts).values()))


def _model(of: Reassignment, parts: _Variables, scale: FloatArray, by_layers: bool) -> highspy.Highs:
    """Return the programme: ways of apps, limits of devices, and room for loading; nothing is minimised."""
    apps, num_devices, num = of.space.apps, len(of.space.devices), len(parts.app)
    which = np.arange(num)
    rows, columns, values, ends = _layers(of, parts) if by_layers else _flows(of, parts)
    ways = len(ends)
    limits = ways + len(apps)
    part, limit, size = _sizes(of, parts, scale)
    # Every limit is stated once for each dual feasible function; those of memories but kernels only once.
    counted = counted_sizes(size)
    num_limits = num_devices * _NUM_ROWS
    rows.append(ways + parts.app)
    columns.append(which)
    values.append(np.ones(num))
    for number, counts in enumerate(counted):
        rows.append(limits + number * num_limits + limit)
        columns.append(part)
        values.append(counts)
    # What is loaded needs room beside what stays: as much as the app that needs most.
    rows.append(limits + np.arange(num_devices) * _NUM_ROWS + len(UNITS) + KERNEL)
    columns.append(num + np.arange(num_devices))
    values.append(np.ones(num_devices))
    loading = np.flatnonzero(parts.room)
    pairs, of_pair = np.unique(parts.app[loading] * num_devices + parts.device[loading], return_inverse=True)
    last = limits + len(counted) * num_limits
    rows += [last + of_pair, last + np.arange(len(pairs))]
    columns += [loading, num + pairs % num_devices]
    values += [parts.room[loading], -np.ones(len(pairs))]
    least, covered = _least_loads(of, parts), last + len(pairs)
    for row, one in enumerate(least):
        rows.append(np.full(len(one.parts), covered + row))
        columns.append(one.parts)
        values.append(one.counts)
    lower = np.full(covered + len(least), -np.inf)
    upper = np.zeros(covered + len(least))
    lower[covered:], upper[covered:] = [one.least - _ROUNDING for one in least], np.inf
    lower[:ways] = upper[:ways] = ends
    upper[ways:limits] = of.space.most_cuts + 1
    upper[limits:last] = _WHOLE
    shape = (len(lower), num + num_devices)
    matrix = sp.csc_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape)
    matrix.eliminate_zeros()
    return _highs(matrix, lower, upper, num)


_Rows = tuple[list[IntArray], list[IntArray], list[FloatArray], FloatArray]
"""Rows, columns and values of a matrix, and what its rows are to be."""


def _flows(of: Reassignment, parts: _Variables) -> _Rows:
    """Return ways of apps as one unit of flow from the first place to the last."""
    first = np.concatenate([[0], np.cumsum([app.num_layers + 1 for app in of.space.apps])])
    which = np.arange(len(parts.app))
    ends = np.zeros(int(first[-1]))
    ends[first[:-1]], ends[first[1:] - 1] = 1.0, -1.0
    ones = np.ones(len(which))
    return [first[parts.app] + parts.start, first[parts.app] + parts.end], [which, which], [ones, -ones], ends


def _layers(of: Reassignment, parts: _Variables) -> _Rows:
    """Return ways of apps as parts that run every layer once."""
    first = np.concatenate([[0], np.cumsum([app.num_layers for app in of.space.apps])])
    lengths = parts.end - parts.start
    runs = np.repeat(np.arange(len(parts.app)), lengths)
    # The layers of a part are counted from its last one downwards.
    before = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(runs))
    layer = (first[parts.app] + parts.end)[runs] - before
    return [layer], [runs], [np.ones(len(runs))], np.ones(int(first[-1]))


def _least_loads(of: Reassignment, parts: _Variables) -> list[LeastLoad]:
    """Return what devices take at least of accelerators and of kernel memory."""
    found = []
    kernels = np.array([one.kernel_bytes for one in of.space.devices], dtype=np.float64)
    for row, capacities in ((CNN, np.ones_like(kernels)), (len(UNITS) + KERNEL, kernels)):
        sizes, total = parts.adds[:, row] * capacities[parts.device], 0.0
        for index, app in enumerate(of.space.apps):
            here = np.flatnonzero(parts.app == index)
            ways = parts.start[here], parts.end[here], sizes[here]
            total += least_total(*ways, app.num_layers, of.space.most_cuts + 1)
        if np.isfinite(total):
            found += least_loads(parts.device, sizes, total, capacities * _WHOLE)
    return found


def _sizes(of: Reassignment, parts: _Variables, scale: FloatArray) -> tuple[IntArray, IntArray, FloatArray]:
    """Return what takes something of a limit: the part, the limit (device by device), and the share."""
    touched, kind = np.nonzero(parts.adds > 0)
    found = [(touched, parts.device[touched] * _NUM_ROWS + kind, parts.adds[touched, kind])]
    for index, app in enumerate(of.space.apps):
        sent = of.parts[index].sent * scale[index]
        for device, unit, ends in ((app.source, TX, parts.start == 0), (app.target, RX, parts.end == app.num_layers)):
            # What is taken where no part is belongs to the first or last part elsewhere.
            away = np.flatnonzero((parts.app == index) & ends & (parts.device != device))
            found.append((away, np.full(len(away), device * _NUM_ROWS + unit), np.full(len(away), sent[device, unit])))
    part, limit, size = (np.concatenate(values) for values in zip(*found, strict=True))
    return part, limit, size


def _highs(matrix: sp.csc_matrix, lower: FloatArray, upper: FloatArray, num_whole: int) -> highspy.Highs:
    num_rows, num = matrix.shape
    programme = highspy.HighsLp()
    programme.num_col_, programme.num_row_ = num, num_rows
    programme.col_cost_, programme.col_lower_, programme.col_upper_ = np.zeros(num), np.zeros(num), np.ones(num)
    programme.row_lower_, programme.row_upper_ = lower, upper
    programme.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    programme.a_matrix_.start_, programme.a_matrix_.index_ = matrix.indptr, matrix.indices
    programme.a_matrix_.value_ = matrix.data
    whole, rest = highspy.HighsVarType.kInteger, highspy.HighsVarType.kContinuous
    programme.integrality_ = [whole] * num_whole + [rest] * (num - num_whole)
    highs = highspy.Highs()
    highs.silent()
    highs.setOptionValue("threads", 1)
    highs.passModel(programme)
    return highs


def _choice(of: Reassignment, parts: _Variables, chosen: IntArray) -> tuple[Column, ...] | None:
    """Return the plans that parts make; None where neighbours on one device are no part together."""
    found = []
    for index in range(len(of.space.apps)):
        plan: list[Part] = []
        for one in sorted(chosen[parts.app[chosen] == index], key=lambda one: int(parts.start[one])):
            part = Part(int(parts.device[one]), int(parts.start[one]), int(parts.end[one]), bool(parts.way[one]))
            if plan and plan[-1].device == part.device:
                if plan[-1].reloads != part.reloads:
                    return None
                part = Part(part.device, plan.pop().start, part.end, part.reloads)
            plan.append(part)
        if not all(of.is_possible(index, part) for part in plan):
            return None
        found.append(of.plan(index, tuple(plan))[0])
    return tuple(found)
