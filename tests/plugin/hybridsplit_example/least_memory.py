"""``least-memory``: every client as lean as it can be."""

from __future__ import annotations

from hybridsplit.plugins import Effort, PlanningProblem, Proposal, Strategy, choose_by_score


class LeastMemory(Strategy):
    """Every client takes its option of the least peak memory, at equal shares."""

    name = "least-memory"
    summary = "every client takes the option of least peak memory, equal shares"

    def propose(self, problem: PlanningProblem, effort: Effort) -> Proposal:
        """Score every option by its peak; among equal peaks by what the objective would be for this client alone."""
        peak_bytes = problem.table["client_peak_bytes"].to_numpy(dtype=float)
        worth = problem.progress.clip(1e-9) if problem.divides_by_progress else 1.0
        latency_s = problem.work.latency_s(1.0 / problem.num_clients) / worth
        tie_break = 0.5 * latency_s / (latency_s.max() or 1.0)  # below one byte
        rows = choose_by_score(problem, ~problem.is_dropped, peak_bytes + tie_break, self.name)
        return Proposal(rows, equal_shares=True, reason="least peak memory, at equal shares")
