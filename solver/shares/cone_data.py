"""The conic program of fixed links as Clarabel takes it, written out.

:mod:`hybridsplit.solver.shares.conic` states the program with cvxpy. For fixed links and one meeting a round, the data
that cvxpy makes of the statement follow a plain pattern, and are written down here number for number, in cvxpy's order
of variables and rows, so that the same solver gives the same bits without half a second of importing and compiling. A
test holds them to what cvxpy makes.

Variables are the latency, every user's share of each resource, and a bound ``u`` on the inverse of each share. Rows are
``−share ≤ 0``; ``Σ number·share ≤ N`` for each resource; ``compute + Σ work·u ≤ latency`` for each client; and the
second-order cone ``‖(share − u, 2)‖ ≤ share + u``, which says ``share·u ≥ 1``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hybridsplit.solver.problem.arrays import FloatArray, IntArray

_CONE = 3
"""Rows of one second-order cone."""


@dataclass(frozen=True)
class SparseColumns:
    """A sparse matrix by columns; the names of its parts are those that Clarabel reads from SciPy's.

    Parameters
    ----------
    data, indices, indptr
        Values, their rows (rising within a column), and where each column begins.
    shape
        Rows and columns.
    """

    data: FloatArray
    indices: IntArray
    indptr: IntArray
    shape: tuple[int, int]
    has_canonical_format: bool = True

    @property
    def nnz(self) -> int:
        """Number of values."""
        return len(self.data)


@dataclass(frozen=True)
class FixedLinkProgram:
    """Minimise ``cost·x`` subject to ``right − matrix·x`` in non-negative numbers and second-order cones.

    Parameters
    ----------
    matrix, right, cost
        The data.
    num_inequalities, num_cones
        Rows that are inequalities, and second-order cones after them.
    num_shares
        Share variables, which follow the latency.
    num_resources
        Resources that somebody uses; their capacities follow the signs of the shares.
    """

    matrix: SparseColumns
    right: FloatArray
    cost: FloatArray
    num_inequalities: int
    num_cones: int
    num_shares: int
    num_resources: int

    def solve(self) -> tuple[str, FloatArray, FloatArray]:
        """Return Clarabel's status, the shares in order [S], and the price of each resource [R].

        Its own equilibration stays off, as in the statement: everything is scaled already.
        """
        import clarabel

        settings = clarabel.DefaultSettings()
        settings.verbose = False
        settings.equilibrate_enable = False
        cones: list[Any] = [clarabel.NonnegativeConeT(self.num_inequalities)]
        cones += [clarabel.SecondOrderConeT(_CONE)] * self.num_cones
        size = len(self.cost)
        nothing = SparseColumns(np.zeros(0), np.zeros(0, np.int32), np.zeros(size + 1, np.int32), (size, size))
        result = clarabel.DefaultSolver(nothing, self.cost, self.matrix, self.right, cones, settings).solve()
        shares, duals = np.array(result.x)[1 : 1 + self.num_shares], np.array(result.z)[self.num_shares :]
        return str(result.status), shares, duals[: self.num_resources]


def fixed_link_program(
    compute: FloatArray, users: Sequence[IntArray], works: Sequence[FloatArray], number: FloatArray
) -> FixedLinkProgram:
    """Write the program out.

    Parameters
    ----------
    compute
        [K] device time of every kind of client, scaled like the latency.
    users
        For every resource that somebody uses, the kinds that do.
    works
        For the same resources, the scaled work of each user: its duration is that over its scaled share.
    number
        [K] clients of every kind; their sum is what scaled shares of a resource may sum to.
    """
    kinds, sizes = len(compute), [len(one) for one in users]
    num_shares = sum(sizes)
    user, work = np.concatenate(users), np.concatenate(works)
    resource = np.repeat(np.arange(len(users)), sizes)
    share = np.arange(num_shares)
    first_client = num_shares + len(users)
    first_cone = first_client + kinds
    cone = first_cone + _CONE * share
    one = np.ones(num_shares)
    # Column by column: the latency, then every share, then every bound on an inverse.
    of_share = (
        np.stack([share, num_shares + resource, cone, cone + 1], axis=1),
        np.stack([-one, number[user], -one, -one], axis=1),
    )
    of_inverse = np.stack([first_client + user, cone, cone + 1], axis=1), np.stack([work, -one, one], axis=1)
    rows = np.concatenate([np.arange(first_client, first_cone), of_share[0].ravel(), of_inverse[0].ravel()])
    values = np.concatenate([-np.ones(kinds), of_share[1].ravel(), of_inverse[1].ravel()])
    lengths = np.concatenate([[kinds], np.full(num_shares, 4), np.full(num_shares, 3)])
    right = np.zeros(first_cone + _CONE * num_shares)
    right[num_shares:first_client] = float(number.sum())
    right[first_client:first_cone] = -compute
    right[cone + 2] = 2.0
    cost = np.zeros(1 + 2 * num_shares)
    cost[0] = 1.0
    return FixedLinkProgram(
        matrix=SparseColumns(
            values,
            rows.astype(np.int32),
            np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32),
            (len(right), len(cost)),
        ),
        right=right,
        cost=cost,
        num_inequalities=first_cone,
        num_cones=num_shares,
        num_shares=num_shares,
        num_resources=len(users),
    )
