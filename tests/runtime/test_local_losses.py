"""Losses of the clients' own: what the client part moves along, what the server gets, and whose heads are averaged."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hybridsplit.runtime.data.split_models import split_model
from hybridsplit.runtime.estimators import make_estimator
from hybridsplit.runtime.executors.inline import InlineExecutor
from hybridsplit.runtime.executors.ray import RayExecutor
from hybridsplit.runtime.noise import NoiseKey, Perturbed
from hybridsplit.runtime.run.rounds import TrainingResult, train
from hybridsplit.runtime.session.client import run_client_round
from hybridsplit.runtime.session.server import ServerSide
from hybridsplit.runtime.split.link import Batch
from hybridsplit.runtime.split.local_heads import pooled
from hybridsplit.runtime.split.parts import SplitModel, is_of_head
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.placement import Placement
from hybridsplit.scenarios.errors import ContractError, ScenarioError
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.testing.families import family_batch, family_model, family_scenario
from tests.runtime.steps import in_double

LOCAL = ["fo-local", "zo-local"]
KEY = NoiseKey(0, "client", "pi-0", 0, 0)
FAMILIES = ["resnet", "bert", "opt-causal"]


class _Nothing:
    """A server that learns nothing and answers nothing."""

    trains_server = True

    def exact(self, h: Tensor, batch: Batch, *, wants_gradient: bool) -> tuple[None, float]:
        assert not wants_gradient
        return None, 0.0


def local_loss(model: SplitModel, scenario: Scenario, batch: Batch, cut: int, *, trains: bool) -> Tensor:
    """The loss of the head behind a cut, written out."""
    part = model.client_part(cut, "fo-local").train(trains)
    h, (name, *_) = part(batch.inputs, batch.mask_BS), list(part.heads)
    weights = {key.removeprefix(f"heads.{name}."): p for key, p in part.trainable() if is_of_head(key)}
    if scenario.model.task == "causal-lm":
        narrow = F.layer_norm(h, h.shape[-1:]) @ weights["narrow.weight"].T
        logits = narrow @ weights["project.weight"].T + weights["project.bias"]
        return F.cross_entropy(logits[:, :-1].flatten(0, 1), batch.labels[:, 1:].flatten(), ignore_index=-100)
    if h.dim() == 4:
        features = h.mean((2, 3))
    elif batch.mask_BS is None:
        features = h.mean(1)
    else:
        features = torch.stack([one[mask].mean(0) for one, mask in zip(h, batch.mask_BS, strict=True)])
    logits = F.layer_norm(features, features.shape[-1:]) @ weights["project.weight"].T + weights["project.bias"]
    return F.cross_entropy(logits, batch.labels)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_fo_local_steps_along_the_gradient_of_the_heads_loss(family: str, padded: bool) -> None:
    """Every parameter of blocks and head, against autograd of the loss written out."""
    if padded and family == "resnet":
        return
    scenario = family_scenario(family, modes=["fo-local"], optimizer={"name": "sgd", "learning_rate": 0.5})
    batch = family_batch(scenario, padded=padded)
    model, other = family_model(scenario), family_model(scenario)
    gradients = dict(other.client_part(2, "fo-local").trainable())
    loss = local_loss(other, scenario, batch, 2, trains=True)
    expected = dict(zip(gradients, torch.autograd.grad(loss, list(gradients.values())), strict=True))
    part = model.client_part(2, "fo-local")
    before = part.snapshot()
    make_estimator("fo-local", part, scenario.training).step(batch, _Nothing(), KEY)
    assert any(is_of_head(name) for name in expected)
    for name, parameter in part.trainable():
        torch.testing.assert_close(before[name] - parameter, 0.5 * expected[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_differences_of_zo_local_are_directional_derivatives_of_the_heads_loss(family: str) -> None:
    """To first and second order in the radius, as of any loss difference."""
    for sides, factor in (("one", 10), ("two", 100)):
        errors = []
        for radius in (1e-4, 1e-5):
            settings = {"directions": 3, "radius": radius, "loss_sides": sides}
            scenario = family_scenario(family, smooth=True, modes=["zo-local"], zeroth_order=settings)
            model = family_model(scenario)
            batch = in_double(family_batch(scenario), model)
            start = model.whole.snapshot()
            part = model.client_part(2, "zo-local")
            scalars = make_estimator("zo-local", part, scenario.training).step(batch, _Nothing(), KEY).scalars
            assert scalars is not None
            model.whole.load(start)
            exact = exact_derivatives(model, scenario, batch)
            errors.append((3 * torch.tensor(scalars.coefficients, dtype=torch.float64) - exact).abs().max())
        assert errors[0] / errors[1] == pytest.approx(factor, rel=0.2), (sides, errors)


def exact_derivatives(model: SplitModel, scenario: Scenario, batch: Batch) -> Tensor:
    """⟨gradient of the head's loss, u⟩ for three directions."""
    part = model.client_part(2, "zo-local").eval()
    named = dict(part.trainable())
    loss = local_loss(model, scenario, batch, 2, trains=False)
    gradients = torch.autograd.grad(loss, list(named.values()))
    recorder = Perturbed(named.items(), KEY, 0, 0.0)
    with torch.no_grad(), recorder:
        part(batch.inputs, batch.mask_BS)
    totals = torch.zeros(3, dtype=torch.float64)
    for direction in range(3):
        for (name, parameter), gradient in zip(named.items(), gradients, strict=True):
            rows = recorder.rows.get(name)
            noise = KEY.draw(name, direction, parameter, rows)
            if rows is not None:
                trained = rows.trained_M.bool()
                gradient, noise = gradient[rows.rows_M[trained]], noise[trained]
            totals[direction] += (gradient * noise).sum()
    return totals


