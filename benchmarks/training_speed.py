"""What emulation costs: rounds of the inline executor, of Ray, and of a bare PyTorch loop with the same arithmetic.

python -m benchmarks.training_speed [--rounds 6] [--workers 2]

The bare loop is what a user would write for federated training of the same clients: load the global weights, run the
local steps forward and backward through the whole model, average. It counts no bytes, cuts no model and keeps no
checkpoint. Everything runs on one torch thread a process; start-up, data and evaluation are apart. Rounds of the two
single-process loops alternate; figures are medians.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from time import perf_counter
from typing import Any

import torch

from runtime.client import Assignment
from runtime.data import load_dataset
from runtime.executors.base import Executor, RoundTask
from runtime.executors.inline import InlineExecutor
from runtime.executors.ray import RayExecutor
from runtime.groups import groups_of
from runtime.models.build import build_blocks
from runtime.optimizers import make_optimizer
from runtime.partition import draw_batch, partition
from runtime.split import SplitModel, State, task_loss
from scenarios.contracts.modes import Mode
from scenarios.loader import load_scenario
from scenarios.schema import Scenario


def _three_blocks(width: int) -> str:
    return (
        f"model.config={{model_type: resnet, num_channels: 1, embedding_size: 8, hidden_sizes: [{width}], depths: [1], "
        "layer_type: basic, downsample_in_first_stage: false, num_labels: 10}"
    )


CASES = {
    "overhead: 100 clients, one step of a 3-block network": (
        100,
        [_three_blocks(8), "training.local_steps=1", "training.batch_size=4"],
    ),
    "small: 10 clients, 5 steps of a 3-block network": (
        10,
        [_three_blocks(16), "training.local_steps=5", "training.batch_size=112"],
    ),
    "quickstart: 6 clients, 8 steps": (6, []),
    "compute: 8 clients, 10 steps of 64 images of 32 x 32": (
        8,
        ["training.local_steps=10", "training.batch_size=64", "data.image_size=32"],
    ),
}


def scenario_of(num_clients: int, settings: list[str]) -> Scenario:
    base = load_scenario("quickstart", [*settings, "training.frozen_control=false"])
    group = base.clients[-1].model_copy(update={"count": num_clients, "group": "client"})
    return base.model_copy(update={"clients": (group,)})


def assignments_of(scenario: Scenario) -> list[Assignment]:
    """Everybody trains with exact gradients, cut low in the model."""
    return [Assignment(c.id, 2, Mode.FO, c.data_weight, 1 << 40) for c in scenario.expanded_clients()]


def bare_loop(scenario: Scenario) -> Callable[[int], None]:
    """Return the loop a user would write; each call is one round."""
    samples = load_dataset(scenario).train
    index = partition(samples, scenario)
    model = SplitModel(build_blocks(scenario)).whole
    clients, steps = scenario.expanded_clients(), scenario.training.local_steps
    state: State = model.snapshot()

    def one_round(round_index: int) -> None:
        nonlocal state
        mean: State = {name: torch.zeros_like(tensor) for name, tensor in state.items()}
        for client in clients:
            model.load(state)
            model.train()
            optimizer = make_optimizer(scenario.training.optimizer, model.parameters())
            for step in range(steps):
                batch = draw_batch(samples, index[client.id], scenario, client.id, round_index * steps + step)
                loss = task_loss(model(batch.inputs), batch.labels, scenario.model.task)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                loss.item()
            for name, tensor in model.exchanged().items():
                mean[name].add_(tensor, alpha=client.data_weight)
        state = mean

    return one_round


def emulated(executor: Executor[Any], scenario: Scenario) -> Callable[[int], None]:
    """Return one round of an executor as a call, with no memory measured."""
    groups = groups_of(assignments_of(scenario))
    handle = executor.initial_state()

    def one_round(round_index: int) -> None:
        nonlocal handle
        handle = executor.train_round(handle, RoundTask(round_index, groups)).handle

    return one_round


def seconds(one_round: Callable[[int], None], round_index: int) -> float:
    start_s = perf_counter()
    one_round(round_index)
    return perf_counter() - start_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    print(f"{'case':54s} {'bare':>9s} {'inline':>9s} {'ratio':>7s} {'ray':>9s} {'ray/inline':>11s}")
    for name, (num_clients, settings) in CASES.items():
        scenario = scenario_of(num_clients, settings)
        with InlineExecutor(scenario) as inline:
            bare, ours = bare_loop(scenario), emulated(inline, scenario)
            bare(0), ours(0)
            pairs = [(seconds(bare, r), seconds(ours, r)) for r in range(1, arguments.rounds + 1)]
        bare_s, inline_s = (statistics.median(values) for values in zip(*pairs, strict=True))
        with RayExecutor(scenario, arguments.workers) as cluster:
            on_ray = emulated(cluster, scenario)
            on_ray(0), on_ray(1)
            ray_s = statistics.median(seconds(on_ray, r) for r in range(2, arguments.rounds + 2))
        print(
            f"{name:54s} {bare_s:8.3f}s {inline_s:8.3f}s {inline_s / bare_s:6.2f}x "
            f"{ray_s:8.3f}s {ray_s / inline_s:10.2f}x",
            flush=True,
        )


if __name__ == "__main__":
    main()
