"""Where a search in parts stands: open and closed parts, the best plan, and the file that keeps them."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from hybridsplit.scenarios.contracts.files import write_text_whole
from hybridsplit.scenarios.errors import ContractError
from hybridsplit.solver.problem.arrays import IntArray
from hybridsplit.solver.problem.planning_problem import PlanningProblem

UNIT_TOLERANCE = 4e-7
"""Relative difference up to which objectives count as equal: twice this is what a plan called optimal may keep."""


class WorkUnit(BaseModel):
    """A part of the search space.

    Clients are decided in the scenario's order. Options count within their client, in the order of the problem's rows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    prefix: tuple[int, ...] = ()
    """Options of the first clients."""
    domain: tuple[int, ...] | None = None
    """Options that the next client may take; all when None."""
    lower_s: float = 0.0
    """Lower bound on the objective of its plans, as far as it was proven."""


class SearchState(BaseModel):
    """Everything that is needed to go on: open units, closed units, and the best plan."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    schema_version: Literal[2] = 2
    problem_hash: str
    """Of the scenario and its option table (:func:`digest_of`)."""
    open: tuple[WorkUnit, ...]
    closed: tuple[WorkUnit, ...] = ()
    best_rows: tuple[int, ...] | None = None
    best_s: float | None = None

    @property
    def lower_s(self) -> float:
        """Lower bound on the objective of every plan."""
        best = math.inf if self.best_s is None else self.best_s
        return min([best, *(unit.lower_s for unit in self.open)]) * (1 - 2 * UNIT_TOLERANCE)

    @property
    def gap(self) -> float:
        """Between the best plan and the bound, relative to the bound; infinite where either is not known."""
        return self.best_s / self.lower_s - 1.0 if self.best_s is not None and self.lower_s > 0 else math.inf

    def knowing(self, rows: IntArray, objective_s: float) -> SearchState:
        """Return the state with a plan to start from, unless it knows a better one.

        Parameters
        ----------
        rows, objective_s
            [N] rows of the problem, and the plan's objective at its best shares.
        """
        if self.best_s is not None and self.best_s <= objective_s:
            return self
        return self.model_copy(update={"best_rows": tuple(rows.tolist()), "best_s": float(objective_s)})

    def save(self, path: Path) -> None:
        """Write the state as JSON."""
        write_text_whole(path, self.model_dump_json(indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> SearchState:
        """Read what :meth:`save` wrote.

        Raises
        ------
        ContractError
            If the file is not such a state.
        """
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"), strict=True)
        except (OSError, ValueError, ValidationError) as error:
            raise ContractError(f"{path}: not a search state ({error}); start the search again") from error


def digest_of(problem: PlanningProblem) -> str:
    """Return what tells problems apart: their scenario, and the costs of all their rows."""
    digest = hashlib.sha256(problem.scenario.content_hash().encode())
    work = problem.work
    columns = (
        problem.client_index, work.compute_s, problem.uplink_bits, work.downlink_s, work.server_s, problem.progress,
        problem.penalty_s, problem.server_state_bytes, problem.energy_j,
    )  # fmt: skip
    for column in columns:
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()
