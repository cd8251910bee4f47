"""The head on the client: the bits of two parts and of the uncut model, what crosses, and memory by measurement."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from hybridsplit.profiler.memory import client_memory, server_memory
from hybridsplit.profiler.models import traced_model
from hybridsplit.runtime.session.client import run_client_round
from hybridsplit.runtime.session.head_on_client import HeadOnClient
from hybridsplit.runtime.session.middle import MiddleServer
from hybridsplit.runtime.split.link import CountingLink, Traffic
from hybridsplit.runtime.split.live_bytes import LiveBytes
from hybridsplit.runtime.split.parts import task_loss
from hybridsplit.runtime.split.reports import ClientRound
from hybridsplit.runtime.split.three_part_link import CountingMiddle
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.placement import Placement
from hybridsplit.scenarios.errors import ContractError
from hybridsplit.testing.families import FAMILIES, TRACED, family_batch, family_model, family_scenario
from tests.tiers import one_of

MODES = ("fo", "fo-recompute", "frozen")
STRIDED = ("convnext",)
OPTIMIZERS: list[dict[str, Any]] = [
    {"name": "sgd", "learning_rate": 0.1},
    {"name": "sgd", "learning_rate": 0.05, "momentum": 0.9, "weight_decay": 0.01},
    {"name": "adamw", "learning_rate": 0.01},
]


def one_round(
    family: str, mode: str, head_blocks: int, cut: int = 1, *, padded: bool = False, measure: bool = False,
    **training: Any,
) -> ClientRound:  # fmt: skip
    """A round of a client from the same start and on the same batches, whatever the split."""
    settings = {"optimizer": OPTIMIZERS[0], "local_steps": 3, **training}
    scenario = family_scenario(family, head_blocks=[0, 1, 2], **settings)
    model = family_model(scenario)
    placement = Placement(cut=cut, mode=mode, batch_size=scenario.training.batch_size, head_blocks=head_blocks)
    return run_client_round(
        model, model.whole.snapshot(), Assignment("pi-0", placement, 1.0, 1 << 40),
        lambda step: family_batch(scenario, padded=padded, seed=step), scenario, 0, measure_memory=measure,
    )  # fmt: skip


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=["sgd", "momentum", "adamw"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("family", [*FAMILIES, *one_of(6, TRACED)])
def test_three_parts_have_the_bits_of_two(family: str, mode: str, optimizer: dict[str, Any]) -> None:
    """Every weight and statistic, and the loss, wherever the head is: the same chain rule on other machines.

    Features cross in row-major order. Where the model leaves them in another one, kernels behind them round otherwise.
    """
    two = one_round(family, mode, 0, optimizer=optimizer)
    for head_blocks in (1, 2):
        three = one_round(family, mode, head_blocks, optimizer=optimizer)
        assert three.state.keys() == two.state.keys()
        if family in STRIDED:
            assert three.report.train_loss == pytest.approx(two.report.train_loss, rel=1e-5)
            for name, tensor in two.state.items():
                torch.testing.assert_close(three.state[name], tensor, rtol=1e-3, atol=1e-4, msg=name)
            continue
        assert three.report.train_loss == two.report.train_loss
        assert [name for name in two.state if not torch.equal(three.state[name], two.state[name])] == []


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_are_those_of_the_uncut_model(family: str) -> None:
    """Three parts against autograd through the whole chain of blocks at once: loss, λ, and a step along gradients."""
    scenario = family_scenario(family, head_blocks=[0, 1], optimizer={"name": "sgd", "learning_rate": 1.0})
    batch = family_batch(scenario)
    whole = family_model(scenario).whole.train()
    loss = task_loss(whole(batch.inputs, batch.mask_BS), batch.labels, scenario.model.loss_kind)
    loss.backward()  # type: ignore[no-untyped-call]
    model = family_model(scenario)
    before = model.whole.snapshot()
    part, middle = model.client_part(1).train(), MiddleServer(model.server_part(1, 1), scenario.training)
    head = HeadOnClient(
        model.head_part(1), middle, scenario.training, scenario.model.loss_kind, middle_trains=True
    )  # fmt: skip
    h = part(batch.inputs, batch.mask_BS)
    gradient, found = head.exact(h.detach(), batch, wants_gradient=True)
    h.backward(gradient)
    assert found == pytest.approx(float(loss.detach()), rel=1e-6)
    after = model.whole.snapshot()
    moved = {name: before[name] - after[name] for name, _ in model.whole.trainable()}
    moved |= {name: p.grad for name, p in part.trainable() if p.grad is not None}
    assert len(moved) == sum(1 for _ in whole.trainable())
    for name, parameter in whole.trainable():
        assert parameter.grad is not None
        torch.testing.assert_close(moved[name], parameter.grad, rtol=1e-3, atol=1e-6, msg=name)


class _Ear:
    """A middle that writes down all that the client sends it."""

    def __init__(self, middle: MiddleServer) -> None:
        self.middle = middle
        self.heard: list[Tensor | None] = []

    def features(self, h: Tensor, mask_BS: Tensor | None, *, wants_gradient: bool) -> Tensor:
        self.heard += [h.clone(), mask_BS]
        return self.middle.features(h, mask_BS, wants_gradient=wants_gradient)

    def gradient(self, of_features: Tensor) -> Tensor | None:
        self.heard.append(of_features.clone())
        return self.middle.gradient(of_features)


@pytest.mark.parametrize("family", ["opt-causal", "bert", "vit", "resnet"])
def test_labels_never_reach_the_server(family: str) -> None:
    """What the server hears: floating-point data and the mask alone, and none of it but the gradient has to do with
    the labels."""
    scenario = family_scenario(family, head_blocks=[0, 1])
    padded = family in ("bert",)
    heard = []
    for seed in (0, 1):
        model = family_model(scenario)
        batch = family_batch(scenario, padded=padded)
        labels = batch.labels if seed == 0 else batch.labels.roll(1, 0)
        assert seed == 0 or not torch.equal(labels, batch.labels)
        ear, traffic = _Ear(MiddleServer(model.server_part(1, 1), scenario.training)), Traffic()
        head = HeadOnClient(
            model.head_part(1), CountingMiddle(ear, traffic), scenario.training, scenario.model.loss_kind,
            middle_trains=True,
        )  # fmt: skip
        with torch.no_grad():
            h = model.client_part(1)(batch.inputs, batch.mask_BS)
        head.exact(h, type(batch)(batch.inputs, labels, batch.mask_BS), wants_gradient=True)
        heard.append(ear.heard)
        mask_bytes = 0 if batch.mask_BS is None else batch.mask_BS.nbytes
        assert traffic.bytes_by_phase[Phase.UPLINK] == h.nbytes + mask_bytes
        assert traffic.bytes_by_phase[Phase.DOWNLINK] == h.nbytes
        assert traffic.bytes_by_phase[Phase.HEAD_UPLINK] == traffic.bytes_by_phase[Phase.HEAD_DOWNLINK] > 0
    (h, mask_BS, gradient), (other_h, other_mask_BS, other_gradient) = heard
    assert h is not None
    assert other_h is not None
    assert gradient is not None
    assert other_gradient is not None
    assert torch.equal(h, other_h)
    assert mask_BS is other_mask_BS is None or torch.equal(mask_BS, other_mask_BS)  # type: ignore[arg-type]
    assert not torch.equal(gradient, other_gradient)
    assert h.is_floating_point()
    assert gradient.is_floating_point()


@pytest.mark.parametrize("family", ["opt-causal", "bert", "vit"])
def test_bytes_of_a_round_hold_no_labels(family: str) -> None:
    """Two parts send labels with the smashed data; three parts send so many bytes less there, and the head's beside."""
    padded = family == "bert"
    scenario = family_scenario(family)
    two, three = (one_round(family, "fo", head_blocks, padded=padded).report for head_blocks in (0, 1))
    labels = family_batch(scenario, padded=padded).labels.nbytes
    up, down = Phase.UPLINK, Phase.DOWNLINK
    assert two.bytes_by_phase[up] - three.bytes_by_phase[up] == 3 * labels
    assert two.bytes_by_phase[down] == three.bytes_by_phase[down]
    head = sum(tensor.nbytes for tensor in family_model(scenario).head_part(1).exchanged().values())
    for phase in (Phase.MODEL_DOWNLOAD, Phase.MODEL_UPLOAD):
        assert three.bytes_by_phase[phase] - two.bytes_by_phase[phase] == head


