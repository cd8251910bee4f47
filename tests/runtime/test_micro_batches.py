"""Batches in parts: their bits by identity with relays and autograd, and memory and bytes by measurement."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from hybridsplit.profiler.memory import client_memory, server_memory
from hybridsplit.profiler.memory.blocks import chain_memory
from hybridsplit.profiler.memory.levels import recompute_levels
from hybridsplit.profiler.memory.recompute import RecomputePlanner
from hybridsplit.profiler.micro_batches import check_statistics
from hybridsplit.profiler.models import traced_model
from hybridsplit.runtime.estimators import make_estimator
from hybridsplit.runtime.estimators.micro_batches import in_micro_batches
from hybridsplit.runtime.noise import NoiseKey
from hybridsplit.runtime.session.client import run_client_round
from hybridsplit.runtime.session.server import ServerSide
from hybridsplit.runtime.split.link import Batch
from hybridsplit.runtime.split.live_bytes import LiveBytes
from hybridsplit.runtime.split.micro_batches import parts_of
from hybridsplit.runtime.split.parts import State, task_loss
from hybridsplit.runtime.split.reports import ClientRound
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.contracts.placement import Placement
from hybridsplit.scenarios.errors import ContractError, ScenarioError
from hybridsplit.scenarios.modes import MODES
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.testing.families import FAMILIES, family_batch, family_model, family_scenario
from tests.runtime.relays.chains import stages_at, trained
from tests.tiers import one_of

OPTIMIZERS: list[dict[str, Any]] = [
    {"name": "sgd", "learning_rate": 0.1},
    {"name": "sgd", "learning_rate": 0.05, "momentum": 0.9, "weight_decay": 0.01},
    {"name": "adamw", "learning_rate": 0.01},
]
TEXT = frozenset({"bert", "opt-causal", "llama"})
"""Families that get an attention mask."""


def has_batch_norm(family: str) -> bool:
    """Whether micro-batches of a family are refused."""
    try:
        check_statistics(traced_model(family_scenario(family)), "here", [2])
    except ScenarioError:
        return True
    return False


ABLE = [family for family in FAMILIES if not has_batch_norm(family)]


def batches_of(family: str, scenario: Scenario, *, padded: bool = True) -> Callable[[int], Batch]:
    """The batch of every step, padded where the family is text."""
    return lambda step: family_batch(scenario, padded=padded and family in TEXT, seed=step)


def one_round(
    family: str, mode: str, parts: int, cut: int = 2, *, measure: bool = False, recompute: str = "", **training: Any
) -> ClientRound:
    """A round of a client from the same start and on the same batches, whatever the rest."""
    scenario = family_scenario(family, **{"optimizer": OPTIMIZERS[0], "local_steps": 3, **training})
    model = family_model(scenario)
    placement = Placement(
        cut=cut, mode=mode, batch_size=scenario.training.batch_size, micro_batches=parts, recompute=recompute
    )
    return run_client_round(
        model, model.whole.snapshot(), Assignment("pi-0", placement, 1.0, 1 << 40),
        batches_of(family, scenario, padded=not measure), scenario, 0, measure_memory=measure,
    )  # fmt: skip


def assert_same(first: State, second: State) -> None:
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=["sgd", "momentum", "adamw"])
@pytest.mark.parametrize("family", one_of(3, ABLE))
def test_bits_are_those_of_a_model_that_is_cut_several_times(family: str, optimizer: dict[str, Any]) -> None:
    """A client and one server, as relays train them; and block by block with the optimizer inside backward."""
    if family == "convnext":
        pytest.skip("its blocks hand on tensors that no link carries as they are")
    scenario = family_scenario(family, local_steps=3, optimizer=optimizer)
    model, draw = family_model(scenario), batches_of(family, scenario)
    start = model.whole.snapshot()
    batches = [draw(step) for step in range(3)]
    for parts in (2, 4):
        wanted = trained(model, start, scenario, stages_at((2,), model.num_blocks, parts, (parts, 1)), batches)
        for mode in ("fo", "fo-recompute"):
            found = one_round(family, mode, parts, optimizer=optimizer)
            assert_same(found.state, wanted.state)
            assert found.report.train_loss == wanted.report.train_loss


@pytest.mark.parametrize("parts", [2, 4, 8])
@pytest.mark.parametrize("family", ["vit", "opt-causal", "bert"])
def test_the_gradient_is_that_of_the_whole_batch_to_rounding(family: str, parts: int) -> None:
    """One step of plain SGD moves the weights by the gradient: against autograd of the uncut model."""
    scenario = family_scenario(family, local_steps=1, optimizer=OPTIMIZERS[0])
    model, batch = family_model(scenario), batches_of(family, scenario)(0)
    start = model.whole.snapshot()
    whole = model.whole
    whole.train()
    task_loss(whole(batch.inputs, batch.mask_BS), batch.labels, scenario.model.loss_kind).backward()  # type: ignore[no-untyped-call]
    wanted: dict[str, Tensor] = {name: p.grad for name, p in whole.named_parameters() if p.grad is not None}
    for mode in ("fo", "fo-recompute"):
        found = one_round(family, mode, parts, local_steps=1).state
        for name, gradient in wanted.items():
            torch.testing.assert_close((start[name] - found[name]) / 0.1, gradient, rtol=1e-3, atol=1e-6)


def test_one_part_is_the_whole_batch_and_two_are_other_bits() -> None:
    for mode in ("fo", "fo-recompute"):
        states = [one_round("vit", mode, parts).state for parts in (1, 2, 4)]
        assert_same(states[0], one_round("vit", mode, 1, overlap={"micro_batches": [1, 2]}).state)
        name = next(iter(states[0]))
        assert not torch.equal(states[0][name], states[1][name])
        assert not torch.equal(states[1][name], states[2][name])


@pytest.mark.parametrize("family", ["vit", "opt-causal", "bert"])
def test_the_same_bytes_cross_in_parts(family: str) -> None:
    whole = one_round(family, "fo", 1).report.bytes_by_phase
    for mode, parts in (("fo", 2), ("fo-recompute", 4)):
        assert one_round(family, mode, parts).report.bytes_by_phase == whole


@pytest.mark.parametrize("mode", ["fo", "fo-recompute"])
def test_each_parameter_is_clipped_by_the_norm_of_the_sum(mode: str) -> None:
    """So tight that the norm of every part would be clipped as well: the step has the length of the clip."""
    clip = {"norm": 1e-3, "over": "parameter"}
    scenario = family_scenario("vit", local_steps=1, gradient_clip=clip)
    start = family_model(scenario).whole.snapshot()
    found = one_round("vit", mode, 4, local_steps=1, gradient_clip=clip).state
    moved = [float((found[name] - start[name]).norm()) / 0.1 for name in found]
    assert max(moved) <= 1e-3 * 1.01
    assert sum(length > 0.9e-3 for length in moved) > len(moved) / 2


@pytest.mark.parametrize("optimizer", [OPTIMIZERS[0], OPTIMIZERS[2]], ids=["sgd", "adamw"])
@pytest.mark.parametrize("mode", ["fo", "fo-recompute"])
@pytest.mark.parametrize("family", one_of(4, ABLE))
def test_predicted_memory_is_the_measured_one(family: str, mode: str, optimizer: dict[str, Any]) -> None:
    """Shapes against a real run, within 0.1 % or two scalars."""
    scenario = family_scenario(family, optimizer=optimizer, local_steps=3)
    traced = traced_model(scenario)
    for cut, parts in ((1, 2), (3, 2), (3, 4)):
        found = one_round(family, mode, parts, cut, measure=True, optimizer=optimizer).report.peak_bytes
        predicted = client_memory(traced, scenario, cut, mode, micro_batches=parts).peak_bytes
        assert predicted == pytest.approx(found, rel=0.001, abs=8), (cut, parts)


def test_every_recompute_order_gives_the_same_bits_at_its_own_peak() -> None:
    scenario = family_scenario("opt-causal", local_steps=3)
    traced, chain = traced_model(scenario), chain_memory(traced_model(scenario), scenario)
    work = [1.0] * traced.model.num_blocks
    levels = recompute_levels(chain, RecomputePlanner(chain, work), work, 3, 3)
    assert len({level.recompute for level in levels}) > 1
    rounds = [one_round("opt-causal", "fo-recompute", 2, 3, measure=True, recompute=one.recompute) for one in levels]
    for level, outcome in zip(levels, rounds, strict=True):
        assert_same(outcome.state, one_round("opt-causal", "fo", 2, 3, measure=True).state)
        predicted = client_memory(traced, scenario, 3, "fo-recompute", level.recompute, micro_batches=2).peak_bytes
        assert predicted == pytest.approx(outcome.report.peak_bytes, rel=0.001, abs=8)


@pytest.mark.parametrize("optimizer", [OPTIMIZERS[0], OPTIMIZERS[2]], ids=["sgd", "adamw"])
@pytest.mark.parametrize("family", one_of(4, ABLE))
def test_predicted_server_memory_is_that_of_one_part_at_a_time(family: str, optimizer: dict[str, Any]) -> None:
    scenario = family_scenario(family, optimizer=optimizer, local_steps=2)
    traced, model, batch = traced_model(scenario), family_model(scenario), batches_of(family, scenario, padded=False)(0)
    peaks = []
    for parts in (1, 2, 4):
        part = model.server_part(2)
        server = ServerSide(part, scenario.training, scenario.model.loss_kind, micro_batches=parts)
        meter = LiveBytes()
        meter.track([*part.parameters(), *part.buffers(), batch.labels])
        for step in range(2):
            server.begin_step(NoiseKey(0, "client", "pi-0", 0, step))
            for piece in parts_of(batch, parts):
                with torch.no_grad():
                    smashed = model.client_part(2)(piece.inputs, piece.mask_BS)
                meter.track([smashed])
                with meter:
                    server.exact(smashed, piece, wants_gradient=True)
                del smashed
        predicted = server_memory(traced, scenario, 2, "fo", micro_batches=parts).peak_bytes
        slack = 0 if batch.mask_BS is None else batch.mask_BS.nbytes
        assert predicted == pytest.approx(meter.peak_bytes, rel=0.01, abs=256 + slack)
        peaks.append(predicted)
    assert peaks == sorted(peaks, reverse=True)


@pytest.mark.parametrize("mode", [mode for mode, facts in MODES.items() if not facts.divides_batches])
def test_other_modes_are_refused(mode: str) -> None:
    scenario = family_scenario("bert", modes=[mode])
    estimator = make_estimator(mode, family_model(scenario).client_part(2, mode), scenario.training)
    with pytest.raises(ContractError, match="cannot be divided here"):
        in_micro_batches(estimator, mode, 2, scenario.model.loss_kind)


def test_statistics_over_a_batch_refuse_its_parts() -> None:
    traced = traced_model(family_scenario("resnet"))
    with pytest.raises(ScenarioError, match=r"BatchNorm.*use micro_batches"):
        check_statistics(traced, "training.overlap.micro_batches", [1, 2])
    check_statistics(traced, "training.overlap.micro_batches", [1])
