"""How it is trained."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from scenarios.contracts.modes import Mode
from scenarios.sections.base import NonNegativeFloat, PositiveFloat, PositiveInt, Section

LearningRate = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
SmallCount = Annotated[int, Field(ge=1, le=1_000_000)]


class TrainAll(Section):
    """Every parameter is trained."""

    method: Literal["all"]


class TrainLora(Section):
    """Low-rank adapters through PEFT, and the task head (Hu et al., arXiv 2106.09685)."""

    method: Literal["lora"]
    rank: PositiveInt = 8
    """Rank of the adapters."""
    alpha: PositiveFloat = 16.0
    """Scale of the adapters."""
    target_modules: tuple[str, ...] = ("q_proj", "v_proj")
    """Names of the linear modules that get an adapter."""


Trainable = Annotated[TrainAll | TrainLora, Field(discriminator="method")]


class Sgd(Section):
    """Stochastic gradient descent."""

    name: Literal["sgd"]
    learning_rate: LearningRate
    """Step size of exact gradients."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Momentum; above zero it costs one copy of the trained parameters."""
    weight_decay: NonNegativeFloat = 0.0
    """L2 penalty."""


class AdamW(Section):
    """AdamW (Loshchilov and Hutter, arXiv 1711.05101); its state costs two copies of the trained parameters."""

    name: Literal["adamw"]
    learning_rate: LearningRate
    """Step size of exact gradients."""
    weight_decay: NonNegativeFloat = 0.01
    """Decoupled weight decay."""


Optimizer = Annotated[Sgd | AdamW, Field(discriminator="name")]


class ZerothOrder(Section):
    """How zeroth-order clients estimate their gradient; they step by plain SGD so that scalars replay exactly."""

    directions: SmallCount = 4
    """Directions a step: P of ``zo-projection`` and Q of ``zo-loss``."""
    radius: PositiveFloat = 1e-3
    """Perturbation radius (mu, or epsilon)."""
    learning_rate: LearningRate = 1e-4
    """Step size of estimated gradients; far below the exact one, since their variance grows with the dimension."""
    effective_dimension: PositiveInt | None = None
    """Dimension in the expected progress of an estimate; the number of trainable client parameters when absent."""


class Training(Section):
    """What is trained, with what, and for how long."""

    trainable: Trainable = TrainAll(method="all")
    """All parameters, or adapters."""
    optimizer: Optimizer
    """Optimizer of exact gradients, on both sides; its state starts afresh every round."""
    batch_size: SmallCount
    """Samples a client takes each step; always full."""
    sequence_length: PositiveInt | None = None
    """Tokens a sample; needed for text, refused for images."""
    local_steps: SmallCount = 1
    """Steps between two aggregations."""
    rounds: SmallCount = 1
    """Rounds of a run."""
    modes: Annotated[tuple[Mode, ...], Field(min_length=1)] = (
        Mode.FO,
        Mode.FO_RECOMPUTE,
        Mode.ZO_PROJECTION,
        Mode.ZO_LOSS,
    )
    """Modes the planner may choose from; ``frozen`` only where it is listed."""
    zeroth_order: ZerothOrder = ZerothOrder()
    """Settings of the zeroth-order modes."""
    frozen_control: bool = False
    """Also train the control in which every client part stays frozen, to show what client-side training brings."""

    @model_validator(mode="after")
    def _modes_once(self) -> Self:
        if len(set(self.modes)) != len(self.modes):
            raise ValueError(f"modes lists a mode twice: {', '.join(self.modes)}")
        return self
