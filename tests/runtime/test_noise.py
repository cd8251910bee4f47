"""Directions: what they depend on, and what they do not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hybridsplit.runtime.estimators import make_estimator
from hybridsplit.runtime.noise import NoiseKey, Perturbed, TouchedRows
from hybridsplit.runtime.noise.directions import Distribution
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.testing.families import FAMILIES, family_batch, family_model, family_scenario
from tests.modes import ZEROTH_ORDER_MODES
from tests.runtime.steps import KEY, Sides

DISTRIBUTIONS: tuple[Distribution, ...] = ("gaussian", "sphere", "rademacher")


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("family", FAMILIES)
def test_moving_the_cut_changes_no_direction(family: str, distribution: Distribution) -> None:
    """Neither of weights nor of the embedding rows that a batch touches."""
    scenario = family_scenario(family)
    model, batch = family_model(scenario), family_batch(scenario)
    key = replace(KEY, distribution=distribution)
    drawn = []
    for cut in (1, 3):
        part = model.client_part(cut)
        recorder = Perturbed(part.trainable(), key, 0, 0.0)
        with torch.no_grad(), recorder:
            part(batch.inputs, batch.mask_BS)
        drawn.append({n: key.draw(n, 1, p, recorder.rows.get(n)) for n, p in part.trainable()})
    assert len(drawn[1]) > len(drawn[0]) > 0
    for name, noise in drawn[0].items():
        assert torch.equal(noise, drawn[1][name])


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_directions_differ_by_side_client_round_step_name_and_direction(distribution: Distribution) -> None:
    like = torch.empty(256)
    key = replace(KEY, distribution=distribution)
    base = key.draw("w", 0, like)
    others = [
        replace(key, seed=1).draw("w", 0, like),
        replace(key, side="server").draw("w", 0, like),
        replace(key, client="pi-1").draw("w", 0, like),
        replace(key, round=1).draw("w", 0, like),
        replace(key, step=1).draw("w", 0, like),
        key.draw("v", 0, like),
        key.draw("w", 1, like),
    ]
    for other in others:
        assert abs(float(torch.corrcoef(torch.stack([base, other]))[0, 1])) < 0.3
    assert torch.equal(base, key.draw("w", 0, like))


GOLDEN: dict[Distribution, list[float]] = {
    "gaussian": [0.007289, -1.161261, -0.249267],
    "sphere": [0.010629, -1.693444, -0.363501],
    "rademacher": [1.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0, 1.0, 1.0, -1.0, -1.0],
}


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_directions_are_a_golden_vector(distribution: Distribution) -> None:
    """The canonical generator's stream must not change between versions: runs would stop repeating."""
    assert KEY.direction_seed("blocks.0.weight", 0) == 565391319396966760
    noise = replace(KEY, distribution=distribution).draw("blocks.0.weight", 0, torch.empty(len(GOLDEN[distribution])))
    assert noise.tolist() == pytest.approx(GOLDEN[distribution], abs=1e-6)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_the_number_of_threads_changes_no_bit(distribution: Distribution) -> None:
    """On tensors large enough for PyTorch to split its work."""
    key = replace(KEY, distribution=distribution)
    rows = TouchedRows.of(torch.arange(4000) % 3500, num_rows=5000, padding_idx=7)
    before = torch.get_num_threads()
    drawn = []
    try:
        for threads in (1, 3, 8):
            torch.set_num_threads(threads)
            drawn.append((key.draw("w", 0, torch.empty(1237, 1025)), key.draw("e", 0, torch.empty(4000, 129), rows)))
    finally:
        torch.set_num_threads(before)
    for weights, table in drawn[1:]:
        assert torch.equal(weights, drawn[0][0])
        assert torch.equal(table, drawn[0][1])


@given(st.lists(st.integers(1, 9), min_size=1, max_size=3), st.sampled_from([torch.float32, torch.bfloat16]))
def test_shapes_and_sizes(shape: list[int], dtype: torch.dtype) -> None:
    like = torch.empty(shape, dtype=dtype)
    for distribution in DISTRIBUTIONS:
        noise = replace(KEY, distribution=distribution).draw("w", 0, like)
        assert noise.shape == like.shape
        assert noise.dtype == dtype
        if distribution == "rademacher":
            assert bool((noise.abs() == 1).all())
        if distribution == "sphere":
            assert float(noise.double().norm()) == pytest.approx(
                like.numel() ** 0.5, rel=1e-6 if dtype == torch.float32 else 5e-3
            )


