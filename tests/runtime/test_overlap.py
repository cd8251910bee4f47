"""Steps that overlap: what staleness does to the bits, by identity, and to memory, by measurement."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from hybridsplit.profiler.memory import client_memory
from hybridsplit.profiler.models import traced_model
from hybridsplit.runtime.estimators import make_estimator
from hybridsplit.runtime.estimators.overlapping import OverlappingSteps, overlapping
from hybridsplit.runtime.noise import NoiseKey
from hybridsplit.runtime.session.client import run_client_round
from hybridsplit.runtime.session.server import ServerSide
from hybridsplit.runtime.split.link import Batch
from hybridsplit.runtime.split.parts import State
from hybridsplit.runtime.split.reports import ClientRound
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.contracts.placement import Placement
from hybridsplit.scenarios.errors import ContractError
from hybridsplit.testing.families import FAMILIES, family_batch, family_model, family_scenario
from tests.tiers import one_of

STEPS = 5
WAYS = [("stash", "fo"), ("current", "fo"), ("current", "fo-recompute"), ("current", "zo-projection")]
OPTIMIZERS: list[dict[str, Any]] = [
    {"name": "sgd", "learning_rate": 0.1},
    {"name": "sgd", "learning_rate": 0.05, "momentum": 0.9, "weight_decay": 0.01},
    {"name": "adamw", "learning_rate": 0.01},
]

RATE_OF_NOTHING = {"name": "sgd", "learning_rate": 1e-30}
STILL: dict[str, Any] = {
    "optimizer": RATE_OF_NOTHING, "server_optimizer": OPTIMIZERS[0], "zeroth_order": {"optimizer": RATE_OF_NOTHING},
}  # fmt: skip


def one_round(
    family: str, rule: str, mode: str, staleness: int, cut: int = 2, *, measure: bool = False, **training: Any
) -> ClientRound:
    """A round of a client from the same start and on the same batches, whatever the rest."""
    settings = {"optimizer": OPTIMIZERS[0], "local_steps": STEPS, **training}
    scenario = family_scenario(family, overlap={"staleness": [0, 1, 2, 3], "gradient": rule}, **settings)
    model = family_model(scenario)
    placement = Placement(cut=cut, mode=mode, batch_size=scenario.training.batch_size, staleness=staleness)
    return run_client_round(
        model, model.whole.snapshot(), Assignment("pi-0", placement, 1.0, 1 << 40),
        lambda step: family_batch(scenario, seed=step), scenario, 0, measure_memory=measure,
    )  # fmt: skip


def assert_same(first: State, second: State) -> None:
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def by_hand(family: str, staleness: int, optimizer: dict[str, Any], *, current: bool) -> tuple[State, list[float]]:
    """The order and the gradients as they are defined, with every version of the weights kept in a list."""
    scenario = family_scenario(family, optimizer=optimizer)
    model = family_model(scenario)
    part, server = model.client_part(2), ServerSide(model.server_part(2), scenario.training, scenario.model.task)
    estimator = make_estimator("fo", part, scenario.training)
    versions, answers, losses = [part.snapshot()], [], []
    for step in range(STEPS + staleness):
        if step < STEPS:
            batch = family_batch(scenario, seed=step)
            part.load(versions[max(0, step - staleness)])
            with torch.no_grad():
                h = part(batch.inputs, batch.mask_BS)
            gradient, loss = server.exact(h, batch, wants_gradient=True)
            answers.append(gradient)
            losses.append(loss)
        done = step - staleness
        if done >= 0:
            batch = family_batch(scenario, seed=done)
            at = done if current else max(0, done - staleness)
            part.load(versions[at])
            part(batch.inputs, batch.mask_BS).backward(answers[done])
            part.load(versions[done])
            estimator.update()
            versions.append(part.snapshot())
    return model.whole.snapshot(), losses


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=["sgd", "momentum", "adamw"])
@pytest.mark.parametrize("rule", ["stash", "current"])
@pytest.mark.parametrize("family", one_of(3, ["bert", "llama", "vit"]))
def test_forward_t_runs_at_version_t_minus_d(family: str, rule: str, optimizer: dict[str, Any]) -> None:
    for staleness in (1, 2):
        wanted, losses = by_hand(family, staleness, optimizer, current=rule == "current")
        found = one_round(family, rule, "fo", staleness, optimizer=optimizer)
        assert_same(found.state, wanted)
        assert found.report.train_loss == sum(losses) / STEPS


@pytest.mark.parametrize(("rule", "mode"), WAYS)
@pytest.mark.parametrize("family", FAMILIES)
def test_without_staleness_the_order_is_the_synchronous_one(family: str, rule: str, mode: str) -> None:
    """The steps that overlap, with nothing ahead, against the steps of a round as ever."""
    scenario = family_scenario(family, overlap={"staleness": [0], "gradient": rule})
    model = family_model(scenario)
    start = model.whole.snapshot()
    states = []
    for is_ahead in (False, True):
        model.whole.load(start)
        server = ServerSide(model.server_part(2), scenario.training, scenario.model.task)
        estimator = make_estimator(mode, model.client_part(2), scenario.training)
        ahead: OverlappingSteps | None = overlapping(estimator, mode, 0, rule) if is_ahead else None
        for step in range(3):
            batch, key = family_batch(scenario, seed=step), NoiseKey(0, "client", "pi-0", 0, step)
            if ahead is None:
                estimator.step(batch, server, key)
            else:
                ahead.forward(batch, server, key, lambda batch=batch: batch)  # type: ignore[misc]
                assert ahead.is_full
                ahead.backward()
        estimator.close()
        states.append(model.whole.snapshot())
    assert_same(*states)


@pytest.mark.parametrize(("rule", "mode"), WAYS)
@pytest.mark.parametrize("family", one_of(3, ["opt-causal", "bert", "vit"]))
def test_a_client_that_does_not_move_is_never_stale(family: str, rule: str, mode: str) -> None:
    """So small a rate that no weight changes: every staleness gives the same server, to the bit."""
    states = [one_round(family, rule, mode, staleness, **STILL).state for staleness in (0, 1, 2, 3)]
    for state in states[1:]:
        assert_same(state, states[0])


@pytest.mark.parametrize(("rule", "mode"), WAYS)
def test_staleness_changes_the_bits_of_a_client_that_moves(rule: str, mode: str) -> None:
    states = [one_round("bert", rule, mode, staleness).state for staleness in (0, 1, 2)]
    name = next(iter(states[0]))
    assert not torch.equal(states[0][name], states[1][name])
    assert not torch.equal(states[1][name], states[2][name])


class _SameAnswer:
    """A server that answers with the same gradient whatever comes."""

    trains_server = True

    def begin_step(self, key: NoiseKey) -> None: ...

    def exact(self, h: torch.Tensor, batch: Batch, *, wants_gradient: bool) -> tuple[torch.Tensor, float]:
        return torch.linspace(-1.0, 1.0, h.numel()).view(h.shape), 0.0


def test_rules_agree_where_the_gradient_does_not_depend_on_the_weights() -> None:
    """One linear block and a fixed λ: its gradient is linear in the input alone."""
    scenario = family_scenario("vit", overlap={"staleness": [2], "gradient": "stash"}, local_steps=4)
    model = family_model(scenario)
    start = model.whole.snapshot()
    states = []
    for rule in ("stash", "current"):
        model.whole.load(start)
        part = model.client_part(1)
        steps = overlapping(make_estimator("fo", part, scenario.training), "fo", 2, rule)
        for step in range(6):
            if step < 4:
                batch, key = family_batch(scenario, seed=step), NoiseKey(0, "client", "", 0, step)
                steps.forward(batch, _SameAnswer(), key, lambda batch=batch: batch)  # type: ignore[arg-type,misc]
            if step >= 2:
                steps.backward()
        states.append(part.snapshot())
    assert any(not torch.equal(states[0][name], start[name]) for name in states[0])
    assert_same(*states)


def test_statistics_of_a_batch_are_counted_once() -> None:
    """BatchNorm's running statistics are those of the forward passes, also where backward runs them again."""
    states = {rule: one_round("resnet", rule, "fo", 1).state for rule in ("stash", "current")}
    means = [name for name in states["stash"] if name.endswith(("num_batches_tracked", "running_mean"))]
    first = means[0]
    assert first.startswith("blocks.0")
    of_all = [one_round("resnet", rule, mode, d, **STILL).state for rule, mode in WAYS[:3] for d in (0, 1, 2)]
    for state in of_all[1:]:
        for name in means:
            assert torch.equal(state[name], of_all[0][name]), name


