"""Optimizers of exact and estimated gradients: clipping, state across rounds, and the server's replay."""

from __future__ import annotations

import itertools
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import nn

from hybridsplit.runtime.estimators import make_estimator
from hybridsplit.runtime.estimators.scalar_steps import ScalarDescent, ScalarStep, gradient_coefficients
from hybridsplit.runtime.noise import NoiseKey, Perturbed, estimated_gradient
from hybridsplit.runtime.session.steps import run_step
from hybridsplit.runtime.split.optimizers import PartOptimizer, make_optimizer
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.errors import ContractError
from hybridsplit.scenarios.schema import Sgd, ZerothOrder
from hybridsplit.testing.families import FAMILIES, family_batch, family_scenario
from tests.modes import EXACT_MODES, ZEROTH_ORDER_MODES
from tests.runtime.steps import KEY, OPTIMIZERS, Sides
from tests.tiers import one_row_of

LOUD = {name: {**settings, "learning_rate": 1e-2} for name, settings in OPTIMIZERS.items()}


def keys(count: int) -> list[NoiseKey]:
    return [NoiseKey(0, "client", "pi-0", 0, step) for step in range(count)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_sgd_has_the_bits_of_torch(weight_decay: float, dtype: torch.dtype) -> None:
    settings = Sgd(name="sgd", learning_rate=0.1, weight_decay=weight_decay)
    model = nn.Sequential(nn.Linear(7, 5), nn.Tanh(), nn.Linear(5, 3)).to(dtype)
    theirs = deepcopy(model)
    model[0].bias.requires_grad_(False)
    theirs[0].bias.requires_grad_(False)
    own = PartOptimizer(settings, [(name, p) for name, p in model.named_parameters() if p.requires_grad])
    other = make_optimizer(settings, [p for p in theirs.parameters() if p.requires_grad])
    for seed in range(3):
        x = torch.randn(4, 7, generator=torch.Generator().manual_seed(seed)).to(dtype)
        for each in (model, theirs):
            each(x).square().sum().backward()
        own.step()
        other.step()
        other.zero_grad()
        assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), theirs.parameters(), strict=True))
    assert own.state() == {}


@pytest.mark.parametrize(
    ("optimizer", "distribution"),
    one_row_of(4, itertools.product(OPTIMIZERS, ["gaussian", "sphere", "rademacher"])),
)
@pytest.mark.parametrize("mode", sorted(ZEROTH_ORDER_MODES))
def test_replaying_the_scalars_gives_the_clients_own_bits(mode: Mode, optimizer: str, distribution: str) -> None:
    """From the round's start, state mirrored; over families, embeddings with touched rows among them."""
    for family in FAMILIES if (optimizer, distribution) in {("sgd", "gaussian"), ("adamw", "sphere")} else ["bert"]:
        check_replay(family, mode, optimizer, distribution)


def check_replay(family: str, mode: Mode, optimizer: str, distribution: str, dtype: str = "float32") -> None:
    settings = {"directions": 2, "distribution": distribution, "optimizer": LOUD[optimizer]}
    sides = Sides.of(family, dtype=dtype, zeroth_order=settings)
    part, server, estimator = sides.part(), sides.server(), sides.estimator(mode)
    steps = []
    for key in keys(3):
        result = run_step(estimator, family_batch(sides.scenario, seed=key.step), server, key, None)
        assert result.scalars is not None
        steps.append(result.scalars.on_server())
    trained = part.snapshot()
    part.load(sides.start)
    replay = ScalarDescent(part.trainable(), sides.scenario.training.zeroth_order.optimizer)
    for step in steps:
        replay.step(step)
    for name, tensor in part.exchanged().items():
        assert torch.equal(tensor, trained[name]), name
        assert "running" in name or not torch.equal(tensor, sides.start[name]), name
    mirrored, own = replay.state(), estimator.optimizer_state()
    assert mirrored.keys() == own.keys()
    assert all(torch.equal(mirrored[name], own[name]) for name in own)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("mode", sorted(Mode))
