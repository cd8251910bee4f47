"""What one worker process does: train clients and evaluate the global model. Plain torch; executors call it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import torch
from torch import Tensor

from runtime.client import Assignment, ClientRound, run_client_round
from runtime.data import Dataset, head_size, load_dataset
from runtime.models.build import build_blocks
from runtime.partition import draw_batch, partition
from runtime.split import SplitModel, State
from scenarios.schema import Scenario


class Worker:
    """Holds one working model and the data, and serves any number of clients one after another.

    Parameters
    ----------
    scenario
        The scenario.
    num_threads
        Torch threads while computing; results differ in bits between numbers of threads, so every executor pins it.
    """

    def __init__(self, scenario: Scenario, num_threads: int = 1) -> None:
        torch.set_num_threads(num_threads)
        self._scenario = scenario

    # Loaded on first use: an error in an actor's constructor would reach the driver as a dead actor.

    @cached_property
    def _dataset(self) -> Dataset:
        return load_dataset(self._scenario)

    @cached_property
    def _indices(self) -> Mapping[str, Tensor]:
        return partition(self._dataset.train, self._scenario)

    @cached_property
    def _model(self) -> SplitModel:
        return SplitModel(build_blocks(self._scenario, num_labels=head_size(self._scenario)))

    @cached_property
    def _initial_state(self) -> State:
        # A copy: the working model is overwritten by every client, and a worker serves several runs.
        return self._model.whole.snapshot()

    def initial_state(self) -> State:
        """Return the state training starts from."""
        return self._initial_state

    def train(self, state: State, assignment: Assignment, round_index: int, *, measure_memory: bool) -> ClientRound:
        """Train one client for one round from the given global state."""
        self.initial_state()
        index, samples = self._indices[assignment.client], self._dataset.train
        return run_client_round(
            self._model,
            state,
            assignment,
            lambda step: draw_batch(samples, index, self._scenario, assignment.client, step),
            self._scenario,
            round_index,
            measure_memory=measure_memory,
        )

    def evaluate(self, state: State) -> float:
        """Return the test accuracy of a global state: share of right classes, or of right next tokens."""
        self.initial_state()
        model, test = self._model.whole, self._dataset.test
        model.load(state)
        model.eval()
        # No larger than a training batch: a language model's logits would not fit in memory otherwise.
        size = self._scenario.training.batch_size
        right = total = 0
        with torch.inference_mode():
            for start in range(0, len(test), size):
                batch = test.batch(torch.arange(start, min(start + size, len(test))))
                logits = model(batch.inputs, batch.mask_BS)
                guess, truth = logits.argmax(-1), batch.labels
                if self._scenario.model.task == "causal-lm":
                    guess, truth = guess[:, :-1], truth[:, 1:]
                counted = truth != -100
                right += int((guess.eq(truth) & counted).sum())
                total += int(counted.sum())
        return right / max(total, 1)
