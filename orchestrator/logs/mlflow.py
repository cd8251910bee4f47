"""Rounds for MLflow: an experiment of the scenario's name, with a run for the plan and one for its frozen control."""

from __future__ import annotations

from hybridsplit.orchestrator.logs.figures import figures_of
from hybridsplit.runtime.run.records import RoundDone
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.contracts.relay_plan import RelayPlan


class MlflowWriter:
    """Write a metric for every figure, with the number of the round as its step.

    Parameters
    ----------
    uri
        Tracking server, or where to keep runs: what ``mlflow.set_tracking_uri`` takes.
    plan
        What is trained: its scenario names the experiment, and strategy, seed and hash are parameters of the run.
    """

    def __init__(self, uri: str, plan: Plan | RelayPlan) -> None:
        from mlflow import MlflowClient

        self._client = MlflowClient(tracking_uri=uri)
        name = str(plan.scenario["name"])
        found = self._client.get_experiment_by_name(name)
        self._experiment_id = found.experiment_id if found is not None else self._client.create_experiment(name)
        self._parameters = {
            "strategy": plan.strategy,
            "seed": plan.scenario["seed"],
            "scenario_hash": plan.scenario_hash,
            "num_clients": len(plan.clients),
        }
        self._runs: dict[str, str] = {}

    def add(self, run: str, done: RoundDone) -> None:
        """Write a round of the plan, or of its frozen control."""
        if run not in self._runs:
            self._runs[run] = self._client.create_run(self._experiment_id, run_name=run).info.run_id
            for name, value in self._parameters.items():
                self._client.log_param(self._runs[run], name, value)
        for name, value in figures_of(done).items():
            self._client.log_metric(self._runs[run], name, value, step=done.round)

    def close(self) -> None:
        """Mark the runs as finished."""
        for run_id in self._runs.values():
            self._client.set_terminated(run_id)