def test_two_rounds_with_state_kept_are_one_of_twice_the_steps(mode: Mode, optimizer: str) -> None:
    """Bit for bit, on both sides, through names alone."""
    for family in ("opt-classes", "resnet"):
        settings = {"optimizer": LOUD[optimizer], "zeroth_order": {"directions": 1, "optimizer": LOUD[optimizer]}}
        sides = Sides.of(family, modes=[mode], **settings)
        finals = []
        for steps_a_round in (4, 2):
            sides.restart()
            kept: tuple[dict[str, torch.Tensor], ...] = ({}, {})
            for first in range(0, 4, steps_a_round):
                server, estimator = sides.server(), sides.estimator(mode)
                estimator.load_optimizer_state(kept[0])
                server.load_optimizer_state(kept[1])
                for key in keys(4)[first : first + steps_a_round]:
                    run_step(estimator, sides.batch, server, key, None)
                estimator.close()
                kept = estimator.optimizer_state(), server.optimizer_state()
            finals.append(sides.model.whole.snapshot() | kept[0] | kept[1])
        assert finals[0].keys() == finals[1].keys()
        for name, tensor in finals[0].items():
            assert torch.equal(tensor, finals[1][name]), name
        has_state = optimizer in ("momentum", "adamw")
        assert bool(kept[1]) == has_state
        assert bool(kept[0]) == (has_state and mode != Mode.FROZEN)
        if optimizer == "adamw" and kept[0]:
            assert {name.rsplit("/", 1)[1] for name in kept[0]} == {"step", "exp_avg", "exp_avg_sq"}
            assert {name.rsplit("/", 1)[0] for name in kept[0]} == {name for name, _ in sides.part(mode).trainable()}


@pytest.mark.parametrize("optimizer", ["momentum", "adamw"])
def test_a_zeroth_order_server_keeps_its_state_too(optimizer: str) -> None:
    zeroth_order = {"directions": 2, "optimizer": LOUD[optimizer]}
    sides = Sides.of("vit", modes=["zo-loss"], server_gradient="zeroth-order", zeroth_order=zeroth_order)
    server = sides.server()
    run_step(sides.estimator(Mode.ZO_LOSS), sides.batch, server, KEY, None)
    state = server.optimizer_state()
    assert {name.rsplit("/", 1)[0] for name in state} == {name for name, _ in server.part.trainable()}
    other = sides.server()
    other.load_optimizer_state(state)
    assert all(torch.equal(tensor, state[name]) for name, tensor in other.optimizer_state().items())


def test_a_loaded_state_is_a_copy_and_foreign_names_are_passed_over() -> None:
    weight = nn.Parameter(torch.ones(3))
    settings = family_scenario("vit", optimizer=LOUD["momentum"]).training.optimizer
    optimizer = PartOptimizer(settings, [("a", weight)])
    state = {"a/momentum_buffer": torch.ones(3), "ab/momentum_buffer": torch.zeros(5)}
    optimizer.load_state(state)
    weight.grad = torch.ones(3)
    optimizer.step()
    assert torch.equal(state["a/momentum_buffer"], torch.ones(3))
    assert torch.equal(optimizer.state()["a/momentum_buffer"], torch.full((3,), 1.9))
    assert list(optimizer.state()) == ["a/momentum_buffer"]
    optimizer.load_state({})
    assert optimizer.state() == {}


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name != "sgd"])
def test_a_step_with_state_is_the_optimizers_on_the_estimated_gradient(name: str) -> None:
    """Whole embeddings: rows that are not touched have gradient zero, and still feel momentum and decay."""
    sides = Sides.of("bert", zeroth_order={"directions": 3, "optimizer": LOUD[name]})
    settings, part = sides.scenario.training.zeroth_order.optimizer, sides.part()
    with torch.no_grad(), Perturbed(part.trainable(), KEY, 0, 0.0) as recorder:
        part(sides.batch.inputs, None)
    copies = {n: nn.Parameter(p.detach().clone()) for n, p in part.trainable()}
    descent, plain = ScalarDescent(part.trainable(), settings), make_optimizer(settings, copies.values())
    table = next(n for n in copies if "word_embeddings" in n)
    untouched = torch.ones(96, dtype=torch.bool)
    untouched[sides.batch.inputs.flatten()] = False
    for key in keys(2):
        for n, copy in copies.items():
            copy.grad = estimated_gradient(n, copy, key, [0.5, -1.0, 2.0], recorder.rows.get(n)).detach()
        assert copies[table].grad is not None
        assert not bool(copies[table].grad[untouched].any())
        plain.step()
        descent.step(ScalarStep(key, [0.5, -1.0, 2.0], recorder.rows))
    for n, parameter in part.trainable():
        assert torch.equal(parameter, copies[n]), n
        assert parameter.grad is None
    decays = name in ("decay", "adamw")
    assert torch.equal(dict(part.trainable())[table][untouched], sides.start[table][untouched]) != decays


