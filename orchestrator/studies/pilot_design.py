"""Which plans to try in pilots: those that together say most about the constants of the model of rounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hybridsplit.profiler.target_gain import Terms
from hybridsplit.scenarios.contracts.options import OPTION_KEY, OptionTable
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.errors import InfeasibleError
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.streams import stream_seed
from hybridsplit.solver.planner import compute_bounds, make_plan
from hybridsplit.solver.problem.planning_problem import PlanningProblem
from hybridsplit.solver.search.joint import Effort
from hybridsplit.solver.strategies import Strategy
from hybridsplit.solver.strategies.base import Proposal

FloatArray = NDArray[np.float64]

_CANDIDATES = 120
_PART_OF_CHECKS = 3
"""One pilot in so many is a check."""
_DRAWS = 40
"""Draws in which a candidate must keep the limits."""
_RIDGE = 1e-3
"""Stands for what is known before any pilot, so that the first ones can be compared too."""


@dataclass(frozen=True)
class Pilot:
    """One plan to be tried.

    Parameters
    ----------
    plan
        The plan.
    terms
        [7] sums of its terms, in the order of :data:`hybridsplit.scenarios.sections.pilot.CONSTANTS`.
    is_check
        Whether the constants are first fitted without it, to see how far they are from its rounds.
    """

    plan: Plan
    terms: tuple[float, ...]
    is_check: bool = False


class Drawn(Strategy):
    """Options drawn at random among some modes and batch sizes, which are drawn first, at equal shares.

    Parameters
    ----------
    seed
        Of the draws.
    """

    name = "pilot"
    summary = "options drawn at random among some modes and batch sizes, equal shares"

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def propose(self, problem: PlanningProblem, effort: Effort) -> Proposal:
        """Draw until the limits are kept.

        Raises
        ------
        InfeasibleError
            If no draw keeps them.
        """
        rng = np.random.default_rng(self._seed)
        mode, size = problem.table["mode"].to_numpy(), problem.table["batch_size"].to_numpy()
        for _ in range(_DRAWS):
            preferred = _some(mode, rng) & _some(size, rng) & ~problem.is_dropped
            by_cut = rng.uniform(size=(problem.num_clients, int(problem.cuts.max()) + 1))
            score = by_cut[problem.client_index, problem.cuts] + 1e-3 * rng.uniform(size=problem.num_rows)
            score = score + 10.0 * ~preferred + 1e3 * problem.is_dropped
            order = np.lexsort((score, problem.client_index))
            rows = order[problem.starts]
            if problem.keeps_limits(rows) and problem.total_gain(rows) > 0:
                return Proposal(rows, equal_shares=True, reason="drawn for a pilot")
        raise InfeasibleError("pilot: no drawn choice of options keeps the limits; relax them")


def _some(values: NDArray[np.generic], rng: np.random.Generator) -> NDArray[np.bool_]:
    """[K] True for the rows of some values, of which at least one is drawn."""
    found = np.unique(values)
    kept = found[rng.uniform(size=len(found)) < rng.uniform()]
    return np.asarray(np.isin(values, kept if len(kept) else rng.choice(found, 1)))


def choose_pilots(scenario: Scenario, options: OptionTable, terms: Terms, number: int) -> list[Pilot]:
    """Choose plans for pilots: the scenario's best one first, then those that add most to what is known, then checks.

    A third are checks, as they were drawn: plans that say most are extreme, and others follow from them badly, which
    says little about the plans that one would choose.

    Parameters
    ----------
    scenario, options
        The scenario, for another objective than the target, and its option table.
    terms
        Terms of the rows of the table.
    number
        Pilots, at least 1; fewer come back where fewer plans differ.

    Returns
    -------
    list of Pilot
        Those that teach in the order in which they are worth running (greedy D-optimal design of the terms), then
        the checks.

    Raises
    ------
    InfeasibleError
        If the scenario has no plan.
    """
    bounds = compute_bounds(scenario, options)
    found = [_pilot(make_plan(scenario, options, bounds=bounds), options, terms)]
    for draw in range(_CANDIDATES):
        seed = stream_seed(scenario.seed, "pilot", draw)
        try:
            found.append(_pilot(make_plan(scenario, options, Drawn(seed), bounds=bounds), options, terms))
        except InfeasibleError:
            continue
    distinct = list({one.terms: one for one in reversed(found)}.values())[::-1]
    terms_of_each = np.array([one.terms for one in distinct])
    learned = _most_informative(terms_of_each, max(number - number // _PART_OF_CHECKS, 1))
    others = [place for place in range(1, len(distinct)) if place not in learned]
    checks = others[: number - len(learned)]
    return [*(distinct[place] for place in learned), *(replace(distinct[place], is_check=True) for place in checks)]


def _pilot(plan: Plan, options: OptionTable, terms: Terms) -> Pilot:
    return Pilot(plan, terms_of_plan(plan, options, terms))


def terms_of_plan(plan: Plan, options: OptionTable, terms: Terms) -> tuple[float, ...]:
    """Sum the terms of a plan.

    Parameters
    ----------
    plan
        The plan.
    options
        The option table that it takes its rows from.
    terms
        Terms of the rows of that table.

    Returns
    -------
    tuple of float
        As of :func:`plan_terms`.
    """
    chosen = [(client.id, *client.key) for client in plan.clients]
    wanted = set(chosen)
    keys = zip(*(options.table[column].tolist() for column in OPTION_KEY), strict=True)
    places = {key: row for row, key in enumerate(keys) if key in wanted}
    return plan_terms(terms, [places[key] for key in chosen])


def plan_terms(terms: Terms, rows: Sequence[int]) -> tuple[float, ...]:
    """Sum the terms of the rows that a plan takes.

    Parameters
    ----------
    terms
        Terms of all rows of a table.
    rows
        [N] the plan's rows.

    Returns
    -------
    tuple of float
        [7] in the order of :data:`hybridsplit.scenarios.sections.pilot.CONSTANTS`.
    """
    taken = np.asarray(rows)
    depth = int(terms.depth[taken].min())
    present = float(terms.weight[taken].sum())
    return (
        float(terms.batch_noise[taken].sum()),
        float(terms.untrained_clients[taken].sum()),
        float(terms.block_share[:depth].sum()) * present,
        float(terms.estimate_noise[taken].sum()) if depth else 0.0,
        float(terms.drift[taken].sum()),
        float(terms.untrained_skew[taken].sum()),
        float(terms.block_share[:depth].sum()) * float(terms.batch_noise[taken].sum()),
    )


def _most_informative(terms: FloatArray, number: int) -> list[int]:
    """Places of the plans to try: the first, then whichever makes the determinant of the information largest."""
    scale = np.maximum(terms.max(axis=0), np.finfo(float).tiny)
    rows = np.column_stack([np.ones(len(terms)), terms / scale])
    chosen, information = [0], _RIDGE * np.eye(rows.shape[1]) + np.outer(rows[0], rows[0])
    while len(chosen) < min(number, len(terms)):
        # The determinant grows by the factor 1 + x'M⁻¹x.
        growth = np.einsum("ij,jk,ik->i", rows, np.linalg.inv(information), rows)
        growth[chosen] = -np.inf
        best = int(np.argmax(growth))
        chosen.append(best)
        information += np.outer(rows[best], rows[best])
    return chosen
