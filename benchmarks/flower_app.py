"""The same federated training in Flower's simulation engine; started by ``benchmarks.flower_side_by_side``.

It needs an interpreter with ``flwr[simulation]`` beside this project's own packages, and prints one JSON line: seconds
of every round after the first two, in which Flower's workers load model and data.
"""

from __future__ import annotations

import itertools
import json
from functools import lru_cache
from time import perf_counter
from typing import Any

import torch
from flwr.client import ClientApp, NumPyClient
from flwr.common import Context, ndarrays_to_parameters
from flwr.server import ServerApp, ServerAppComponents, ServerConfig
from flwr.server.strategy import FedAvg
from flwr.simulation import run_simulation

from benchmarks.training_speed import CASES, scenario_of
from hybridsplit.runtime.data.partition import draw_batch, partition
from hybridsplit.runtime.data.sources import Samples, load_dataset
from hybridsplit.runtime.models.build import build_blocks
from hybridsplit.runtime.split.optimizers import make_optimizer
from hybridsplit.runtime.split.parts import Part, SplitModel, task_loss
from hybridsplit.scenarios.schema import Scenario


@lru_cache
def scenario(case: str) -> Scenario:
    return scenario_of(*CASES[case])


@lru_cache
def model(case: str) -> Part:
    """The worker's model, built once a process."""
    torch.set_num_threads(1)
    return SplitModel(build_blocks(scenario(case))).whole


@lru_cache
def data(case: str) -> tuple[Samples, Any]:
    samples = load_dataset(scenario(case)).train
    return samples, partition(samples, scenario(case))


class Client(NumPyClient):
    """Local steps from the global weights, with torch's own optimizer."""

    def __init__(self, case: str, client: str) -> None:
        self._case, self._client = case, client

    def fit(self, parameters: list[Any], config: dict[str, Any]) -> tuple[list[Any], int, dict[str, Any]]:
        """Train from the global weights and return new ones."""
        own, settings = model(self._case), scenario(self._case)
        names = list(own.exchanged())
        own.load({name: torch.from_numpy(values) for name, values in zip(names, parameters, strict=True)})
        own.train()
        samples, index = data(self._case)
        steps = settings.training.local_steps
        optimizer = make_optimizer(settings.training.optimizer, own.parameters())
        for step in range(steps):
            global_step = int(config["round"]) * steps + step
            batch = draw_batch(samples, index[self._client], settings, self._client, global_step)
            loss = task_loss(own(batch.inputs), batch.labels, settings.model.task)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return [tensor.numpy() for tensor in own.exchanged().values()], len(index[self._client]), {}


class TimedFedAvg(FedAvg):
    """FedAvg that remembers when each round was averaged."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.averaged_s: list[float] = []

    def aggregate_fit(self, *arguments: Any, **more: Any) -> Any:
        """Average, and take the time."""
        result = super().aggregate_fit(*arguments, **more)
        self.averaged_s.append(perf_counter())
        return result


def main(case: str, num_rounds: int, num_workers: int) -> None:
    """Train and print; to be imported, since Flower's workers look this module's names up by it."""
    clients = [client.id for client in scenario(case).expanded_clients()]
    start = ndarrays_to_parameters([tensor.numpy() for tensor in model(case).exchanged().values()])
    strategy = TimedFedAvg(
        fraction_fit=1.0, fraction_evaluate=0.0, min_fit_clients=len(clients), min_available_clients=len(clients),
        accept_failures=False, initial_parameters=start,
        on_fit_config_fn=lambda round_index: {"round": round_index - 1},
    )  # fmt: skip

    def client_fn(context: Context) -> Any:
        return Client(case, clients[int(context.node_config["partition-id"])]).to_client()

    def server_fn(context: Context) -> ServerAppComponents:
        return ServerAppComponents(strategy=strategy, config=ServerConfig(num_rounds=num_rounds + 2))

    run_simulation(
        ServerApp(server_fn=server_fn),
        ClientApp(client_fn=client_fn),
        num_supernodes=len(clients),
        backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}, "init_args": {"num_cpus": num_workers}},
    )
    moments = strategy.averaged_s
    print(json.dumps([later - earlier for earlier, later in itertools.pairwise(moments[1:])]))
