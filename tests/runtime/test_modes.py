"""Every training mode is right by identity (methods note, sections 1.6 and 2.8)."""

from __future__ import annotations

import functools
import math
from typing import Any

import pytest
import torch

from runtime.client import Assignment, ClientRound, run_client_round
from runtime.estimators import ESTIMATORS
from runtime.estimators.zo_loss import ZerothOrderLoss
from runtime.estimators.zo_projection import ZerothOrderProjection
from runtime.noise import NoiseKey, Perturbed, TouchedRows
from runtime.reliability import reliability
from runtime.server import ServerSide
from runtime.split import Part, SplitModel, task_loss
from runtime.wire import Batch
from scenarios.contracts.modes import LOCAL_MODES, ZEROTH_ORDER_MODES, Mode
from scenarios.contracts.phases import Phase
from scenarios.schema import Scenario, ZerothOrder
from tests.families import FAMILIES, family_batch, family_model, family_scenario

KEY = NoiseKey(0, "client", "pi-0", 0, 0)
NO_BATCH_NORM = [family for family in FAMILIES if not family.startswith("resnet")]


def one_round(
    scenario: Scenario, model: SplitModel, start: dict[str, torch.Tensor], cut: int, mode: Mode, batch: Batch
) -> ClientRound:
    assignment = Assignment("pi-0", cut, mode, 1.0, 1 << 40)
    return run_client_round(model, start, assignment, lambda step: batch, scenario, 0, measure_memory=False)


def test_every_mode_has_an_estimator() -> None:
    assert set(ESTIMATORS) == set(Mode)


def in_double(batch: Batch, model: SplitModel) -> tuple[Batch, SplitModel]:
    """Rounding out of the way, so that differences show the mathematics."""
    model.whole.double()
    for module in model.whole.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            # Fresh statistics put dead features exactly on the kink of ReLU, where no derivative exists.
            torch.nn.init.uniform_(module.bias, -0.5, 0.5, generator=torch.Generator().manual_seed(0))
        if type(module).__name__.endswith("RMSNorm"):
            # transformers' own computes in single precision whatever it is given.
            module.forward = functools.partial(rms_norm, module)
    inputs = batch.inputs.double() if batch.inputs.is_floating_point() else batch.inputs
    return Batch(inputs, batch.labels, batch.mask_BS), model


