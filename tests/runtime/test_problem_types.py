"""Regression and several labels at once: losses, gradients, scores, bytes and memory, against what others compute."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hybridsplit.orchestrator.studies.significance import mean_over_seeds
from hybridsplit.profiler.memory import client_memory, server_memory
from hybridsplit.profiler.model_profile import profile_model
from hybridsplit.profiler.models import traced_model
from hybridsplit.runtime.data.sources import load_dataset, whole_model
from hybridsplit.runtime.data.split_models import split_model
from hybridsplit.runtime.estimators import make_estimator
from hybridsplit.runtime.session.client import run_client_round
from hybridsplit.runtime.session.steps import run_step
from hybridsplit.runtime.split.link import CountingLink, Traffic
from hybridsplit.runtime.split.parts import SplitModel, is_of_head
from hybridsplit.runtime.worker.evaluation import R2, MacroF1
from hybridsplit.runtime.worker.model_server import ModelServer
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.placement import Placement
from hybridsplit.scenarios.scores import MULTI_LABEL, REGRESSION
from tests.modes import LOCAL_MODES
from tests.runtime.problem_types import OF_TRANSFORMERS, ORIGINS, PROBLEMS, first_batch, problem, sides
from tests.runtime.steps import KEY, exact_derivatives, in_double
from tests.tiers import one_of

SGD = {"name": "sgd", "learning_rate": 0.5}


@pytest.mark.parametrize(("kind", "outputs"), PROBLEMS)
@pytest.mark.parametrize("origin", one_of(3, OF_TRANSFORMERS))
def test_a_split_step_is_one_along_the_loss_of_transformers(
    tmp_path: Path, origin: str, kind: str, outputs: int
) -> None:
    """The uncut model computes its own loss by its configuration's ``problem_type``; every cut has its gradient."""
    scenario = problem(tmp_path, origin, kind, outputs, optimizer=SGD)
    whole, blocks = whole_model(scenario)
    assert whole.config.problem_type == kind
    batch = first_batch(scenario)
    words = {"pixel_values": batch.inputs} if batch.inputs.is_floating_point() else {"input_ids": batch.inputs}
    loss = whole.train()(**words, labels=batch.labels if outputs > 1 else batch.labels.squeeze(-1)).loss
    own = dict(SplitModel(blocks).whole.trainable())
    expected = dict(zip(own, torch.autograd.grad(loss, list(own.values()), allow_unused=True), strict=True))
    found = sides(scenario)
    for cut in range(1, found.model.num_blocks):
        found.cut = cut
        assert found.step(Mode.FO).loss == pytest.approx(loss.item(), rel=1e-5)
        moved = {name: found.start[name] - tensor.detach() for name, tensor in found.model.whole.trainable()}
        assert moved.keys() == expected.keys()
        for name, gradient in expected.items():
            step = torch.zeros(()) if gradient is None else 0.5 * gradient
            assert torch.allclose(moved[name], step.expand_as(moved[name]), rtol=1e-4, atol=1e-6), name


@pytest.mark.parametrize(("kind", "outputs"), PROBLEMS)
@pytest.mark.parametrize("mode", list(Mode))
def test_every_mode_moves_a_module_of_ones_own_as_autograd_says(
    tmp_path: Path, mode: Mode, kind: str, outputs: int
) -> None:
    """Exact modes by the gradient of the loss written out, estimates by its directional derivatives, frozen not."""
    settings = {"directions": 3, "radius": 1e-5}
    found = sides(problem(tmp_path, "own", kind, outputs, modes=[mode], optimizer=SGD, zeroth_order=settings))
    found.batch = in_double(found.batch, found.model)
    found.batch = type(found.batch)(found.batch.inputs, found.batch.labels.double())
    found.start = found.model.whole.snapshot()
    part = found.part(mode)
    whole_loss = F.mse_loss if kind == REGRESSION else F.binary_cross_entropy_with_logits
    if mode in (Mode.ZO_LOSS, Mode.ZO_PROJECTION):
        exact = exact_derivatives(found, KEY, server_trains=mode is Mode.ZO_PROJECTION)
        assert torch.allclose(found.derivatives(mode), exact, rtol=1e-3, atol=1e-5)
        return
    if mode is Mode.FROZEN:
        loss = found.step(mode).loss
        assert all(torch.equal(tensor, found.start[name]) for name, tensor in part.trainable())
        assert loss == pytest.approx(float(whole_loss(outputs_of(found), found.batch.labels)), abs=1.0)
        return
    h = part(found.batch.inputs)
    is_local = "local" in mode
    logits = part.head(h, None) if is_local else found.server().part(h)
    named = dict(part.trainable())
    gradients = torch.autograd.grad(whole_loss(logits, found.batch.labels), list(named.values()))
    result = found.step(mode)
    if mode is Mode.ZO_LOCAL:
        assert result.scalars is not None
        assert len(result.scalars.coefficients) == 3
        return
    for (name, parameter), gradient in zip(named.items(), gradients, strict=True):
        assert torch.allclose(found.start[name] - parameter, 0.5 * gradient, rtol=1e-6, atol=1e-9), name
    assert any(is_of_head(name) for name in named) == is_local


