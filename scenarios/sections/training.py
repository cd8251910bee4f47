"""How it is trained."""

# Annotations are values here and not text (no __future__): of text, pydantic's reading is a third of the import.

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from hybridsplit.scenarios.modes import MODES, Asks, ModeName, is_estimated
from hybridsplit.scenarios.sections.base import NonNegativeFloat, PositiveFloat, PositiveInt, Section
from hybridsplit.scenarios.sections.local_loss import LocalLoss, local_loss_faults
from hybridsplit.scenarios.sections.micro_batches import micro_batch_faults
from hybridsplit.scenarios.sections.overlap import Overlap, overlap_faults
from hybridsplit.scenarios.sections.replanning import Replanning
from hybridsplit.scenarios.sections.three_part import HeadBlocks, choices_of, three_part_faults

LearningRate = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
SmallCount = Annotated[int, Field(ge=1, le=1_000_000)]
Sides = Literal["one", "two"]


class TrainAll(Section):
    """Every parameter is trained."""

    method: Literal["all"]


ALL_LINEAR = "all-linear"
"""Every linear module but those of the head, as PEFT calls it."""


class TrainLora(Section):
    """Low-rank adapters through PEFT, and the task head (Hu et al., arXiv 2106.09685)."""

    method: Literal["lora"]
    rank: PositiveInt = 8
    """Rank of the adapters."""
    alpha: PositiveFloat = 16.0
    """Scale of the adapters."""
    target_modules: Annotated[tuple[str, ...], Field(min_length=1)] | Literal["all-linear"] | None = None
    """Names of the linear modules that get an adapter, or ``all-linear``: all but the head. Those that PEFT adapts in
    this type of model when absent."""
    modules_to_save: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Names of further modules that are trained whole and saved beside the adapters, as ``LayerNorm`` or
    ``embed_tokens``; without adapters inside, and with no weight that a module outside shares."""
    dora: bool = False
    """Train the magnitude of every output of an adapted module apart from its direction (DoRA, Liu et al., arXiv
    2402.09353), through PEFT. With exact modes and ``frozen`` only."""


class TrainBiasesAndNorms(Section):
    """Biases, scales and shifts of normalisation, and the task head (arXiv 2106.10199 for text, 2003.00152 for images).

    A few parameters in a thousand: an estimate from as many directions is that much better.
    """

    method: Literal["biases-and-norms"]


Trainable = Annotated[TrainAll | TrainLora | TrainBiasesAndNorms, Field(discriminator="method")]


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
    """How zeroth-order clients estimate their gradient, and step along the estimate."""

    directions: SmallCount = 4
    """Directions a step: P of ``zo-projection`` and Q of ``zo-loss``."""
    radius: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)] = 1e-3
    """Perturbation radius (mu, or epsilon)."""
    optimizer: Optimizer = Sgd(name="sgd", learning_rate=1e-4)
    """Optimizer of estimated gradients; its learning rate is far below the exact one, since the variance of an estimate
    grows with the dimension. Plain SGD needs no memory; momentum and AdamW keep state on the device, and the server
    mirrors it when it replays the scalars."""
    distribution: Literal["gaussian", "sphere", "rademacher"] = "gaussian"
    """Directions: standard normal, uniform on the sphere of radius sqrt(n) of each parameter tensor, or signs."""
    projection_sides: Sides = "one"
    """``zo-projection``: perturbed forwards a direction; ``one`` compares with the anchor (HO-SFL), ``two`` with the
    mirrored probe."""
    loss_sides: Sides = "two"
    """``zo-loss``: probes a direction; ``two`` is HOSL's symmetric difference, ``one`` compares with the clean loss."""
    anchor: Literal["clean", "first-plus", "all-plus"] = "clean"
    """``zo-loss``: which smashed data train the server: the unperturbed ones (HOSL as published), those of the first
    probe, or those of every positive probe (as public code of HOSL's authors does); the latter two save an upload."""
    derivative: Literal["finite-difference", "forward-mode"] = "finite-difference"
    """``zo-projection``: differences of perturbed forwards, or the exact derivative by forward-mode differentiation
    (Baydin et al., arXiv 2202.08587), at the memory of one tangent beside each activation."""
    clip_derivative: PositiveFloat | None = None
    """Largest size of one estimated directional derivative; larger ones are cut to it. No limit when absent."""
    effective_dimension: PositiveInt | None = None
    """Dimension in the expected progress of an estimate; the number of trainable client parameters when absent."""