@pytest.mark.parametrize("optimizer", [OPTIMIZERS[0], OPTIMIZERS[2]], ids=["sgd", "adamw"])
@pytest.mark.parametrize(("rule", "mode"), WAYS)
@pytest.mark.parametrize("family", one_of(4, FAMILIES))
def test_predicted_memory_is_the_measured_one(family: str, rule: str, mode: str, optimizer: dict[str, Any]) -> None:
    """Shapes against a real run, within 0.1 % or two scalars, for rounds with and without a steady state."""
    for staleness, steps, cuts in ((1, 2, (1,)), (1, 5, (1, 3)), (2, 6, (3,))):
        settings = {
            "optimizer": optimizer,
            "local_steps": steps,
            "overlap": {"staleness": [staleness], "gradient": rule},
        }
        scenario = family_scenario(family, **settings)
        model, traced = family_model(scenario), traced_model(scenario)
        for cut in cuts:
            placement = Placement(cut=cut, mode=mode, batch_size=scenario.training.batch_size, staleness=staleness)
            outcome = run_client_round(
                model, model.whole.snapshot(), Assignment("pi-0", placement, 1.0, 1 << 40),
                lambda step, of=scenario: family_batch(of, seed=step), scenario, 0, measure_memory=True,  # type: ignore[misc]
            )  # fmt: skip
            predicted = client_memory(traced, scenario, cut, mode, staleness=staleness).peak_bytes
            assert predicted == pytest.approx(outcome.report.peak_bytes, rel=0.001, abs=8), (cut, staleness, steps)


def test_memory_grows_as_each_rule_says() -> None:
    peaks = {
        (rule, mode): [one_round("llama", rule, mode, d, measure=True).report.peak_bytes or 0 for d in (0, 1, 2)]
        for rule, mode in WAYS
    }
    for none, one, two in peaks.values():
        assert none < one < two
    grown = {way: two - none for way, (none, _, two) in peaks.items()}
    assert grown["stash", "fo"] > 5 * grown["current", "fo"]
    assert peaks["current", "fo-recompute"][2] < peaks["current", "fo"][2]


@pytest.mark.parametrize(("mode", "rule"), [("fo-recompute", "stash"), ("zo-loss", "current"), ("frozen", "stash")])
def test_other_modes_are_refused(mode: str, rule: str) -> None:
    scenario = family_scenario("bert", modes=[mode])
    estimator = make_estimator(mode, family_model(scenario).client_part(2), scenario.training)
    with pytest.raises(ContractError, match="cannot overlap here"):
        overlapping(estimator, mode, 1, rule)