def test_signs_are_even_and_independent_bit_by_bit() -> None:
    signs = replace(KEY, distribution="rademacher").draw("w", 0, torch.empty(64 * 4096)).view(-1, 64)
    assert float(signs.mean(0).abs().max()) < 5 / 64
    correlation = torch.corrcoef(signs.T) - torch.eye(64)
    assert float(correlation.abs().max()) < 6 / 64


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=20).map(torch.tensor),
    st.sampled_from([None, 1]),
    st.sampled_from(DISTRIBUTIONS),
    st.integers(10, 30),
)
def test_tokens_of_a_row_share_its_noise_and_padding_has_none(
    ids: torch.Tensor, padding_idx: int | None, distribution: Distribution, num_rows: int
) -> None:
    """In as many slots as there are tokens, or rows where those are fewer."""
    rows = TouchedRows.of(ids, num_rows, padding_idx)
    key, like = replace(KEY, distribution=distribution), torch.zeros(num_rows, 4)
    noise = key.draw("embed", 0, like, rows)
    assert noise.shape == (min(num_rows, len(ids)), 4)
    trained = [row for row in sorted(set(ids.tolist())) if row != padding_idx]
    assert sorted(rows.rows_M[rows.trained_M.bool()].tolist()) == trained
    assert not bool(noise[~rows.trained_M.bool()].any())
    table = like.index_add(0, rows.rows_M, noise)
    assert torch.equal(rows.of_tokens(noise), table[ids])
    assert bool(table[trained].all())
    if distribution == "sphere" and trained:
        # Over the distinct rows that are trained, however often they occur.
        assert float(noise.norm()) == pytest.approx((4 * len(trained)) ** 0.5, rel=1e-5)


