"""What emulation costs: rounds of the inline executor, of Ray, and of a bare PyTorch loop with the same arithmetic.

python -m benchmarks.training_speed [--rounds 6] [--workers 2]

The bare loop is what a user would write for federated training of the same clients: load the global weights, run the
local steps forward and backward through the whole model, average. It counts no bytes, cuts no model and keeps no
checkpoint. It is run twice: ``plain`` on transformers' own model with torch's ``load_state_dict``, and ``lean`` on our
blocks of the same model, whose tensors need not be searched for in every round. Everything runs on one torch thread a
process; start-up, data and evaluation are apart. Rounds of the single-process loops alternate; figures are medians.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from time import perf_counter
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoModelForImageClassification

from hybridsplit.runtime.data.partition import draw_batch, partition
from hybridsplit.runtime.data.sources import load_dataset
from hybridsplit.runtime.executors.base import Executor, RoundTask
from hybridsplit.runtime.executors.inline import InlineExecutor
from hybridsplit.runtime.executors.ray import RayExecutor
from hybridsplit.runtime.models.build import build_blocks
from hybridsplit.runtime.models.configuration import model_config
from hybridsplit.runtime.split.optimizers import make_optimizer
from hybridsplit.runtime.split.parts import Part, SplitModel, State, task_loss
from hybridsplit.runtime.worker.groups import groups_of
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.contracts.placement import Placement
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.scenarios.schema import Scenario


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
    return [
        Assignment(
            c.id, Placement(cut=2, mode=Mode.FO, batch_size=scenario.training.batch_size), c.data_weight, 1 << 40
        )
        for c in scenario.expanded_clients()
    ]


class PlainModel(nn.Module):
    """The model as transformers gives it."""

    def __init__(self, scenario: Scenario) -> None:
        super().__init__()
        self.model = AutoModelForImageClassification.from_config(model_config(scenario.model), trust_remote_code=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        return cast("Tensor", self.model(x).logits)

    def load(self, state: State) -> None:
        """Take over a state."""
        self.model.load_state_dict(state)

    def exchanged(self) -> State:
        """Return the state."""
        return cast("State", self.model.state_dict())


def bare_loop(scenario: Scenario, model: PlainModel | Part) -> Callable[[int], None]:
    """Return the loop a user would write; each call is one round."""
    samples = load_dataset(scenario).train
    index = partition(samples, scenario)
    clients, steps = scenario.expanded_clients(), scenario.training.local_steps
    state: State = {name: tensor.clone() for name, tensor in model.exchanged().items()}

    def one_round(round_index: int) -> None:
        nonlocal state
        mean = {name: torch.zeros_like(tensor) for name, tensor in state.items() if tensor.is_floating_point()}
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
            trained = model.exchanged()
            for name, total in mean.items():
                total.add_(trained[name], alpha=client.data_weight)
        state = {**state, **mean}

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
    columns = "".join(f"{name:>9s}" for name in ("plain", "lean", "inline", "/plain", "/lean", "ray", "/inline"))
    print(f"{'case':52s}{columns}")
    for name, (num_clients, settings) in CASES.items():
        scenario = scenario_of(num_clients, settings)
        with InlineExecutor(scenario) as inline:
            loops = [
                bare_loop(scenario, PlainModel(scenario)),
                bare_loop(scenario, SplitModel(build_blocks(scenario)).whole),
                emulated(inline, scenario),
            ]
            taken = [[seconds(loop, r) for loop in loops] for r in range(arguments.rounds + 1)][1:]
        plain_s, lean_s, inline_s = (statistics.median(values) for values in zip(*taken, strict=True))
        with RayExecutor(scenario, arguments.workers) as cluster:
            on_ray = emulated(cluster, scenario)
            ray_s = statistics.median([seconds(on_ray, r) for r in range(arguments.rounds + 2)][2:])
        print(
            f"{name:52s}{plain_s:8.3f}s{lean_s:8.3f}s{inline_s:8.3f}s"
            f"{inline_s / plain_s:8.2f}x{inline_s / lean_s:8.2f}x{ray_s:8.3f}s{ray_s / inline_s:8.2f}x",
            flush=True,
        )


if __name__ == "__main__":
    main()