@pytest.mark.parametrize("optimizer", [OPTIMIZERS[0], OPTIMIZERS[2]], ids=["sgd", "adamw"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("family", one_of(4, FAMILIES))
def test_predicted_memory_is_the_measured_one(family: str, mode: str, optimizer: dict[str, Any]) -> None:
    """Shapes against a real run, within 0.1 % or two scalars, with both parts of the client resident."""
    for cut, head_blocks in ((1, 1), (1, 2), (2, 1)):
        settings: dict[str, Any] = {"optimizer": optimizer, "local_steps": 3, "head_blocks": [0, 1, 2]}
        measured = one_round(family, mode, head_blocks, cut, measure=True, optimizer=optimizer).report.peak_bytes
        scenario = family_scenario(family, **settings)
        predicted = client_memory(traced_model(scenario), scenario, cut, mode, head_blocks=head_blocks).peak_bytes
        assert predicted == pytest.approx(measured, rel=0.001, abs=8), (cut, head_blocks)


@pytest.mark.parametrize("family", one_of(4, FAMILIES))
def test_predicted_memory_of_the_middle_is_the_measured_one(family: str) -> None:
    """The server's middle, counted in a real step."""
    scenario = family_scenario(family, head_blocks=[0, 1], optimizer=OPTIMIZERS[2], local_steps=2)
    model, batch, meter = family_model(scenario), family_batch(scenario), LiveBytes()
    part = model.server_part(1, 1)
    server = MiddleServer(part, scenario.training)
    meter.track([*part.parameters(), *part.buffers()])
    with torch.no_grad():
        h = model.client_part(1)(batch.inputs, batch.mask_BS)
    meter.track([] if batch.mask_BS is None else [batch.mask_BS])
    for _ in range(2):
        received = h.clone()
        meter.track([received])
        with meter:
            features = server.features(received, batch.mask_BS, wants_gradient=True)
            del received
            came = torch.ones_like(features)
            del features
            server.gradient(came)
            del came
    predicted = server_memory(traced_model(scenario), scenario, 1, "fo", head_blocks=1).peak_bytes
    assert predicted == pytest.approx(meter.peak_bytes, rel=0.001, abs=8)


def test_a_head_that_leaves_the_server_nothing_is_refused() -> None:
    model = family_model(family_scenario("bert"))
    for cut, head_blocks in ((1, model.num_blocks - 1), (2, model.num_blocks), (1, -1)):
        with pytest.raises(ValueError, match="leaves the server nothing"):
            model.server_part(cut, head_blocks)


def test_modes_that_ask_for_losses_are_refused_at_the_head() -> None:
    scenario = family_scenario("bert", head_blocks=[0, 1])
    model, batch = family_model(scenario), family_batch(scenario)
    head = HeadOnClient(
        model.head_part(1), MiddleServer(model.server_part(1, 1), scenario.training), scenario.training,
        scenario.model.loss_kind, middle_trains=True,
    )  # fmt: skip
    with pytest.raises(ContractError, match="head_blocks: 0"):
        head.probe(torch.zeros(1), batch)
    assert not isinstance(head, CountingLink)
