"""FedAvg: the whole model on every device."""

from __future__ import annotations

import numpy as np
import pandas as pd

from hybridsplit.scenarios.errors import InfeasibleError
from hybridsplit.scenarios.units import format_bytes
from hybridsplit.solver.problem.infeasible import MAX_NAMED_CLIENTS, cheapest_peak
from hybridsplit.solver.problem.planning_problem import PlanningProblem
from hybridsplit.solver.search.joint import Effort
from hybridsplit.solver.strategies.base import Proposal, Strategy
from hybridsplit.solver.strategies.choice import exact_modes
from hybridsplit.solver.strategies.equal import best_at_equal_shares


class FedAvg(Strategy):
    """Federated averaging (McMahan et al., arXiv 1602.05629): cut ``L``, exact gradients, equal shares.

    The cut ``L`` is the deepest one of the option table, where the server computes nothing. Equal shares are our
    reconstruction: the paper does not treat the radio.
    """

    name = "fedavg"
    summary = "the whole model on every device with exact gradients, equal shares"

    def propose(self, problem: PlanningProblem, effort: Effort) -> Proposal:
        """Keep the whole model on the device; choose between the exact modes.

        Raises
        ------
        InfeasibleError
            If a device cannot hold the whole model, or the least progress is out of reach.
        """
        rows = problem.all_options
        whole_model = int(rows["cut"].max())
        local = (rows["cut"] == whole_model) & rows["mode"].isin(exact_modes()) & (rows["server_compute_s"] == 0)
        if not local.any():
            raise InfeasibleError(
                "fedavg: the option table has no row with the whole model on the device in an exact mode; allow fo or "
                "fo-recompute in training.modes and profile again"
            )
        mask = (problem.cuts == whole_model) & problem.options["mode"].isin(exact_modes()).to_numpy()
        served = set(np.unique(problem.client_index[mask]).tolist())
        stuck = [client.id for i, client in enumerate(problem.clients) if i not in served]
        if stuck:
            by_client = dict(tuple(rows.frame(local.to_numpy()).groupby("client", sort=False)))
            lines = [_missing(client_id, by_client.get(client_id)) for client_id in stuck[:MAX_NAMED_CLIENTS]]
            more = [f"... and {len(stuck) - len(lines)} more"] if len(stuck) > len(lines) else []
            noun = "client" if len(stuck) == 1 else "clients"
            raise InfeasibleError(
                f"fedavg: the whole model does not fit {len(stuck)} {noun}: " + "\n  ".join([*lines, *more])
            )
        choice = best_at_equal_shares(problem, mask)
        if choice is None:
            raise InfeasibleError(
                f"fedavg: the whole model on every device does not reach a progress of {problem.minimum_progress:g} "
                "within the server's memory; lower objective.minimum_progress or raise server.memory_bytes"
            )
        return Proposal(choice.rows, equal_shares=True, reason="the whole model on the device, at equal shares")


def _missing(client_id: str, rows: pd.DataFrame | None) -> str:
    if rows is None:
        return f"{client_id} has no row with the whole model; profile again"
    row = cheapest_peak(rows)
    missing = int(row["client_peak_bytes"]) - int(row["memory_budget_bytes"])
    if missing <= 0:
        link = "its link cannot carry the model; raise radio.uplink_hz and radio.downlink_hz"
        return f"{client_id} ({row['device']}) has the memory, but {link}"
    need, budget = format_bytes(row["client_peak_bytes"]), format_bytes(row["memory_budget_bytes"])
    return (
        f"{client_id} ({row['device']}) needs {need} with {row['mode']} of a budget of {budget}: "
        f"{format_bytes(missing)} ({missing} bytes) missing"
    )