def outputs_of(found: object) -> torch.Tensor:
    with torch.no_grad():
        return found.model.whole(found.batch.inputs)  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize(("kind", "outputs"), PROBLEMS[1:])
@pytest.mark.parametrize(
    "origin", [pytest.param(one, marks=() if one == "own" else pytest.mark.slow) for one in ORIGINS]
)
def test_predicted_peaks_equal_the_measured_ones(tmp_path: Path, origin: str, kind: str, outputs: int) -> None:
    """Of clients in every mode and at every cut, auxiliary heads included, and of servers."""
    scenario = problem(tmp_path, origin, kind, outputs, modes=list(Mode), local_steps=2, zeroth_order={"directions": 3})
    traced, model = traced_model(scenario), split_model(scenario)
    start = model.whole.snapshot()
    for mode in Mode:
        for cut in range(1, model.num_blocks + 1):
            if cut == model.num_blocks and mode not in LOCAL_MODES:
                continue
            assignment = Assignment("pi-0", Placement(cut=cut, mode=mode, batch_size=8), 1.0, 1 << 40)
            done = run_client_round(
                model, start, assignment, lambda step: first_batch(scenario, step), scenario, 0, measure_memory=True
            )
            predicted = client_memory(traced, scenario, cut, mode).peak_bytes
            assert predicted == pytest.approx(done.report.peak_bytes, rel=0.001, abs=8), f"cut {cut}, {mode}"
    assert server_memory(traced, scenario, 1, Mode.FO).peak_bytes > 0


@pytest.mark.parametrize(("kind", "outputs"), PROBLEMS)
def test_labels_cross_in_single_precision(tmp_path: Path, kind: str, outputs: int) -> None:
    """Four bytes a number or label, in the profile and on air."""
    found = sides(problem(tmp_path, "own", kind, outputs, modes=["frozen"]))
    traffic = Traffic()
    estimator = make_estimator(Mode.FROZEN, found.part(), found.scenario.training)
    run_step(estimator, found.batch, CountingLink(found.server(), traffic), KEY, None)
    smashed = found.part()(found.batch.inputs)
    assert traffic.bytes_by_phase[Phase.UPLINK] == smashed.nbytes + 8 * outputs * 4
    assert profile_model(found.scenario).by_batch_size[8].label_bytes == 8 * outputs * 4


NUMBERS = st.floats(-1e3, 1e3, width=32)


@given(arrays(np.float32, (9, 2), elements=NUMBERS), arrays(np.float32, (9, 2), elements=NUMBERS))
def test_r2_is_that_of_scikit_learn(guess: np.ndarray, truth: np.ndarray) -> None:
    if (np.ptp(truth.astype(float), axis=0) < 1e-3).any():
        return  # the data are refused where a number does not vary
    score = R2()
    for rows in (slice(0, 4), slice(4, 9)):
        score.add(torch.from_numpy(guess[rows]), torch.from_numpy(truth[rows]))
    expected = sklearn.metrics.r2_score(truth.astype(float), guess.astype(float))
    assert score.value() == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(arrays(np.int64, (7, 3), elements=st.integers(-1, 0)), arrays(np.int64, (7, 3), elements=st.integers(0, 1)))
def test_macro_f1_is_that_of_scikit_learn(signs: np.ndarray, truth: np.ndarray) -> None:
    logits = torch.from_numpy(signs).float() + 0.5
    score = MacroF1()
    score.add(logits[:3], torch.from_numpy(truth[:3]).float())
    score.add(logits[3:], torch.from_numpy(truth[3:]).float())
    expected = sklearn.metrics.f1_score(truth, (logits > 0).int().numpy(), average="macro", zero_division=np.nan)
    assert score.value() == pytest.approx(0.0 if np.isnan(expected) else expected)


def test_a_score_stays_finite_where_predictions_do_not(tmp_path: Path) -> None:
    """A checkpoint and a table have no number for it."""
    score = R2()
    score.add(torch.tensor([[torch.inf], [0.0]]), torch.tensor([[1.0], [2.0]]))
    assert np.isfinite(score.value())
    least = score.value()
    assert least < -1e38
    over_seeds = mean_over_seeds([least, 0.5])
    assert over_seeds is not None
    assert over_seeds.low is not None
    assert np.isfinite(over_seeds.low)


@pytest.mark.parametrize(("kind", "outputs"), PROBLEMS[1:])
def test_the_test_data_are_scored_as_a_whole(tmp_path: Path, kind: str, outputs: int) -> None:
    """Over all batches, and not as a mean of the scores of batches."""
    scenario = problem(tmp_path, "own", kind, outputs)
    server = ModelServer(scenario)
    test = load_dataset(scenario).test
    with torch.no_grad():
        logits = split_model(scenario).whole(test.inputs).numpy()
    truth = test.labels.numpy()
    if kind == REGRESSION:
        expected = sklearn.metrics.r2_score(truth, logits)
    else:
        expected = sklearn.metrics.f1_score(truth, logits > 0, average="macro", zero_division=np.nan)
    assert kind in (REGRESSION, MULTI_LABEL)
    assert server.evaluate(server.initial_state()) == pytest.approx(expected, rel=1e-5)
