"""Single training steps on small models, and exact derivatives to compare them with."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hybridsplit.runtime.estimators import GradientEstimator, StepResult, make_estimator
from hybridsplit.runtime.noise import NoiseKey, Perturbed
from hybridsplit.runtime.session.server import ServerSide
from hybridsplit.runtime.session.steps import run_step
from hybridsplit.runtime.split.link import Batch, ServerLink
from hybridsplit.runtime.split.parts import Part, SplitModel, State, task_loss
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.testing.families import FAMILIES, family_batch, family_model, family_scenario

KEY = NoiseKey(0, "client", "pi-0", 0, 0)
NO_BATCH_NORM = [family for family in FAMILIES if not family.startswith("resnet")]
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"name": "sgd", "learning_rate": 1e-3},
    "momentum": {"name": "sgd", "learning_rate": 1e-3, "momentum": 0.9},
    "decay": {"name": "sgd", "learning_rate": 1e-3, "weight_decay": 0.1},
    "adamw": {"name": "adamw", "learning_rate": 1e-3},
}


@dataclass
class Sides:
    """A client part and its server, with the weights that both started from."""

    scenario: Scenario
    model: SplitModel
    batch: Batch
    cut: int
    start: State

    @classmethod
    def of(cls, family: str, cut: int = 2, *, double: bool = False, **training: Any) -> Sides:
        torch.manual_seed(0)
        scenario = family_scenario(family, smooth=double, **training)
        model, batch = family_model(scenario), family_batch(scenario)
        if double:
            batch = in_double(batch, model)
        return cls(scenario, model, batch, cut, model.whole.snapshot())

    def restart(self) -> None:
        self.model.whole.load(self.start)

    def part(self, mode: Mode | None = None) -> Part:
        return self.model.client_part(self.cut, mode)

    def server(self) -> ServerSide:
        return ServerSide(self.model.server_part(self.cut), self.scenario.training, self.scenario.model.loss_kind)

    def estimator(self, mode: Mode) -> GradientEstimator:
        return make_estimator(mode, self.part(mode), self.scenario.training)

    def step(self, mode: Mode, link: ServerLink | None = None, key: NoiseKey = KEY) -> StepResult:
        """One step from the start."""
        self.restart()
        return run_step(self.estimator(mode), self.batch, link or self.server(), key, None)

    def derivatives(self, mode: Mode) -> Tensor:
        """The directional derivatives that a step found; shape [P]."""
        scalars = self.step(mode).scalars
        assert scalars is not None
        return torch.tensor(scalars.coefficients, dtype=torch.float64) * len(scalars.coefficients)


def in_double(batch: Batch, model: SplitModel) -> Batch:
    """Rounding out of the way, so that differences show the mathematics."""
    model.whole.double()
    for module in model.whole.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            # Fresh statistics put dead features exactly on the kink of ReLU, where no derivative exists.
            torch.nn.init.uniform_(module.bias, -0.5, 0.5, generator=torch.Generator().manual_seed(0))
        for name, child in module.named_children():
            if isinstance(child, torch.nn.ReLU):
                setattr(module, name, torch.nn.GELU())
            if isinstance(child, torch.nn.MaxPool2d):
                # The largest value changes hands under a perturbation.
                setattr(module, name, torch.nn.AvgPool2d(child.kernel_size, child.stride, child.padding))
        if type(module).__name__.endswith("RMSNorm"):
            # transformers' own computes in single precision whatever it is given.
            module.forward = functools.partial(_rms_norm, module)
    inputs = batch.inputs.double() if batch.inputs.is_floating_point() else batch.inputs
    return Batch(inputs, batch.labels, batch.mask_BS)


def _rms_norm(module: Any, x: Tensor) -> Tensor:
    return torch.nn.functional.rms_norm(x, (x.shape[-1],), module.weight, module.variance_epsilon)


def exact_derivatives(sides: Sides, key: NoiseKey, *, server_trains: bool, of_server: bool = False) -> Tensor:
    """⟨exact gradient, u⟩ by autograd for all directions; the client in inference mode as zeroth-order parts are.

    ``server_trains``: BatchNorm of the server on batch statistics, as where λ comes from, or on running ones, as probes
    see it. ``of_server``: the gradient of the server's parameters instead of the client's.
    """
    sides.restart()
    part, server, batch = sides.part().eval(), sides.server().part.train(server_trains), sides.batch
    logits = server(part(batch.inputs, batch.mask_BS), batch.mask_BS)
    loss = task_loss(logits, batch.labels, sides.scenario.model.loss_kind)
    named = dict((server if of_server else part).trainable())
    gradients = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    recorder = Perturbed(part.trainable(), key, 0, 0.0)
    with torch.no_grad(), recorder:
        part(batch.inputs, batch.mask_BS)
    totals = torch.zeros(sides.scenario.training.zeroth_order.directions, dtype=torch.float64)
    for direction in range(len(totals)):
        for (name, parameter), gradient in zip(named.items(), gradients, strict=True):
            if gradient is None:
                continue
            rows = recorder.rows.get(name)
            noise = key.draw(name, direction, parameter, rows)
            if rows is not None:
                trained = rows.trained_M.bool()
                gradient, noise = gradient[rows.rows_M[trained]], noise[trained]
            totals[direction] += (gradient.double() * noise.double()).sum()
    sides.restart()
    return totals