def played(scenario: Scenario, mode: str, every: int, *, server_scale: float = 1.0, **more: Any) -> Any:
    """One client's round at cut 2."""
    model = family_model(scenario)
    start = model.whole.snapshot()
    for name, tensor in model.server_part(2).exchanged().items():
        start[name] = tensor * server_scale
    placement = Placement(cut=2, mode=mode, batch_size=scenario.training.batch_size, upload_every=every)
    draw = partial(_draw, scenario)
    return run_client_round(
        model, start, Assignment("pi-0", placement, 1.0, 1 << 40), draw, scenario, 0, measure_memory=False, **more
    )


def _draw(scenario: Scenario, step: int) -> Batch:
    return family_batch(scenario, seed=step)


@pytest.mark.parametrize("mode", LOCAL)
def test_the_client_hears_nothing_of_the_server(mode: str) -> None:
    """Its bits depend neither on how often it sends nor on the server's weights; the server's do on both."""
    scenario = family_scenario("resnet", modes=[mode], local_steps=5)
    rounds = [played(scenario, mode, every) for every in (1, 2, 5)]
    rounds.append(played(scenario, mode, 1, server_scale=0.5))
    first = rounds[0].state
    of_client = {name for name in first if int(name.split(".")[1]) < 2}
    for other in rounds[1:]:
        assert all(torch.equal(first[name], other.state[name]) for name in of_client)
        assert any(not torch.equal(first[name], other.state[name]) for name in set(first) - of_client)
        assert other.report.bytes_by_phase.get(Phase.DOWNLINK, 0) == 0


