"""What one worker process does: train clients and evaluate the global model. Plain torch; executors call it."""

from __future__ import annotations

import torch

from runtime.client import Assignment, ClientRound, run_client_round
from runtime.data import load_dataset
from runtime.models.build import build_blocks
from runtime.partition import draw_batch, partition
from runtime.split import SplitModel, State
from scenarios.schema import Scenario

EVALUATION_BATCH = 256


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
        dataset = load_dataset(scenario)
        self._train, self._test = dataset.train, dataset.test
        self._indices = partition(dataset.train, scenario)
        self.model = SplitModel(build_blocks(scenario, num_labels=dataset.num_classes or None))
        # A copy: the working model is overwritten by every client, and a worker serves several runs.
        self._initial_state = self.model.whole.snapshot()

    def initial_state(self) -> State:
        """Return the state training starts from."""
        return self._initial_state

    def train(self, state: State, assignment: Assignment, round_index: int, *, measure_memory: bool) -> ClientRound:
        """Train one client for one round from the given global state."""
        index = self._indices[assignment.client]
        return run_client_round(
            self.model,
            state,
            assignment,
            lambda step: draw_batch(self._train, index, self._scenario, assignment.client, step),
            self._scenario,
            round_index,
            measure_memory=measure_memory,
        )

    def evaluate(self, state: State) -> float:
        """Return the test accuracy of a global state: share of right classes, or of right next tokens."""
        self.model.whole.load(state)
        self.model.whole.eval()
        right = total = 0
        with torch.inference_mode():
            for start in range(0, len(self._test), EVALUATION_BATCH):
                index = torch.arange(start, min(start + EVALUATION_BATCH, len(self._test)))
                batch = self._test.batch(index)
                logits = self.model.whole(batch.inputs, batch.mask_BS)
                guess, truth = logits.argmax(-1), batch.labels
                if self._scenario.model.task == "causal-lm":
                    guess, truth = guess[:, :-1], truth[:, 1:]
                counted = truth != -100
                right += int((guess.eq(truth) & counted).sum())
                total += int(counted.sum())
        return right / max(total, 1)
