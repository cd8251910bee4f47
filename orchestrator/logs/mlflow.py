"""Rounds for MLflow: an experiment of the scenario's name, with a run for every one that trains."""

from __future__ import annotations

from hybridsplit.orchestrator.logs.figures import LoggedRun, figures_of
from hybridsplit.runtime.run.records import RoundDone


class MlflowWriter:
    """Write a metric for every figure, with the number of the round as its step.

    Parameters
    ----------
    uri
        Tracking server, or where to keep runs: what ``mlflow.set_tracking_uri`` takes.
    experiment
        Name of the experiment, made where there is none.
    """

    def __init__(self, uri: str, experiment: str) -> None:
        from mlflow import MlflowClient

        self._client = MlflowClient(tracking_uri=uri)
        found = self._client.get_experiment_by_name(experiment)
        self._experiment_id = found.experiment_id if found is not None else self._client.create_experiment(experiment)
        self._runs: dict[str, str] = {}

    def add(self, run: LoggedRun, done: RoundDone) -> None:
        """Write a round of a run."""
        if run.name not in self._runs:
            self._runs[run.name] = self._client.create_run(self._experiment_id, run_name=run.name).info.run_id
            for name, stated in run.parameters.items():
                self._client.log_param(self._runs[run.name], name, stated)
        for name, value in figures_of(done).items():
            self._client.log_metric(self._runs[run.name], name, value, step=done.round)

    def close(self) -> None:
        """Mark the runs as finished."""
        for run_id in self._runs.values():
            self._client.set_terminated(run_id)
