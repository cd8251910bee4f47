"""Shared server models and chains are what they are called: compared with plain autograd, step by step."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch

from hybridsplit.runtime.data.partition import draw_batch, partition
from hybridsplit.runtime.data.sources import load_dataset
from hybridsplit.runtime.executors.inline import InlineExecutor
from hybridsplit.runtime.executors.ray import RayExecutor
from hybridsplit.runtime.models.build import build_blocks
from hybridsplit.runtime.run.rounds import TrainingResult, train
from hybridsplit.runtime.session.client import run_client_round
from hybridsplit.runtime.split.link import Batch
from hybridsplit.runtime.split.parts import SplitModel, State, task_loss
from hybridsplit.runtime.worker.shared_server import SharedServer
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.contracts.placement import Placement
from hybridsplit.scenarios.contracts.schedule import Chain, Turns
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.scenarios.schema import Scenario
from tests.tiers import one_of

SHARED = ["shared-mean", "shared-sequential"]
PLAIN = ["training.optimizer={name: sgd, learning_rate: 0.05}", "training.local_steps=1", "training.rounds=2"]


def scenario_with(*settings: str) -> Scenario:
    return load_scenario("quickstart", [*PLAIN, *settings])


def all_clients(scenario: Scenario, cuts: Sequence[int], mode: Mode = Mode.FO) -> list[Assignment]:
    clients = scenario.expanded_clients()
    return [
        Assignment(c.id, Placement(cut=cut, mode=mode, batch_size=scenario.training.batch_size), c.data_weight, 1 << 30)
        for c, cut in zip(clients, cuts, strict=True)
    ]


def trained(scenario: Scenario, assignments: Sequence[Assignment], rounds: int = 1, **more: object) -> TrainingResult:
    with InlineExecutor(scenario) as executor:
        return train(scenario, assignments, executor, rounds, **more)  # type: ignore[arg-type]


def fresh(scenario: Scenario) -> tuple[SplitModel, dict[str, Batch]]:
    samples = load_dataset(scenario).train
    index = partition(samples, scenario)
    batches = {c.id: draw_batch(samples, index[c.id], scenario, c.id, 0) for c in scenario.expanded_clients()}
    return SplitModel(build_blocks(scenario)), batches


def assert_close(found: State, expected: State, names: Sequence[str]) -> None:
    for name in names:
        torch.testing.assert_close(
            found[name], expected[name], rtol=1e-4, atol=1e-6, msg=lambda text, n=name: f"{n}: {text}"
        )


@pytest.mark.parametrize("server_model", ["per-client", "shared-mean"])
@pytest.mark.parametrize("cuts", [[2] * 6, [1, 2, 3, 4, 6, 7]], ids=["one cut", "mixed cuts"])
def test_one_step_of_everybody_is_one_step_on_the_mean_loss(server_model: str, cuts: list[int]) -> None:
    """With one plain SGD step a round, averaged deltas are the step along the averaged gradient (FedSGD)."""
    scenario = scenario_with(f"training.server_model={server_model}")
    assignments = all_clients(scenario, cuts)
    model, batches = fresh(scenario)
    model.whole.train()
    loss = torch.tensor(0.0)
    for who in assignments:
        batch = batches[who.client]
        loss = loss + who.data_weight * task_loss(model.whole(batch.inputs), batch.labels, scenario.model.task)
    loss.backward()  # type: ignore[no-untyped-call]
    expected = {name: (p - 0.05 * p.grad).detach() for name, p in model.whole.trainable() if p.grad is not None}
    assert_close(trained(scenario, assignments).state, expected, list(expected))


def test_a_sequential_server_steps_on_each_client_in_turn() -> None:
    scenario = scenario_with("training.server_model=shared-sequential")
    assignments = all_clients(scenario, [3] * 6)
    model, batches = fresh(scenario)
    model.whole.train()
    server, client = model.server_part(3), model.client_part(3)
    for who in assignments:
        batch = batches[who.client]
        h = client(batch.inputs).detach()
        loss = task_loss(server(h), batch.labels, scenario.model.task)
        for (_, p), gradient in zip(
            server.trainable(), torch.autograd.grad(loss, [p for _, p in server.trainable()]), strict=True
        ):
            with torch.no_grad():
                p.sub_(gradient, alpha=0.05)
    expected = {name: p.detach() for name, p in server.trainable()}
    assert_close(trained(scenario, assignments).state, expected, list(expected))


@pytest.mark.parametrize("server_model", one_of(2, SHARED))
@pytest.mark.parametrize("mode", sorted(Mode))
def test_one_client_alone_has_its_server_for_itself(server_model: str, mode: Mode) -> None:
    """With a single client, sharing changes no bit, in any mode and over several steps."""
    results = []
    for model in ("per-client", server_model):
        scenario = scenario_with(
            f"training.server_model={model}", "training.local_steps=3", "training.zeroth_order.directions=2",
            "training.optimizer.momentum=0.9", f"training.modes=[{mode}]",
        )  # fmt: skip
        client = scenario.expanded_clients()[0]
        results.append(
            trained(
                scenario,
                [
                    Assignment(
                        client.id, Placement(cut=2, mode=mode, batch_size=scenario.training.batch_size), 1.0, 1 << 30
                    )
                ],
                rounds=2,
            )
        )
    one, other = results
    assert all(torch.equal(tensor, other.state[name]) for name, tensor in one.state.items())
    assert one.records == other.records
    assert one.measured.table["bytes"].tolist() == other.measured.table["bytes"].tolist()
    assert one.peak_bytes == other.peak_bytes


@pytest.mark.parametrize("server_model", SHARED)
@pytest.mark.parametrize("what", ["smashed data", "gradient"])
def test_what_is_not_finite_never_reaches_a_shared_server(server_model: str, what: str) -> None:
    """Its client gets a loss of NaN; to all others it is as if there had been no such step, statistics included."""
    scenario = scenario_with(f"training.server_model={server_model}", "training.optimizer.momentum=0.9")
    bad, *good = all_clients(scenario, [3] * 6)
    results = []
    for clients in ([bad, *good], good):
        model, batches = fresh(scenario)
        server = SharedServer(model, scenario.training, scenario.model.task, [bad, *good])
        for who in clients:
            h = model.client_part(3)(batches[who.client].inputs).detach()
            handles = []
            if who is bad and what == "smashed data":
                h[0] = torch.nan
            elif who is bad:
                handles = [p.register_hook(lambda g: g * torch.inf) for _, p in model.server_part(3).trainable()]
            _, loss = server.side(who.client).exact(h, batches[who.client], wants_gradient=True)
            assert math.isnan(loss) == (who is bad)
            for handle in handles:
                handle.remove()
        server.end_step()
        results.append(server.contribution().mean)
    trainable = {name for name, _ in model.whole.trainable()}
    for name, tensor in results[0].items():
        # A forward pass whose gradient overflows has still seen its batch.
        if what == "smashed data" or name in trainable:
            assert torch.equal(tensor, results[1][name]), name


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("server_model", SHARED)
def test_ray_serves_in_the_same_order(server_model: str) -> None:
    scenario = scenario_with(
        f"training.server_model={server_model}", "training.local_steps=2", "training.zeroth_order.directions=1",
        "training.optimizer={name: adamw, learning_rate: 0.01}", "training.optimizer_state=keep",
        "training.participation=0.8", "training.zeroth_order.loss_sides=one",
    )  # fmt: skip
    modes = [Mode.FO, Mode.ZO_PROJECTION, Mode.ZO_LOSS, Mode.FROZEN, Mode.FO_RECOMPUTE, Mode.FO]
    cuts = [1, 2, 4, 2, 3, 7]
    assignments = [
        Assignment(c.id, Placement(cut=cut, mode=mode, batch_size=scenario.training.batch_size), c.data_weight, 1 << 30)
        for c, cut, mode in zip(scenario.expanded_clients(), cuts, modes, strict=True)
    ]
    inline = trained(scenario, assignments, rounds=3)
    with RayExecutor(scenario, 2) as executor:
        on_ray = train(scenario, assignments, executor, 3)
    assert all(torch.equal(tensor, on_ray.state[name]) for name, tensor in inline.state.items())
    assert inline.records == on_ray.records


def test_a_chain_hands_its_weights_on() -> None:
    """Sequential split learning: each client starts where the one before it ended, on either side of the cut."""
    scenario = scenario_with("training.local_steps=2")
    assignments = all_clients(scenario, [2] * 6)
    chain = [who.client for who in assignments][::-1]
    samples = load_dataset(scenario).train
    index = partition(samples, scenario)
    model = SplitModel(build_blocks(scenario))
    state = model.whole.snapshot()
    for client in chain:
        who = next(a for a in assignments if a.client == client)

        def draw(step: int, client: str = client) -> Batch:
            return draw_batch(samples, index[client], scenario, client, step)

        state = run_client_round(model, state, who, draw, scenario, 0, measure_memory=False).state
    found = trained(scenario, assignments, schedule=Chain(order=tuple(chain))).state
    assert all(torch.equal(tensor, found[name]) for name, tensor in state.items())


@pytest.mark.parametrize("schedule", [Chain, Turns])
def test_a_sequential_server_serves_in_the_order_of_the_plan(schedule: type[Chain] | type[Turns]) -> None:
    scenario = scenario_with("training.server_model=shared-sequential")
    assignments = all_clients(scenario, [2] * 6)
    turned = schedule(order=tuple(who.client for who in assignments[::-1]))
    found = trained(scenario, assignments, schedule=turned)
    expected = trained(scenario, assignments[::-1])
    assert all(torch.equal(tensor, found.state[name]) for name, tensor in expected.state.items())
    in_order = trained(scenario, assignments)
    assert any(not torch.equal(tensor, found.state[name]) for name, tensor in in_order.state.items())


@pytest.mark.parametrize("server_model", ["per-client", *SHARED])
@pytest.mark.parametrize(
    "optimizer", ["{name: sgd, learning_rate: 0.05, momentum: 0.9}", "{name: adamw, learning_rate: 0.01}"]
)
@pytest.mark.parametrize("kept", [True, False])
def test_kept_state_makes_rounds_as_good_as_steps(server_model: str, optimizer: str, kept: bool) -> None:
    """For one client, four rounds of one step are one round of four, exactly when the optimizer's state is kept."""
    states = []
    for rounds, steps in ((1, 4), (4, 1)):
        scenario = scenario_with(
            f"training.local_steps={steps}", f"training.optimizer={optimizer}", f"training.server_model={server_model}",
            f"training.optimizer_state={'keep' if kept else 'reset'}",
        )  # fmt: skip
        client = scenario.expanded_clients()[0]
        states.append(
            trained(
                scenario,
                [
                    Assignment(
                        client.id, Placement(cut=2, mode=Mode.FO, batch_size=scenario.training.batch_size), 1.0, 1 << 30
                    )
                ],
                rounds=rounds,
            ).state
        )
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items()) == kept
