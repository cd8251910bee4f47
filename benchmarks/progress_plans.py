"""Plans whose progress is put to the test: strategies and random choices over modes, cuts, batches and server models.

All are plans of a task with some keys changed, made at seed 0 and trained at several seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.progress_tasks import FROZEN_TOO, SHARED, Task
from hybridsplit.scenarios.streams import stream_seed
from hybridsplit.solver.problem.planning_problem import PlanningProblem
from hybridsplit.solver.search.joint import Effort
from hybridsplit.solver.strategies import Strategy
from hybridsplit.solver.strategies.base import Proposal
from hybridsplit.solver.strategies.choice import choose_by_score, modes_mask, require_everybody


class Drawn(Strategy):
    """Options drawn at random among those of some modes, at the best shares.

    Parameters
    ----------
    draw
        Number of the draw.
    modes
        Modes to draw from; all when empty.
    """

    name = "drawn"
    summary = "an option drawn at random for every client, at the best shares"

    def __init__(self, draw: int, modes: Sequence[str] = ()) -> None:
        self._draw, self._modes = draw, frozenset(modes)

    def propose(self, problem: PlanningProblem, effort: Effort) -> Proposal:
        """Draw cuts first and options of a cut then, so that rare cuts are not rare in plans.

        Raises
        ------
        InfeasibleError
            If a client has no option of these modes, or no choice keeps the limits.
        """
        mask = modes_mask(problem, self._modes) if self._modes else ~problem.is_dropped
        require_everybody(problem, mask, self.name, f"in {', '.join(sorted(self._modes))}")
        rng = np.random.default_rng(stream_seed(0, "benchmark", "drawn", self._draw))
        by_cut = rng.uniform(size=(problem.num_clients, int(problem.cuts.max()) + 1))
        score = by_cut[problem.client_index, problem.cuts] + 1e-3 * rng.uniform(size=problem.num_rows)
        return Proposal(choose_by_score(problem, mask, score, self.name), reason="drawn at random")


@dataclass(frozen=True)
class Case:
    """One plan to be trained.

    Parameters
    ----------
    name
        Short, unique; the name of its folder.
    strategy
        How the plan is made.
    overrides
        Keys of the task's scenario that are changed.
    """

    name: str
    strategy: str | Strategy
    overrides: tuple[str, ...] = ()


def cases_of(task: Task) -> tuple[Case, ...]:
    """Return 24 plans, or fewer where the task leaves some out.

    They are strategies and draws, with frozen and zeroth-order clients, several batch sizes, server models, partitions.
    """
    small, batches, skewed = task.small, task.batches, task.skewed
    cases = (
        Case("optimal", "optimal"),
        Case("greedy", "greedy"),
        Case("splitfed", "splitfed"),
        Case("ho-sfl", "ho-sfl"),
        Case("random", "random"),
        Case("drawn-1", Drawn(1)),
        Case("frozen", Drawn(2, ["frozen"]), (FROZEN_TOO,)),
        Case("drawn-3", Drawn(3), (FROZEN_TOO,)),
        Case("drawn-4", Drawn(4, ["zo-projection", "frozen"]), (FROZEN_TOO,)),
        Case("batches-optimal", "optimal", (batches,)),
        Case("batches-drawn-5", Drawn(5), (batches,)),
        Case("small-splitfed", "splitfed", (small,)),
        Case("small-drawn-6", Drawn(6), (small, FROZEN_TOO)),
        Case("shared-optimal", "optimal", (SHARED,)),
        Case("shared-drawn-7", Drawn(7), (SHARED, FROZEN_TOO)),
        Case("shared-ho-sfl", "ho-sfl", (SHARED,)),
        Case("skewed-optimal", "optimal", (skewed,)),
        Case("skewed-splitfed", "splitfed", (skewed,)),
        Case("skewed-ho-sfl", "ho-sfl", (skewed,)),
        Case("skewed-drawn-8", Drawn(8), (skewed, FROZEN_TOO)),
        Case("skewed-frozen", Drawn(9, ["frozen"]), (skewed, FROZEN_TOO)),
        Case("skewed-shared-optimal", "optimal", (skewed, SHARED)),
        Case("skewed-shared-drawn-10", Drawn(10), (skewed, SHARED, FROZEN_TOO)),
        Case("skewed-small-drawn-11", Drawn(11), (skewed, small)),
    )
    return tuple(case for case in cases if case.name not in task.left_out)
