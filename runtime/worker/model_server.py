"""The global model: its first state, the average of what clients return, and its score."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch

from hybridsplit.runtime.aggregation.scalar_log import AveragedRound, average_scalars, replay_rounds
from hybridsplit.runtime.aggregation.weighted_mean import Contribution, EntryWeights, WeightedMean
from hybridsplit.runtime.data.sources import Samples, load_dataset
from hybridsplit.runtime.data.split_models import split_model
from hybridsplit.runtime.split.compute import CPU, CPU_ONLY, ComputeDevices, moved
from hybridsplit.runtime.split.parts import SplitModel, State
from hybridsplit.runtime.split.reports import ClientReport
from hybridsplit.runtime.worker.evaluation import gathered
from hybridsplit.scenarios.schema import Scenario


class ModelServer:
    """Keeps no state between rounds: calls bring the state they need, so that a new server can take over at any time.

    Parameters
    ----------
    scenario
        The scenario.
    num_threads
        Torch threads while computing.
    devices
        The model is evaluated on the device of server parts; everything else, and every state, is on the CPU.
    """

    def __init__(self, scenario: Scenario, num_threads: int = 1, devices: ComputeDevices = CPU_ONLY) -> None:
        torch.set_num_threads(num_threads)
        self._scenario, self._device = scenario, devices.server
        self._mean = WeightedMean()
        self._num_added = 0

    @cached_property
    def _built(self) -> tuple[SplitModel, State]:
        """The working model, and a copy of its first state: averaging and evaluation overwrite the model."""
        model = split_model(self._scenario)
        return model, model.whole.snapshot()

    @property
    def _model(self) -> SplitModel:
        return self._built[0]

    @cached_property
    def _weights(self) -> EntryWeights:
        return EntryWeights(self._model, self._scenario.training)

    @cached_property
    def _test(self) -> Samples:
        return load_dataset(self._scenario).test

    def initial_state(self) -> State:
        """Return the state training starts from."""
        return self._built[1]

    def add(self, position: int, contribution: Contribution) -> None:
        """Add what a group returned.

        Parameters
        ----------
        position
            Which group of the round: groups are added in order, from 0; 0 begins a new round.
        contribution
            Mean and weights of its clients.
        """
        if position == 0:
            self._mean, self._num_added = WeightedMean(), 0
        assert position == self._num_added, f"group {position} after {self._num_added} groups"
        self._mean.add(contribution.mean, contribution.weights)
        self._num_added += 1

    def finish(
        self, state: State, num_groups: int, round_index: int, reports: Sequence[ClientReport]
    ) -> tuple[AveragedRound | None, State]:
        """Return the next global state.

        Parameters
        ----------
        state
            The state the round started from: entries that no client trained keep it.
        num_groups
            Groups that must have been added.
        round_index, reports
            The round, and those whose training counts.

        Returns
        -------
        The scalars that moved the common blocks, if there are such blocks, and the state.
        """
        assert self._num_added == num_groups, f"{self._num_added} of {num_groups} groups"
        new = self._mean.contribution(state).mean
        self._num_added = 0
        averaged = None
        if self._scenario.training.zo_prefix_blocks:
            weights = {r.assignment.client: self._weights.of_client(r.assignment) for r in reports}
            averaged = average_scalars(reports, weights, round_index)
            new |= replay_rounds(self._model, state, self._scenario, [averaged] if averaged is not None else [])
        return averaged, {name: new.get(name, old) for name, old in state.items()}

    def evaluate(self, state: State) -> float:
        """Return the score of a state on the test data: accuracy, macro F1 or R², by what a label is."""
        model, test = self._model.whole, self._test
        model.load(state)
        model.eval()
        model.to(self._device)
        # No larger than a training batch: a language model's logits would not fit in memory otherwise.
        size = self._scenario.training.batch_size
        score = gathered(self._scenario.model.loss_kind)
        with torch.inference_mode():
            for start in range(0, len(test), size):
                batch = moved(test.batch(torch.arange(start, min(start + size, len(test)))), self._device)
                score.add(model(batch.inputs, batch.mask_BS), batch.labels)
        model.to(CPU)
        return score.value()