class GradientClip(Section):
    """Clipping of exact gradients by their norm."""

    norm: PositiveFloat
    """Largest Euclidean norm."""
    over: Literal["part", "parameter"] = "part"
    """Norm of all gradients of a part (client or server) together, or of each parameter by itself. ``fo-recompute``
    updates each parameter within backward, so it can only clip by ``parameter``."""


class LearningRateSchedule(Section):
    """Factor on all learning rates, by round; it decays over ``training.rounds`` and then stays."""

    shape: Literal["constant", "linear", "cosine"] = "constant"
    """How the factor falls from 1 after the warm-up to ``final_fraction`` in the last round."""
    warmup_rounds: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Rounds in which the factor rises linearly to 1."""
    final_fraction: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Factor in the last round, for ``linear`` and ``cosine``."""


class Training(Section):
    """What is trained, with what, and for how long."""

    trainable: Trainable = TrainAll(method="all")
    """All parameters, or adapters."""
    optimizer: Optimizer
    """Optimizer of exact gradients, on both sides unless ``server_optimizer`` is given."""
    server_optimizer: Optimizer | None = None
    """Optimizer of the server part; ``optimizer`` when absent."""
    optimizer_state: Literal["reset", "keep"] = "reset"
    """What happens to momentum and moments between rounds: ``reset`` starts afresh, since the averaged weights are not
    those the state belongs to; ``keep`` carries every client's state, and that of its server copy, to its next
    round."""
    learning_rate_schedule: LearningRateSchedule = LearningRateSchedule()
    """Factor on all learning rates, by round."""
    gradient_clip: GradientClip | None = None
    """Clipping of exact gradients; none when absent."""
    batch_size: SmallCount
    """Samples a client takes each step; always full."""
    batch_sizes: tuple[SmallCount, ...] = ()
    """Further batch sizes that the planner may choose for a client."""
    sequence_length: PositiveInt | None = None
    """Tokens a sample; needed for text, refused for images."""
    local_steps: SmallCount = 1
    """Steps between two aggregations."""
    rounds: SmallCount = 1
    """Rounds of a run."""
    participation: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the plan's clients that take part in a round, drawn anew every round; at least one does. A client that
    has left (``faults.policy: drop-client``) is taken out of the draw and not replaced, unless nobody would be left."""
    modes: Annotated[tuple[ModeName, ...], Field(min_length=1)] = (
        "fo",
        "fo-recompute",
        "zo-projection",
        "zo-loss",
    )
    """Modes the planner may choose from; ``frozen``, ``fo-local`` and ``zo-local`` only where they are listed."""
    server_model: Literal["per-client", "shared-mean", "shared-sequential"] = "per-client"
    """``per-client``: every client has a server copy of its own, averaged every round (SplitFed V1). ``shared-mean``:
    one server model steps once a step, with the mean of all clients' gradients. ``shared-sequential``: one server model
    steps once for every client, in turn (SplitFed V2)."""
    server_gradient: Literal["exact", "zeroth-order"] = "exact"
    """How the server part is trained: ``zeroth-order`` is the pure baseline, for ``zo-loss`` and ``frozen`` only."""
    label_holder: Literal["client", "server"] = "client"
    """Who holds the labels: clients send them with the smashed data, or the server has them already. Without labels a
    client cannot hold the whole model."""
    head_blocks: HeadBlocks = 0
    """Last blocks of the model that run on the client as well, with the loss, so that labels never leave it (the
    three-part split, arXiv 2209.02428): a number, or a list that the planner chooses from, such as ``[0, 1]``. With 0
    they are at the server. With the whole model on the device it is 0 whatever is listed."""
    zeroth_order: ZerothOrder = ZerothOrder()
    """Settings of the zeroth-order modes."""
    zo_prefix_blocks: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Lowest blocks that every client trains along the same zeroth-order directions: these blocks are never sent again,
    only averaged scalars are (dimension-free aggregation, arXiv 2405.15861 and 2603.14773). All modes must be
    zeroth-order then."""
    overlap: Overlap = Overlap()
    """Clients that go on with later batches, or parts of a batch, while the server works; none when absent."""
    local_loss: LocalLoss = LocalLoss()
    """Settings of the modes whose clients have a loss of their own; refused where none is listed."""
    replanning: Replanning | None = None
    """When the plan is made again while rounds go on; never when absent."""
    frozen_control: bool = False
    """Also train the control in which every client part stays frozen, to show what client-side training brings."""

    @property
    def steps_synchronise(self) -> bool:
        """True if all clients wait for each other between two steps: the weights of one server model move at each."""
        return self.server_model != "per-client" and self.local_steps > 1

    def facts_of_agreement(self) -> dict[str, object]:
        """Return what other sections must agree with."""
        keys = ("sequence_length", "server_model", "local_steps", "changes_plans")
        return {
            **{key: getattr(self, key) for key in keys},
            "overlap": {"staleness": self.overlap.staleness, "micro_batches": self.overlap.micro_batches},
        }

    @property
    def changes_plans(self) -> bool:
        """Whether the plan may change between rounds."""
        return self.replanning is not None and self.replanning.changes_plans

    @property
    def catch_up_bytes_a_round(self) -> int:
        """Bytes that a client downloads for each round it has missed: a scalar a direction and a seed, every step."""
        return 4 * self.local_steps * (self.zeroth_order.directions + 1) if self.zo_prefix_blocks else 0

    @property
    def head_block_choices(self) -> tuple[int, ...]:
        """Numbers of head blocks on offer, smallest first."""
        return choices_of(self.head_blocks)

    @property
    def candidate_batch_sizes(self) -> tuple[int, ...]:
        """All batch sizes of a client, smallest first."""
        return tuple(sorted({self.batch_size, *self.batch_sizes}))

    @property
    def chooses_batch_size(self) -> bool:
        """Whether the planner has several batch sizes to choose from."""
        return len(self.candidate_batch_sizes) > 1

    @model_validator(mode="after")
    def _modes_once(self) -> Self:
        if len(set(self.modes)) != len(self.modes):
            raise ValueError(f"modes lists a mode twice: {', '.join(self.modes)}")
        return self

    @model_validator(mode="after")
    def _settings_agree(self) -> Self:
        faults: list[str] = []
        clip = self.gradient_clip
        early = [mode for mode in self.modes if MODES[mode].updates_in_backward]
        if clip is not None and clip.over == "part" and early:
            faults.append(
                f"gradient_clip.over: found 'part' while modes lists {', '.join(early)}, which updates every parameter "
                "before the norm of the part is known; use over: parameter, or leave it out of modes"
            )
        others = [mode for mode in self.modes if MODES[mode].asks is Asks.GRADIENT]
        if self.server_gradient == "zeroth-order" and others:
            faults.append(
                f"server_gradient: found 'zeroth-order' while modes lists {', '.join(others)}; without "
                "back-propagation at the server only zo-loss and frozen exist: state modes: [zo-loss]"
            )
        if self.server_gradient == "zeroth-order" and self.server_model != "per-client":
            faults.append(
                f"server_gradient: found 'zeroth-order' with server_model {self.server_model!r}; the pure baseline has "
                "a server copy for each client: state server_model: per-client"
            )
        exact = [mode for mode in self.modes if not is_estimated(mode)]
        if self.zo_prefix_blocks and exact:
            faults.append(
                f"zo_prefix_blocks: found {self.zo_prefix_blocks} while modes lists {', '.join(exact)}; blocks that "
                "all clients train along the same directions need zeroth-order modes only: modes: [zo-projection]"
            )
        estimated = [mode for mode in self.modes if is_estimated(mode)]
        if isinstance(self.trainable, TrainLora) and self.trainable.dora and estimated:
            faults.append(
                f"trainable.dora: found true while modes lists {', '.join(estimated)}; DoRA's gradient takes the norms "
                "of the weights as constant (arXiv 2402.09353, section 4.3), and passes at perturbed adapters do not, "
                "so that they would estimate another gradient: leave these modes out, or use dora: false"
            )
        step = self.zeroth_order.optimizer
        plain = isinstance(step, Sgd) and step.momentum == 0.0 and step.weight_decay == 0.0
        if self.zo_prefix_blocks and not plain:
            faults.append(
                "zo_prefix_blocks: only plain SGD steps can be averaged as scalars; set zeroth_order.optimizer to sgd "
                "without momentum and weight decay"
            )
        faults += overlap_faults(self.overlap, self.modes, self.server_model, self.local_steps, self.server_gradient)
        faults += micro_batch_faults(
            self.overlap, self.modes, batch_sizes=self.candidate_batch_sizes, server_model=self.server_model,
            server_gradient=self.server_gradient, head_blocks=self.head_block_choices,
        )  # fmt: skip
        faults += local_loss_faults(
            self.local_loss, self.modes, self.local_steps, self.server_model, self.label_holder, self.zo_prefix_blocks
        )
        faults += three_part_faults(
            self.head_blocks, self.modes, server_model=self.server_model, server_gradient=self.server_gradient,
            label_holder=self.label_holder, staleness=self.overlap.staleness, changes_plans=self.changes_plans,
        )  # fmt: skip
        if faults:
            raise ValueError("\n".join(faults))
        return self