@pytest.mark.parametrize("mode", LOCAL)
def test_bytes_and_server_steps_are_those_of_the_steps_that_send(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = family_scenario("resnet", modes=[mode], local_steps=5)
    trained: list[int] = []
    exact = ServerSide.exact
    monkeypatch.setattr(ServerSide, "exact", lambda *given, **named: trained.append(1) or exact(*given, **named))
    once = played(scenario, mode, 5).report.bytes_by_phase
    assert len(trained) == 1
    for every, number in ((1, 5), (2, 3), (3, 2), (4, 2)):
        trained.clear()
        found = played(scenario, mode, every).report.bytes_by_phase
        assert len(trained) == number
        assert found[Phase.UPLINK] == number * once[Phase.UPLINK]
        assert found[Phase.MODEL_UPLOAD] == once[Phase.MODEL_UPLOAD]


def test_only_modes_with_a_loss_of_their_own_skip_uploads() -> None:
    scenario = family_scenario("resnet", modes=["fo", "fo-local"])
    part = family_model(scenario).client_part(2)
    with pytest.raises(ContractError, match="needs the server in every step"):
        make_estimator("fo", part, scenario.training, upload_every=2)
    with pytest.raises(ContractError, match="no auxiliary head"):
        make_estimator("fo-local", part, scenario.training)


def test_heads_change_no_weight_of_the_model_and_come_from_the_seed_and_the_cut() -> None:
    plain, local = (family_model(family_scenario("vit", modes=modes)) for modes in (["fo"], ["fo", *LOCAL]))
    state = plain.whole.snapshot()
    others = {name: tensor for name, tensor in local.whole.snapshot().items() if name not in state}
    assert all(torch.equal(tensor, local.whole.snapshot()[name]) for name, tensor in state.items())
    assert others
    assert all(is_of_head(name) for name in others)
    weights = [tensor for name, tensor in others.items() if name.endswith("project.weight")]
    assert len(weights) == local.num_blocks - 1
    assert not torch.equal(weights[0], weights[1])
    again = family_model(family_scenario("vit", modes=["zo-local"])).whole.snapshot()
    assert all(torch.equal(tensor, again[name]) for name, tensor in others.items())


def test_global_random_numbers_stay_where_they_are() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    split_model(family_scenario("resnet", modes=["fo-local"]))
    assert torch.equal(torch.rand(3), expected)


def test_padding_does_not_count_in_the_mean() -> None:
    x = torch.randn(4, 6, 3)
    mask_BS = torch.arange(6) < torch.tensor([[6], [3], [1], [0]])
    found = pooled(x, mask_BS)
    noisy = pooled(torch.where(mask_BS.unsqueeze(-1), x, torch.randn(4, 6, 3)), mask_BS)
    torch.testing.assert_close(found, noisy)
    torch.testing.assert_close(found[1], x[1, :3].mean(0))
    assert (found[3] == 0).all()


def test_activations_that_no_head_is_known_for_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = family_scenario("vit", modes=["fo-local"])
    blocks = family_model(scenario).whole.ordered()
    monkeypatch.setattr(type(blocks[1]), "forward", lambda self, x, mask_BS: x.flatten(1).unsqueeze(-1)[:, None, None])
    from hybridsplit.runtime.split.local_heads import local_heads

    with pytest.raises(ScenarioError, match="leave fo-local and zo-local out"):
        local_heads(blocks, family_batch(scenario), scenario)


PLACES = [(2, "fo-local", 1), (2, "fo-local", 2), (2, "zo-local", 4), (2, "fo", 1), (3, "fo-local", 2), (7, "fo", 1)]


def case(*more: str) -> tuple[Scenario, list[Assignment]]:
    """Six clients; three have the head behind cut 2, one that behind cut 3."""
    keys = ["training.modes=[fo,fo-local,zo-local]", "training.local_loss.upload_every=[1,2,4]"]
    scenario = load_scenario(
        "quickstart", ["training.local_steps=4", "training.zeroth_order.directions=2", *keys, *more]
    )
    size = scenario.training.batch_size
    return scenario, [
        Assignment(c.id, Placement(cut=cut, mode=mode, batch_size=size, upload_every=q), c.data_weight, 1 << 30)
        for c, (cut, mode, q) in zip(scenario.expanded_clients(), PLACES, strict=True)
    ]


def trained(scenario: Scenario, assignments: list[Assignment], rounds: int, **more: Any) -> TrainingResult:
    with InlineExecutor(scenario) as executor:
        return train(scenario, assignments, executor, rounds, **more)


def assert_same(one: TrainingResult, other: TrainingResult) -> None:
    assert one.records == other.records
    assert [name for name, tensor in one.state.items() if not torch.equal(tensor, other.state[name])] == []


def test_a_head_is_averaged_over_its_cut_and_no_other() -> None:
    """Weighted by data and by what the mode's step is worth; heads that nobody has keep their first bits."""
    scenario, assignments = case()
    start = split_model(scenario).whole.snapshot()
    whole = trained(scenario, assignments, 1)
    heads = [name for name in start if is_of_head(name)]
    moved = {name.split(".")[1] for name in heads if not torch.equal(whole.state[name], start[name])}
    assert moved == {"1", "2"}
    alone = [trained(scenario, [replace(a, data_weight=1.0)], 1).state for a in assignments[:5]]
    for name in heads:
        if name.startswith("heads.2."):
            assert torch.equal(whole.state[name], alone[4][name])
    name = "heads.1.project.weight"
    part = split_model(scenario).client_part(2, "zo-local")
    estimate = 2 / (part.num_trainable + 1)
    weights = [a.data_weight * worth for a, worth in zip(assignments[:3], (1.0, 1.0, estimate), strict=True)]
    mean = sum(w * state[name].double() for w, state in zip(weights, alone, strict=False)) / sum(weights)
    torch.testing.assert_close(whole.state[name], mean.float(), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("optimizer", ["momentum", pytest.param("adamw", marks=pytest.mark.slow)])
def test_a_run_goes_on_to_the_same_bits(optimizer: str, tmp_path: Path) -> None:
    """With state that is kept, of parts and heads, exact and estimated."""
    settings = {
        "momentum": '{"name": "sgd", "learning_rate": 0.01, "momentum": 0.9}',
        "adamw": '{"name": "adamw", "learning_rate": 0.001}',
    }[optimizer]
    scenario, assignments = case(
        "training.optimizer_state=keep", f"training.optimizer={settings}", f"training.zeroth_order.optimizer={settings}"
    )
    whole = trained(scenario, assignments, 3)
    trained(scenario, assignments, 1, checkpoint_folder=tmp_path)
    assert_same(whole, trained(scenario, assignments, 3, checkpoint_folder=tmp_path, resume=True))


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("server", ["per-client", "shared-mean", "shared-sequential"])
def test_ray_gives_the_bits_of_one_process(server: str) -> None:
    shared = [] if server == "per-client" else ["training.local_loss.upload_every=[1]"]
    scenario, assignments = case(f"training.server_model={server}", *shared)
    if shared:
        once = [replace(a, placement=a.placement.model_copy(update={"upload_every": 1})) for a in assignments]
        assignments = once
    inline = trained(scenario, assignments, 2)
    with RayExecutor(scenario, 2) as cluster:
        assert_same(inline, train(scenario, assignments, cluster, 2))
    heads = [name for name in inline.state if is_of_head(name)]
    assert heads


def test_shared_servers_leave_heads_to_the_clients() -> None:
    """A shared server holds the blocks above the lowest cut, and the heads between them are none of its own."""
    scenario, assignments = case("training.server_model=shared-mean", "training.local_loss.upload_every=[1]")
    once = [replace(a, placement=a.placement.model_copy(update={"upload_every": 1})) for a in assignments]
    start = split_model(scenario).whole.snapshot()
    state = trained(scenario, once, 1).state
    moved = {name.split(".")[1] for name in start if is_of_head(name) and not torch.equal(state[name], start[name])}
    assert moved == {"1", "2"}