class Listens(nn.Module):
    """Reads its parameters in every way a module may: as a view, by attribute, by keyword, in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 4))
        self.bias = nn.Parameter(torch.randn(4))
        self.token = nn.Parameter(torch.randn(1, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert self.weight.shape == (4, 4)
        assert self.weight.dtype == x.dtype
        y = x @ self.weight.T.contiguous()
        y = torch.add(y, other=self.bias)
        return torch.cat([y, self.token])


def test_whatever_reads_a_parameter_reads_what_stands_for_it() -> None:
    """As if the parameters themselves had been moved; within and after it they are as they were."""
    module, x = Listens(), torch.randn(3, 4)
    named = list(module.named_parameters())
    before = {name: parameter.detach().clone() for name, parameter in named}
    with torch.no_grad():
        with Perturbed(named, KEY, 2, 0.25):
            seen = module(x)
            assert isinstance(module.weight, nn.Parameter)
        for name, parameter in named:
            assert type(parameter) is nn.Parameter
            assert torch.equal(parameter, before[name])
            parameter.add_(KEY.draw(name, 2, parameter), alpha=0.25)
        assert torch.equal(seen, module(x))


def test_a_forward_that_fails_leaves_parameters_as_they_were() -> None:
    parameter = nn.Parameter(torch.ones(2))
    with pytest.raises(RuntimeError, match="size"), Perturbed([("w", parameter)], KEY, 0, 0.1):
        parameter @ torch.ones(3)
    assert type(parameter) is nn.Parameter
    assert not vars(parameter)
    assert torch.equal(parameter, torch.ones(2))


def test_the_innermost_substitution_of_a_parameter_counts() -> None:
    """Each draws for its own parameters, also in one operator; a parameter may be listed twice."""
    one, other = nn.Parameter(torch.randn(3)), nn.Parameter(torch.randn(3))
    inner_key = replace(KEY, step=7)
    moved = {
        (name, key): parameter.detach() + scale * key.draw(name, direction, parameter)
        for name, parameter in (("one", one), ("other", other))
        for key, direction, scale in ((KEY, 0, 0.5), (inner_key, 1, 0.25))
    }
    with torch.no_grad(), Perturbed([("one", one), ("other", other), ("one", one)], KEY, 0, 0.5):
        assert torch.equal(one + other, moved["one", KEY] + moved["other", KEY])
        with Perturbed([("other", other)], inner_key, 1, 0.25):
            assert torch.equal(one + other, moved["one", KEY] + moved["other", inner_key])
        assert torch.equal(one * other, moved["one", KEY] * moved["other", KEY])
    for parameter in (one, other):
        assert type(parameter) is nn.Parameter
        assert not vars(parameter)


def test_an_embedding_that_is_read_for_other_tokens_is_refused() -> None:
    table = nn.Parameter(torch.randn(9, 2))
    with torch.no_grad(), Perturbed([("table", table)], KEY, 0, 0.5):
        first = F.embedding(torch.tensor([[1, 2]]), table)
        assert torch.equal(F.embedding(torch.tensor([[1, 2]]), table), first)
        with pytest.raises(ScenarioError, match="table is read twice in one pass"):
            F.embedding(torch.tensor([[1, 3]]), table)


@pytest.mark.parametrize("num_rows", [3, 9])
def test_tokens_and_padding_may_be_named_in_any_way_that_pytorch_takes(num_rows: int) -> None:
    ids = torch.tensor([[0, 2, 1], [2, 2, 0]])
    usual = TouchedRows.of(ids, num_rows, num_rows - 1)
    for rows in (TouchedRows.of(ids.int(), num_rows, -1), TouchedRows.of(ids.flatten(), num_rows, num_rows - 1)):
        assert all(torch.equal(getattr(rows, name), getattr(usual, name)) for name in vars(usual))


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_prefix_directions_are_the_same_for_all_clients_and_nothing_else_changes(distribution: Distribution) -> None:
    like = torch.empty(40)
    key, other = (NoiseKey(0, "client", c, 2, 1, distribution, prefix_blocks=2) for c in ("pi-0", "pi-1"))
    for name in ("blocks.0.layer.weight", "blocks.1.weight"):
        assert torch.equal(key.draw(name, 0, like), other.draw(name, 0, like))
        assert not torch.equal(key.draw(name, 0, like), replace(key, round=3).draw(name, 0, like))
        assert not torch.equal(key.draw(name, 0, like), replace(key, prefix_blocks=0).draw(name, 0, like))
    for name in ("blocks.2.weight", "blocks.10.weight"):
        assert not torch.equal(key.draw(name, 0, like), other.draw(name, 0, like))
        assert torch.equal(key.draw(name, 0, like), replace(key, prefix_blocks=0).draw(name, 0, like))


@pytest.mark.parametrize("mode", sorted(ZEROTH_ORDER_MODES))
def test_steps_of_two_clients_move_the_prefix_along_the_same_directions(mode: Mode) -> None:
    sides = Sides.of("vit", 3, zo_prefix_blocks=2, modes=[str(mode)], zeroth_order={"directions": 1})
    moved = []
    for client in ("pi-0", "pi-1"):
        result = sides.step(mode, key=replace(KEY, client=client))
        assert result.scalars is not None
        (coefficient,) = result.scalars.coefficients
        moved.append({n: (p - sides.start[n]) / coefficient for n, p in sides.part().exchanged().items()})
    for name in moved[0]:
        alike = torch.allclose(moved[0][name], moved[1][name], rtol=0.05, atol=1e-5)
        assert alike == (int(name.split(".")[1]) < 2), name


@pytest.mark.parametrize("mode", sorted(ZEROTH_ORDER_MODES))
def test_a_trained_embedding_in_the_prefix_is_refused(mode: Mode) -> None:
    scenario = family_scenario("opt-causal", zo_prefix_blocks=1, modes=[str(mode)])
    with pytest.raises(ScenarioError, match=r"embed_tokens.*trainable: lora"):
        make_estimator(mode, family_model(scenario).client_part(2), scenario.training)
    lora = {"method": "lora", "rank": 2, "target_modules": ["q_proj"]}
    frozen = family_scenario("opt-causal", zo_prefix_blocks=2, modes=[str(mode)], trainable=lora)
    make_estimator(mode, family_model(frozen).client_part(2), frozen.training)
