"""The data written out for fixed links are those that cvxpy makes of the statement, to the last bit."""

from __future__ import annotations

from typing import Any

import cvxpy as cp
import numpy as np
import pytest

from hybridsplit.solver.problem.costs import Work
from hybridsplit.solver.problem.links import FixedUplink
from hybridsplit.solver.shares import cone_data, conic


def some_work(rng: np.random.Generator, size: int, idle: float) -> Work:
    def seconds() -> np.ndarray:
        return rng.uniform(0, 2, size) * (rng.random(size) >= idle)

    return Work(rng.uniform(0.1, 2, size), FixedUplink(seconds()), seconds(), seconds())


@pytest.mark.parametrize("case", range(24))
def test_written_out_and_stated_are_the_same_program(case: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(case)
    size = int(rng.integers(1, 30))
    work = some_work(rng, size, idle=0.2 * (case % 3))
    count = rng.integers(1, 9, size).astype(float) if case % 2 else None
    stated: list[dict[str, Any]] = []
    written: list[cone_data.FixedLinkProgram] = []
    solve = cp.Problem.solve

    def keep_stated(problem: cp.Problem, **options: Any) -> float:
        stated.append(problem.get_problem_data(cp.CLARABEL)[0])
        return solve(problem, **options)

    def keep_written(*arguments: Any) -> cone_data.FixedLinkProgram:
        written.append(cone_data.fixed_link_program(*arguments))
        return written[-1]

    monkeypatch.setattr(cp.Problem, "solve", keep_stated)
    monkeypatch.setattr(conic, "fixed_link_program", keep_written)
    expected, found = conic.stated_shares(work, None, count), conic.conic_shares(work, None, count)
    (ours,), (theirs,) = written, stated
    for part in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(ours.matrix, part), getattr(theirs["A"], part))
    np.testing.assert_array_equal(ours.right, theirs["b"])
    np.testing.assert_array_equal(ours.cost, theirs["c"])
    dims = theirs["dims"]
    assert (dims.zero, dims.nonneg, dims.soc) == (0, ours.num_inequalities, [3] * ours.num_cones)
    assert (dims.exp, dims.psd, dims.p3d) == (0, [], [])
    np.testing.assert_array_equal(found.shares, expected.shares)
    np.testing.assert_array_equal(found.prices_s, expected.prices_s)
