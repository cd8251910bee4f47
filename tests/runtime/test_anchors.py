"""What trains the server while clients probe it: the anchor, and the server's own zeroth-order gradient."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from hybridsplit.runtime.estimators.scalar_steps import ScalarDescent, ScalarStep, gradient_coefficients
from hybridsplit.runtime.noise import Perturbed
from hybridsplit.runtime.session.server import ServerSide
from hybridsplit.runtime.split.link import Batch
from hybridsplit.runtime.split.parts import State
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.errors import ContractError
from hybridsplit.scenarios.modes.loss_probes import LossProbes
from hybridsplit.testing.families import FAMILIES, family_batch, family_model, family_scenario
from tests.modes import ZEROTH_ORDER_MODES
from tests.runtime.steps import KEY, NO_BATCH_NORM, Sides, exact_derivatives

ANCHORS = ("clean", "first-plus", "all-plus")


@pytest.mark.parametrize("mode", [Mode.FO, Mode.ZO_LOSS])
def test_strides_of_smashed_data_change_no_bit_at_the_server(mode: Mode) -> None:
    """What has crossed a network has none, so that a server beside the client must not see them either."""
    found: list[tuple[Tensor | None, float, State]] = []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        scenario = family_scenario("resnet")
        model, batch = family_model(scenario), family_batch(scenario)
        h = model.client_part(2)(batch.inputs).detach().to(memory_format=memory_format)
        server = ServerSide(model.server_part(2), scenario.training, scenario.model.task)
        server.begin_step(KEY)
        if mode == Mode.FO:
            gradient, loss = server.exact(h, batch, wants_gradient=True)
        else:
            gradient, loss = server.probe(h, batch, keep=True), server.exact_kept(batch)
        found.append((gradient, loss, server.part.snapshot()))
    (one, one_loss, state), (other, other_loss, other_state) = found
    assert one is not None
    assert other is not None
    assert torch.equal(one, other)
    assert one_loss == other_loss
    assert all(torch.equal(tensor, other_state[name]) for name, tensor in state.items())


class Watched(ServerSide):
    """Fails if anything but the last request changes the server; counts requests."""

    requests: tuple[str, ...] = ()

    def probe(self, h: Tensor, batch: Batch, *, keep: bool = False) -> Tensor:
        before = self.part.snapshot()
        loss = super().probe(h, batch, keep=keep)
        assert all(torch.equal(tensor, before[name]) for name, tensor in self.part.exchanged().items())
        assert "train" not in self.requests
        self.requests += ("keep" if keep else "probe",)
        return loss

    def exact(self, h: Tensor, batch: Batch, *, wants_gradient: bool) -> tuple[Tensor | None, float]:
        self.requests += ("clean", "train")
        return super().exact(h, batch, wants_gradient=wants_gradient)

    def exact_kept(self, batch: Batch) -> float:
        self.requests += ("train",)
        return super().exact_kept(batch)


def watched_step(sides: Sides) -> tuple[Watched, State]:
    sides.restart()
    server = Watched(sides.model.server_part(sides.cut), sides.scenario.training, sides.scenario.model.task)
    sides.step(Mode.ZO_LOSS, server)
    return server, server.part.snapshot()


def trained_on(sides: Sides, anchors: list[tuple[int, float]]) -> State:
    """The server after one step of plain split learning on the mean loss at perturbed smashed data."""
    sides.restart()
    server, part, batch = sides.server(), sides.part().eval(), sides.batch
    radius = sides.scenario.training.zeroth_order.radius
    for direction, sign in anchors:
        with torch.no_grad(), Perturbed(part.trainable(), KEY, direction, sign * radius):
            h = part(batch.inputs, batch.mask_BS)
        (server._loss(h, batch) / len(anchors)).backward()  # type: ignore[no-untyped-call]
    assert server._exact is not None
    server._exact.step()
    return server.part.snapshot()


@pytest.mark.parametrize("loss_sides", ["one", "two"])
@pytest.mark.parametrize("anchor", ANCHORS)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_server_trains_once_after_all_probes_at_the_anchor(family: str, anchor: str, loss_sides: str) -> None:
    """Bit for bit, whatever probes came before; BatchNorm trains on batch statistics and probes on running ones."""
    sides = Sides.of(family, zeroth_order={"directions": 3, "radius": 1e-2, "anchor": anchor, "loss_sides": loss_sides})
    server, state = watched_step(sides)
    anchors = {"clean": [(0, 0.0)], "first-plus": [(0, 1.0)], "all-plus": [(q, 1.0) for q in range(3)]}[anchor]
    for name, tensor in trained_on(sides, anchors).items():
        assert torch.equal(state[name], tensor), name
    probes = LossProbes.of(sides.scenario.training.zeroth_order, on_device=False)
    assert server.requests[-1] == "train"
    assert len(server.requests) - 1 == probes.uploads
    assert sum(request in ("probe", "keep") for request in server.requests) == probes.losses


@pytest.mark.parametrize("family", FAMILIES)
def test_server_update_at_a_clean_anchor_is_that_of_plain_split_learning(family: str) -> None:
    """Bit for bit, whatever the mode, the sides and the radius."""
    for radius, sides_of_both in ((1e-3, "one"), (1e-1, "two")):
        settings = {"radius": radius, "loss_sides": sides_of_both, "projection_sides": sides_of_both}
        sides = Sides.of(family, zeroth_order=settings)
        states = {}
        for mode in (Mode.FROZEN, *ZEROTH_ORDER_MODES, *([Mode.FO] if family in NO_BATCH_NORM else [])):
            server = sides.server()
            sides.step(mode, server)
            states[mode] = server.part.snapshot()
        for mode, state in states.items():
            for name, tensor in state.items():
                assert torch.equal(tensor, states[Mode.FROZEN][name]), f"{mode} {name}"


@pytest.mark.parametrize("anchor", ANCHORS)
@pytest.mark.parametrize("family", ["opt-classes", "vit"])
def test_the_anchor_changes_no_scalar(family: str, anchor: str) -> None:
    clean, other = (Sides.of(family, zeroth_order={"directions": 2, "anchor": a}) for a in ("clean", anchor))
    assert torch.equal(clean.derivatives(Mode.ZO_LOSS), other.derivatives(Mode.ZO_LOSS))


@pytest.mark.parametrize("loss_sides", ["one", "two"])
@pytest.mark.parametrize("mode", [Mode.ZO_LOSS, Mode.FROZEN])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_zeroth_order_server_steps_along_its_own_directions(family: str, mode: Mode, loss_sides: str) -> None:
    """Its derivatives are autograd's along its own stream, and its update is theirs; nothing is differentiated."""
    sides = Sides.of(
        family,
        double=True,
        modes=["zo-loss", "frozen"],
        server_gradient="zeroth-order",
        zeroth_order={
            "directions": 2,
            "radius": 1e-6,
            "loss_sides": loss_sides,
            "optimizer": {"name": "sgd", "learning_rate": 1.0},
        },
    )
    key = replace(KEY, side="server")
    derivatives = exact_derivatives(sides, key, server_trains=False, of_server=True).tolist()
    expected = sides.server().part
    coefficients = gradient_coefficients(derivatives, sides.scenario.training.zeroth_order)
    settings = sides.scenario.training.zeroth_order.optimizer
    ScalarDescent(expected.trainable(), settings).step(ScalarStep(key, coefficients, {}))
    state = expected.snapshot()
    server = sides.server()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "backward", None)
        sides.step(mode, server)
    for name, tensor in server.part.exchanged().items():
        torch.testing.assert_close(tensor, state[name], rtol=1e-3, atol=2e-3, msg=name)
    moved = sum(float((t - sides.start[n]).square().sum()) for n, t in server.part.exchanged().items())
    missed = sum(float((t - state[n]).square().sum()) for n, t in server.part.exchanged().items())
    assert missed < 1e-4 * moved


def test_a_zeroth_order_server_has_no_gradient_to_send() -> None:
    sides = Sides.of("vit", modes=["zo-loss"], server_gradient="zeroth-order")
    with pytest.raises(ContractError, match="no gradient at the cut"):
        sides.step(Mode.ZO_PROJECTION)


def test_a_shared_stream_would_bias_the_client() -> None:
    """Client and server never draw the same numbers, whatever the names: docs/methods/training-modes.md, Noise keys."""
    like = torch.empty(4096)
    client, server = (replace(KEY, side=side).draw("blocks.1.weight", 0, like) for side in ("client", "server"))
    assert abs(float(torch.dot(client, server)) / 4096) < 5 / 64


@pytest.mark.parametrize("loss_sides", ["one", "two"])
def test_with_the_whole_model_on_the_device_no_server_is_trained(loss_sides: str) -> None:
    sides = Sides.of("vit", zeroth_order={"loss_sides": loss_sides, "directions": 3})
    sides.cut = sides.model.num_blocks
    server, _ = watched_step(sides)
    assert server.requests == ("probe",) * (6 if loss_sides == "two" else 4)