def rms_norm(module: Any, x: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.rms_norm(x, (x.shape[-1],), module.weight, module.variance_epsilon)


def directional_derivative(part: Part, server: ServerSide, batch: Batch, scenario: Scenario, direction: int) -> float:
    """⟨exact client gradient, u⟩ by autograd, everything in evaluation mode as zeroth-order parts are."""
    part.eval()
    server.part.eval()
    loss = task_loss(server.part(part(batch.inputs, batch.mask_BS), batch.mask_BS), batch.labels, scenario.model.task)
    named = dict(part.trainable())
    gradients = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    probe = Perturbed(part.trainable(), KEY, 0, 0.0)
    with torch.no_grad(), probe:
        part(batch.inputs, batch.mask_BS)
    total = 0.0
    for (name, parameter), gradient in zip(named.items(), gradients, strict=True):
        if gradient is None:
            continue
        rows = probe.rows.get(name)
        noise = KEY.gaussian(name, direction, parameter, rows)
        if rows is None:
            total += float((gradient.double() * noise.double()).sum())
        else:
            first = rows.first_N.unique()
            total += float((gradient[rows.ids_N[first]].double() * noise[first].double()).sum())
    return total


@pytest.mark.parametrize("family", FAMILIES)
def test_scalars_are_directional_derivatives(family: str) -> None:
    """Both scalars, over all families and cuts, agree with autograd along the same directions."""
    torch.manual_seed(0)
    scenario = family_scenario(
        family,
        smooth=True,
        zeroth_order={"directions": 2, "radius": 1e-7, "optimizer": {"name": "sgd", "learning_rate": 1.0}},
    )
    batch, model = in_double(family_batch(scenario), family_model(scenario))
    start = model.whole.snapshot()
    for cut in range(1, model.num_blocks):
        model.whole.load(start)
        part = model.client_part(cut)
        exact = [
            directional_derivative(
                part, ServerSide(model.server_part(cut), scenario.training, scenario.model.task), batch, scenario, q
            )
            for q in range(2)
        ]
        settings = scenario.training.zeroth_order
        scale = max(map(abs, exact)) + 1e-2
        model.whole.load(start)
        server = ServerSide(model.server_part(cut), scenario.training, scenario.model.task)
        loss_step = ZerothOrderLoss(part, scenario.training).step(batch, server, KEY).scalars
        assert loss_step is not None
        by_loss = [c * settings.directions / settings.optimizer.learning_rate for c in loss_step.coefficients]
        assert by_loss == pytest.approx(exact, abs=1e-4 * scale), f"zo-loss, cut {cut}"
        if family in NO_BATCH_NORM:
            # With BatchNorm the server's λ belongs to batch statistics, the probes to running ones.
            model.whole.load(start)
            projection = ZerothOrderProjection(part, scenario.training).step(batch, server, KEY).scalars
            assert projection is not None
            by_projection = [
                c * settings.directions / settings.optimizer.learning_rate for c in projection.coefficients
            ]
            assert by_projection == pytest.approx(exact, abs=1e-3 * scale), f"zo-projection, cut {cut}"


def test_the_two_scalars_agree_to_first_order_in_the_radius() -> None:
    """One-sided minus two-sided differences shrink with the radius (methods note, key identity)."""
    gaps = []
    for radius in (1e-3, 1e-4, 1e-5):
        scenario = family_scenario(
            "vit", zeroth_order={"directions": 4, "radius": radius, "optimizer": {"name": "sgd", "learning_rate": 1.0}}
        )
        batch, model = in_double(family_batch(scenario), family_model(scenario))
        start = model.whole.snapshot()
        coefficients = []
        for estimator in (ZerothOrderLoss, ZerothOrderProjection):
            model.whole.load(start)
            server = ServerSide(model.server_part(2), scenario.training, scenario.model.task)
            step = estimator(model.client_part(2), scenario.training).step(batch, server, KEY).scalars
            assert step is not None
            coefficients.append(torch.tensor(step.coefficients))
        gaps.append(float((coefficients[0] - coefficients[1]).abs().max()))
    assert gaps[0] / gaps[1] == pytest.approx(10, rel=0.3)
    assert gaps[1] / gaps[2] == pytest.approx(10, rel=0.3)


def test_estimator_moments_are_those_of_gaussian_directions() -> None:
    """E‖ĝ − g‖² = (d + 1) / q ‖g‖² on a linear function, where the differences are exact."""
    d, q, repeats = 40, 4, 4000
    gradient = torch.randn(d, generator=torch.Generator().manual_seed(1)).double()
    errors = []
    for repeat in range(repeats):
        key = NoiseKey(repeat, "client", "c", 0, 0)
        noise = torch.stack([key.gaussian("w", p, torch.empty(d)).double() for p in range(q)])
        estimate = ((noise @ gradient).unsqueeze(1) * noise).mean(0)
        errors.append(float((estimate - gradient).square().sum() / gradient.square().sum()))
    assert sum(errors) / repeats == pytest.approx((d + 1) / q, rel=0.05)


@pytest.mark.parametrize("mode", sorted(ZEROTH_ORDER_MODES))
@pytest.mark.parametrize("family", FAMILIES)
def test_moving_the_cut_changes_no_direction(family: str, mode: Mode) -> None:
    scenario = family_scenario(family)
    model = family_model(scenario)
    shallow, deep = dict(model.client_part(1).trainable()), dict(model.client_part(3).trainable())
    for name, parameter in shallow.items():
        assert torch.equal(KEY.gaussian(name, 1, parameter), KEY.gaussian(name, 1, deep[name]))


def test_directions_differ_by_side_client_round_step_name_and_direction() -> None:
    like = torch.empty(64)
    base = KEY.gaussian("w", 0, like)
    others = [
        NoiseKey(1, "client", "pi-0", 0, 0).gaussian("w", 0, like),
        NoiseKey(0, "server", "pi-0", 0, 0).gaussian("w", 0, like),
        NoiseKey(0, "client", "pi-1", 0, 0).gaussian("w", 0, like),
        NoiseKey(0, "client", "pi-0", 1, 0).gaussian("w", 0, like),
        NoiseKey(0, "client", "pi-0", 0, 1).gaussian("w", 0, like),
        KEY.gaussian("v", 0, like),
        KEY.gaussian("w", 1, like),
    ]
    for other in others:
        assert abs(float(torch.corrcoef(torch.stack([base, other]))[0, 1])) < 0.5
    assert torch.equal(base, KEY.gaussian("w", 0, like))


def test_directions_are_a_golden_vector() -> None:
    """The canonical generator's stream must not change between versions: runs would stop repeating."""
    assert KEY.direction_seed("blocks.0.weight", 0) == 565391319396966760
    noise = KEY.gaussian("blocks.0.weight", 0, torch.empty(3))
    assert noise.tolist() == pytest.approx([0.007289, -1.161261, -0.249267], abs=1e-6)


@pytest.mark.parametrize("mode", sorted(ZEROTH_ORDER_MODES))
@pytest.mark.parametrize("family", FAMILIES)
def test_replaying_the_scalars_gives_the_clients_own_bits(family: str, mode: Mode) -> None:
    scenario = family_scenario(
        family,
        local_steps=2,
        zeroth_order={"directions": 2, "radius": 1e-3, "optimizer": {"name": "sgd", "learning_rate": 1e-2}},
    )
    batch, model = family_batch(scenario), family_model(scenario)
    start = model.whole.snapshot()
    part = model.client_part(2)
    server = ServerSide(model.server_part(2), scenario.training, scenario.model.task)
    estimator = ESTIMATORS[mode](part, scenario.training)
    steps = [estimator.step(batch, server, NoiseKey(0, "client", "pi-0", 0, s)).scalars for s in range(2)]
    trained = part.snapshot()
    assert any(not torch.equal(trained[name], start[name]) for name in trained)
    part.load(start)
    for step in steps:
        assert step is not None
        step.replay(part)
    for name, tensor in part.exchanged().items():
        assert torch.equal(tensor, trained[name]), name
    outcome = one_round(scenario, model, start, 2, mode, batch)
    for name, tensor in trained.items():
        assert torch.equal(outcome.state[name], tensor), name


@pytest.mark.parametrize("family", FAMILIES)
def test_server_update_at_a_clean_anchor_is_that_of_plain_split_learning(family: str) -> None:
    """Bit for bit, whatever the mode and radius: probing leaves the server as it was."""
    scenario = family_scenario(family)
    batch, model = family_batch(scenario), family_model(scenario)
    start = model.whole.snapshot()
    model.client_part(2).eval()
    frozen = one_round(scenario, model, start, 2, Mode.FROZEN, batch).state
    for mode in sorted(ZEROTH_ORDER_MODES):
        state = one_round(scenario, model, start, 2, mode, batch).state
        for name in model.server_part(2).exchanged():
            assert torch.equal(state[name], frozen[name]), f"{mode} {name}"
    if family in NO_BATCH_NORM:
        exact = one_round(scenario, model, start, 2, Mode.FO, batch).state
        for name in model.server_part(2).exchanged():
            assert torch.equal(exact[name], frozen[name]), name


def test_probing_leaves_the_server_untouched() -> None:
    scenario = family_scenario("resnet")
    batch, model = family_batch(scenario), family_model(scenario)
    server = ServerSide(model.server_part(2), scenario.training, scenario.model.task)
    before = server.part.snapshot()
    with torch.no_grad():
        server.probe(model.client_part(2)(batch.inputs, None), batch)
    for name, tensor in server.part.exchanged().items():
        assert torch.equal(tensor, before[name])


@pytest.mark.parametrize(
    "optimizer",
    [
        {"name": "sgd", "learning_rate": 0.1},
        {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.01},
        {"name": "adamw", "learning_rate": 0.01},
    ],
)
@pytest.mark.parametrize("family", FAMILIES)
def test_recomputing_changes_no_result(family: str, optimizer: dict[str, object]) -> None:
    """Exact gradients and BatchNorm statistics equal to rounding, over several steps and optimizers."""
    scenario = family_scenario(family, local_steps=3, optimizer=optimizer)
    model = family_model(scenario)
    start = model.whole.snapshot()
    batches = [family_batch(scenario, seed=seed) for seed in range(3)]
    states = []
    for mode in (Mode.FO, Mode.FO_RECOMPUTE):
        assignment = Assignment("pi-0", 3, mode, 1.0, 1 << 40)
        outcome = run_client_round(
            model, start, assignment, lambda step: batches[step], scenario, 0, measure_memory=False
        )
        states.append(outcome.state)
    tolerance = 2e-5 if optimizer["name"] == "sgd" else 5e-3  # AdamW's first steps amplify rounding of tiny gradients
    for name, tensor in states[0].items():
        torch.testing.assert_close(states[1][name], tensor, rtol=tolerance, atol=tolerance, msg=name)


def test_recomputation_counts_batch_statistics_once() -> None:
    scenario = family_scenario("resnet")
    batch, model = family_batch(scenario), family_model(scenario)
    start = model.whole.snapshot()
    exact = one_round(scenario, model, start, 3, Mode.FO, batch).state
    recomputed = one_round(scenario, model, start, 3, Mode.FO_RECOMPUTE, batch).state
    means = [name for name in exact if name.endswith("running_mean")]
    assert means
    for name in means:
        assert torch.equal(exact[name], recomputed[name])
        assert not torch.equal(exact[name], start[name])


@pytest.mark.parametrize("mode", sorted({*ZEROTH_ORDER_MODES, Mode.FROZEN}))
def test_estimated_and_frozen_parts_leave_batch_statistics_alone(mode: Mode) -> None:
    scenario = family_scenario("resnet")
    batch, model = family_batch(scenario), family_model(scenario)
    start = model.whole.snapshot()
    state = one_round(scenario, model, start, 2, mode, batch).state
    for name in model.client_part(2).exchanged():
        if "running" in name:
            assert torch.equal(state[name], start[name])


def test_frozen_trains_the_server_part_only() -> None:
    scenario = family_scenario("vit")
    batch, model = family_batch(scenario), family_model(scenario)
    start = model.whole.snapshot()
    state = one_round(scenario, model, start, 2, Mode.FROZEN, batch).state
    assert all(torch.equal(state[name], start[name]) for name in model.client_part(2).exchanged())
    assert any(not torch.equal(state[name], start[name]) for name in model.server_part(2).exchanged())


@pytest.mark.parametrize("mode", sorted(Mode))
@pytest.mark.parametrize("family", FAMILIES)
def test_bytes_on_air_are_those_of_the_table(family: str, mode: Mode) -> None:
    """DESIGN section 3, from the tensors that crossed."""
    directions = 3
    scenario = family_scenario(family, local_steps=2, zeroth_order={"directions": directions})
    batch, model = family_batch(scenario), family_model(scenario)
    start = model.whole.snapshot()
    with torch.no_grad():
        smashed = model.client_part(2)(batch.inputs, None)
    a_bytes, label_bytes = smashed.numel() * 4, batch.labels.numel() * 8
    rows = (
        batch.inputs.numel() * 4
        if family in ("opt-classes", "bert", "qwen3-classes") and mode in ZEROTH_ORDER_MODES
        else 0
    )
    weights = sum(t.numel() * 4 for t in model.client_part(2).exchanged().values())
    counted = one_round(scenario, model, start, 2, mode, batch).report.bytes_by_phase
    uplink = {
        Mode.FO: a_bytes + label_bytes,
        Mode.FO_RECOMPUTE: a_bytes + label_bytes,
        Mode.ZO_PROJECTION: a_bytes + label_bytes + rows + 4 * directions,
        Mode.ZO_LOSS: (2 * directions + 1) * a_bytes + label_bytes + rows,
        Mode.FROZEN: a_bytes + label_bytes,
    }[mode]
    downlink = {
        Mode.FO: a_bytes,
        Mode.FO_RECOMPUTE: a_bytes,
        Mode.ZO_PROJECTION: a_bytes + 8 * directions,
        Mode.ZO_LOSS: 2 * directions * 4,
        Mode.FROZEN: 0,
    }[mode]
    assert counted[Phase.UPLINK] == 2 * uplink
    assert counted.get(Phase.DOWNLINK, 0) == 2 * downlink
    assert counted[Phase.MODEL_DOWNLOAD] == weights
    assert counted.get(Phase.MODEL_UPLOAD, 0) == (weights if mode in (Mode.FO, Mode.FO_RECOMPUTE) else 0)


@pytest.mark.parametrize("mode", sorted(LOCAL_MODES))
def test_on_the_device_only_weights_cross(mode: Mode) -> None:
    scenario = family_scenario("vit")
    batch, model = family_batch(scenario), family_model(scenario)
    counted = one_round(scenario, model, model.whole.snapshot(), model.num_blocks, mode, batch).report.bytes_by_phase
    scalars = 4 * scenario.training.zeroth_order.directions
    assert counted.get(Phase.UPLINK, 0) == (scalars if mode is Mode.ZO_LOSS else 0)
    assert Phase.DOWNLINK not in counted
    assert (Phase.MODEL_UPLOAD in counted) == (mode is not Mode.ZO_LOSS)


def test_touched_rows_share_noise_and_spare_padding() -> None:
    ids = torch.tensor([[5, 3, 5], [1, 3, 9]])
    rows = TouchedRows.of(ids, padding_idx=1)
    noise = KEY.gaussian("embed", 0, torch.empty(20, 4), rows)
    assert torch.equal(noise[0], noise[2])
    assert torch.equal(noise[1], noise[4])
    assert torch.equal(noise[3], torch.zeros(4))
    assert not torch.equal(noise[0], noise[1])


def test_only_touched_embedding_rows_move() -> None:
    scenario = family_scenario("bert", zeroth_order={"optimizer": {"name": "sgd", "learning_rate": 1e-2}})
    batch, model = family_batch(scenario), family_model(scenario)
    start = model.whole.snapshot()
    state = one_round(scenario, model, start, 2, Mode.ZO_PROJECTION, batch).state
    name = next(n for n in state if "word_embeddings" in n)
    moved = (state[name] != start[name]).any(dim=1)
    touched = torch.zeros_like(moved)
    touched[batch.inputs.flatten()] = True
    assert torch.equal(moved, touched)


def test_reliability_is_the_expected_squared_cosine() -> None:
    settings = ZerothOrder(directions=4)
    assert reliability(Mode.FO, settings, 100) == 1.0
    assert reliability(Mode.FROZEN, settings, 100) == 0.0
    assert reliability(Mode.ZO_PROJECTION, settings, 100) == 4 / 103
    assert reliability(Mode.ZO_LOSS, ZerothOrder(directions=4, effective_dimension=10), 100) == 4 / 13
    assert reliability(Mode.ZO_LOSS, ZerothOrder(directions=4, effective_dimension=10**9), 100) == 4 / 103
    generator = torch.Generator().manual_seed(0)
    gradient = torch.randn(60, generator=generator)
    cosines = []
    for _ in range(3000):
        noise = torch.randn(4, 60, generator=generator)
        estimate = noise.T @ (noise @ gradient)
        cosines.append(float(torch.cosine_similarity(estimate, gradient, dim=0)) ** 2)
    assert sum(cosines) / len(cosines) == pytest.approx(reliability(Mode.ZO_LOSS, settings, 60), rel=0.1)


def test_losses_are_finite_in_every_mode() -> None:
    scenario = family_scenario("opt-causal")
    batch, model = family_batch(scenario), family_model(scenario)
    start = model.whole.snapshot()
    for mode in Mode:
        assert math.isfinite(one_round(scenario, model, start, 2, mode, batch).report.train_loss)
