"""The linear programme at one deadline: rows are intervals of resources, columns placements and when they end."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_matrix

from hybridsplit.scenarios.contracts.relay_costs import FloatArray, IntArray
from hybridsplit.scenarios.errors import SolverFailure
from hybridsplit.solver.relays.moments import crowded_moments
from hybridsplit.solver.relays.windows import Windows

CERTAIN = 1e-6
_ADDED = 24


@dataclass(frozen=True)
class Chosen:
    """A placement of a kind of groups in a solution.

    Parameters
    ----------
    kind, listed, place
        Which kind, which of its routes, and which of the placements listed of it.
    from_s, until_s
        When its upload begins.
    number
        How many clients take it, of all groups of the kind.
    """

    kind: int
    listed: int
    place: int
    from_s: float
    until_s: float
    number: float


@dataclass(frozen=True)
class Variants:
    """Placements, once for each interval in which their upload may begin.

    Parameters
    ----------
    listed, place, kind
        [N] of which listing and where in it, and of which kind of groups.
    from_s, until_s
        [N] when the upload begins.
    windows
        By resource: which of the placements, their work, and of how many alike groups one resource is meant.
    memory
        [N, M] shares of the memory of nodes.
    """

    listed: IntArray
    place: IntArray
    kind: IntArray
    from_s: FloatArray
    until_s: FloatArray
    windows: dict[str, list[tuple[slice, Windows, int]]]
    memory: FloatArray


class Rows:
    """The programme.

    Parameters
    ----------
    variants
        All placements.
    total
        Clients of every kind.
    known
        Listings and places of placements to begin with.
    round_s
        The deadline.
    room
        Share of any interval that machines may be asked for.
    """

    def __init__(
        self, variants: Variants, total: FloatArray, known: Collection[tuple[int, int]], round_s: float, room: float
    ) -> None:
        self._variants, self._round_s, self._room, self._total = variants, round_s, room, total
        self._loads: list[FloatArray] = []
        self._duals = np.zeros(0)
        self.binding: set[int] = set()
        pairs = zip(variants.listed.tolist(), variants.place.tolist(), strict=True)
        is_active = np.array([pair in known for pair in pairs], dtype=bool)
        work = np.zeros(len(variants.kind))
        for name, parts in variants.windows.items():
            for at, window, _ in parts:
                work[at] += window.seconds.sum(axis=1) * (">" not in name)
        for kind in range(len(total)):
            of_kind = np.flatnonzero(variants.kind == kind)
            is_active[of_kind[np.argsort(work[of_kind], kind="stable")[:_ADDED]]] = True
        self.active = np.flatnonzero(is_active)

    def add(self, name: str, start_s: float, end_s: float) -> None:
        """Add what a resource must do between two moments.

        Parameters
        ----------
        name, start_s, end_s
            The resource and the moments.
        """
        load = np.zeros(len(self._variants.kind))
        for at, window, share in self._variants.windows[name]:
            load[at] = window.within_s(start_s, end_s, self._round_s) / (share * (end_s - start_s))
        self._loads.append(load / self._limit(name))

    def _limit(self, name: str) -> float:
        return 1.0 if ">" in name else self._room

    def solve(self) -> tuple[FloatArray, float, float]:
        """Return [N] weights of the active placements, the largest share that is asked, and what it is at least.

        Raises
        ------
        SolverFailure
            If HiGHS stops without a solution.
        """
        loads, memory, kinds = np.array(self._loads), self._variants.memory, self._variants.kind
        size, count, active = len(self.active), len(loads), self.active
        table = np.vstack([loads[:, active], memory[active].T])
        share = np.concatenate([-np.ones(count), np.zeros(memory.shape[1])])
        cost = np.zeros(size + 1)
        cost[-1] = 1.0
        members = csr_matrix((np.ones(size), (kinds[active], np.arange(size))), (len(self._total), size + 1))
        done = linprog(
            cost, A_ub=csr_matrix(np.hstack([table, share[:, None]])),
            b_ub=np.concatenate([np.zeros(count), np.ones(memory.shape[1])]), A_eq=members, b_eq=self._total,
            method="highs",
        )  # fmt: skip
        if done.status == 2:
            # Memory is too small for the active placements: all of them decide.
            if size == len(kinds):
                return np.zeros(size), np.inf, np.inf
            self.active = np.arange(len(kinds))
            return self.solve()
        if done.x is None:
            raise SolverFailure(f"the linear programme over placements by a deadline stopped: {done.message}")
        duals = np.maximum(-done.ineqlin.marginals, 0.0)
        total = float(duals[:count].sum())
        self._duals = duals / total if total > 0 else duals
        self.binding |= set(np.flatnonzero(duals[:count] > 0).tolist())
        return np.asarray(done.x[:size]), float(done.x[-1]), self._proven() if total > 0 else 0.0

    def _prices(self) -> FloatArray:
        return np.asarray(self._duals @ np.vstack([np.array(self._loads), self._variants.memory.T]))

    def _proven(self) -> float:
        """What the largest share is at least, at the prices of the duals: the best placements of every kind."""
        prices, count = self._prices(), len(self._loads)
        least = [float(prices[self._variants.kind == kind].min()) for kind in range(len(self._total))]
        return float(np.dot(self._total, least)) - float(self._duals[count:].sum())

    def priced(self) -> bool:
        """Make the cheapest placements active; return whether any is new."""
        prices, before = self._prices(), len(self.active)
        new = [self.active]
        for kind in range(len(self._total)):
            of_kind = np.flatnonzero(self._variants.kind == kind)
            new.append(of_kind[np.argsort(prices[of_kind], kind="stable")[:_ADDED]])
        self.active = np.unique(np.concatenate(new))
        return len(self.active) > before

    def crowded(self, weights: FloatArray) -> list[tuple[str, float, float]]:
        """Return moments between which a solution asks for more than there is.

        Parameters
        ----------
        weights
            Of the active placements.
        """
        full = np.zeros(len(self._variants.kind))
        full[self.active] = weights
        found = []
        for name, parts in self._variants.windows.items():
            shares = [(window, full[at] / share) for at, window, share in parts]
            limit = self._limit(name)
            found += [(name, *moments) for moments in crowded_moments(shares, self._round_s, limit)]
        return found

    def chosen(self, weights: FloatArray) -> tuple[Chosen, ...]:
        """Return what a solution chooses.

        Parameters
        ----------
        weights
            Of the active placements.
        """
        at = self._variants
        return tuple(
            Chosen(
                int(at.kind[j]),
                int(at.listed[j]),
                int(at.place[j]),
                float(at.from_s[j]),
                float(at.until_s[j]),
                float(x),
            )
            for j, x in zip(self.active, weights, strict=False)
            if x > CERTAIN
        )