def test_plain_descent_and_the_optimizer_path_agree() -> None:
    """Moving along directions is a step of SGD on the estimated gradient."""
    sides = Sides.of("opt-causal", zeroth_order={"directions": 3})
    part = sides.part()
    with torch.no_grad(), Perturbed(part.trainable(), KEY, 0, 0.0) as recorder:
        part(sides.batch.inputs, None)
    coefficients = [0.5, -1.0, 2.0]
    gradients = {n: estimated_gradient(n, p, KEY, coefficients, recorder.rows.get(n)) for n, p in part.trainable()}
    settings = sides.scenario.training.zeroth_order.optimizer
    ScalarDescent(part.trainable(), settings).step(ScalarStep(KEY, coefficients, recorder.rows))
    for name, parameter in part.trainable():
        expected = sides.start[name] - settings.learning_rate * gradients[name]
        torch.testing.assert_close(parameter.detach(), expected, rtol=1e-6, atol=1e-7)


def test_derivatives_are_cut_to_their_limit_and_nan_stays() -> None:
    settings = ZerothOrder(directions=4, clip_derivative=2.0)
    assert gradient_coefficients([1.0, -5.0, float("inf"), 2.0], settings) == [0.25, -0.5, 0.5, 0.5]
    assert str(gradient_coefficients([float("nan")], settings)) == "[nan]"
    assert gradient_coefficients([8.0], ZerothOrder()) == [8.0]


@pytest.mark.parametrize("mode", sorted(ZEROTH_ORDER_MODES))
def test_clipping_limits_what_a_step_moves(mode: Mode) -> None:
    free, tight = (Sides.of("vit", zeroth_order={"directions": 3, **clip}) for clip in ({}, {"clip_derivative": 1e-3}))
    assert float(free.derivatives(mode).abs().min()) > 1e-3
    assert tight.derivatives(mode).abs().tolist() == pytest.approx([1e-3] * 3)
    assert torch.equal(tight.derivatives(mode).sign(), free.derivatives(mode).sign())


def gradients_of_a_step(mode: Mode, clip: dict[str, Any] | None) -> list[dict[str, torch.Tensor]]:
    """What a step of SGD with learning rate 1 moved, on the client and on the server."""
    sides = Sides.of(
        "vit",
        modes=["fo", "fo-recompute"] if clip is None or clip.get("over") == "parameter" else ["fo"],
        optimizer={"name": "sgd", "learning_rate": 1.0},
        gradient_clip=clip,
    )
    server = sides.server()
    sides.step(mode, server)
    return [{n: sides.start[n] - p.detach() for n, p in part.trainable()} for part in (sides.part(), server.part)]


def norm(gradients: dict[str, torch.Tensor]) -> float:
    return sum(float(g.double().square().sum()) for g in gradients.values()) ** 0.5


@pytest.mark.parametrize("mode", sorted(EXACT_MODES))
def test_gradients_are_clipped_over_the_part_or_the_parameter(mode: Mode) -> None:
    free = gradients_of_a_step(mode, None)
    over_parameter = gradients_of_a_step(mode, {"norm": 0.05, "over": "parameter"})
    for clipped, plain in zip(over_parameter, free, strict=True):
        # The client's λ comes from before the server's update, so that clipping there changes nothing here.
        for name, gradient in clipped.items():
            expected = min(0.05, float(plain[name].norm()))
            assert float(gradient.norm()) == pytest.approx(expected, rel=1e-3, abs=1e-6), name
    if mode == Mode.FO:
        for clipped, plain in zip(gradients_of_a_step(mode, {"norm": 0.05}), free, strict=True):
            assert norm(plain) > 0.1
            assert norm(clipped) == pytest.approx(0.05, rel=1e-3)
            scale = norm(clipped) / norm(plain)
            for name, gradient in clipped.items():
                torch.testing.assert_close(gradient, scale * plain[name], rtol=1e-3, atol=1e-6)
    loose = gradients_of_a_step(mode, {"norm": 1e6, "over": "parameter"})
    for clipped, plain in zip(loose, free, strict=True):
        assert all(torch.equal(gradient, plain[name]) for name, gradient in clipped.items())


def test_recomputation_refuses_to_clip_by_the_part() -> None:
    sides = Sides.of("vit", modes=["fo"], gradient_clip={"norm": 1.0})
    with pytest.raises(ContractError, match="over: parameter"):
        make_estimator(Mode.FO_RECOMPUTE, sides.part(), sides.scenario.training)


def test_the_server_has_an_optimizer_of_its_own() -> None:
    """The client's part moves as without it, the server's as under it."""
    base, other = (Sides.of("vit", optimizer=LOUD["sgd"], **more) for more in ({}, {"server_optimizer": LOUD["adamw"]}))
    same = Sides.of("vit", optimizer=LOUD["adamw"])
    states = []
    for sides in (base, other, same):
        sides.step(Mode.FO)
        states.append(sides.model.whole.snapshot())
    for name in states[0]:
        is_client = int(name.split(".")[1]) < 2
        assert torch.equal(states[1][name], states[0 if is_client else 2][name]), name
