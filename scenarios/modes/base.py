"""What a training mode of the client part is: facts on its class, and what a step of it costs.

A mode's facts say what crosses the cut, what it asks of the server and what its gradient is; its methods say what a
step takes. Planner, profiler, runtime and reports ask these and no mode by name, so that a new mode is one class. Its
estimator, which carries it out, is named by reference: facts are read by commands that must not import torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hybridsplit.scenarios.modes.loss_probes import LossProbes
    from hybridsplit.scenarios.modes.passes import BlockSeconds
    from hybridsplit.scenarios.sections.training import ZerothOrder

SCALAR_BYTES = 4
"""A loss, a projection or a seed crosses the air as 4 bytes."""

LOCAL_ALIGNMENT = 0.25
"""Expected squared cosine between the gradient of a local loss and that of the model's loss: assumed."""


class Gradient(StrEnum):
    """What a client part is moved along."""

    EXACT = "exact"
    """The gradient; the client uploads its weights after the round."""
    LOCAL = "local"
    """The exact gradient of a loss of the client's own; it uploads its weights after the round."""
    ESTIMATED = "estimated"
    """An estimate along random directions; the client uploads scalars, which the server replays."""
    NONE = "none"
    """Nothing: the part is not trained."""


class Asks(StrEnum):
    """What a mode asks of the server part in a step."""

    GRADIENT = "gradient"
    """The gradient λ at the cut."""
    LOSSES = "losses"
    """Losses of smashed data; λ is never revealed."""
    NOTHING = "nothing"
    """That it trains on the smashed data."""


@dataclass(frozen=True)
class StepSizes:
    """Sizes of what may cross the cut in a step, bytes.

    Parameters
    ----------
    smashed
        The activation ``A`` at the cut.
    labels
        Labels, where the client holds them, and the attention mask.
    row_ids
        Token ids, where the server needs them to replay the update of an embedding; 0 elsewhere.
    """

    smashed: int
    labels: int
    row_ids: int


@dataclass(frozen=True)
class StepBytes:
    """Bytes on air of one step."""

    uplink: int
    downlink: int


class TrainingMode(ABC):
    """A way to train the client part."""

    name: ClassVar[str]
    """Name in ``training.modes``, in plans and reports."""
    summary: ClassVar[str]
    """One sentence for lists of modes."""
    gradient: ClassVar[Gradient]
    """What the client part is moved along."""
    asks: ClassVar[Asks]
    """What it asks of the server part in a step."""
    estimator: ClassVar[str]
    """The class that carries it out, a :class:`~hybridsplit.runtime.estimators.GradientEstimator`, as
    ``package.module:Class``."""
    has_local_head: ClassVar[bool] = False
    """Whether the client part ends in an auxiliary head, whose loss it is trained by instead of the model's. It waits
    for no answer, and may send smashed data in some steps only."""
    runs_whole_model: ClassVar[bool] = False
    """Whether it exists with the whole model on the device, where no server part answers."""
    receives_scalars: ClassVar[bool] = False
    """Whether the applied scalars of an estimate come down in every step."""
    has_recompute_orders: ClassVar[bool] = False
    """Whether it may keep fewer activations by running blocks again, in an order that the option names."""
    updates_in_backward: ClassVar[bool] = False
    """Whether parameters are updated before the norm of all gradients is known, so that only each can be clipped."""
    overlaps: ClassVar[frozenset[str]] = frozenset()
    """Values of ``training.overlap.gradient`` with which later batches may go forward before the gradient of an earlier
    one is there; none where a step needs more of the server than the one gradient at the cut."""
    divides_batches: ClassVar[bool] = False
    """Whether a batch may be trained in parts (``training.overlap.micro_batches``): where a step adds up exact
    gradients, of which each part gives its own."""
    splits_in_three: ClassVar[bool] = False
    """Whether the last blocks can run on the client as well (``training.head_blocks``): where a step asks the server
    part for one pass and at most one gradient."""
    letter: ClassVar[str] = "?"
    """One character for charts of text."""
    style: ClassVar[str] = "cyan"
    """Style on terminals."""
    colour: ClassVar[str] = "#999933"
    """Colour in reports."""

    @property
    def uploads_weights(self) -> bool:
        """Whether the client sends its trained weights after the round; an estimate is replayed from scalars."""
        return self.gradient in (Gradient.EXACT, Gradient.LOCAL)

    @abstractmethod
    def client_step_s(
        self, passes: BlockSeconds, cut: int, zeroth_order: ZerothOrder, forwards: Sequence[int] | None = None
    ) -> float:
        """Seconds of one step on the client.

        Parameters
        ----------
        passes
            Seconds of each block's passes on the client's device.
        cut
            Blocks on the client; all of them where there is no server part.
        zeroth_order
            Directions, and how each is probed.
        forwards
            [cut] how often each block runs forward, for options with a recompute order; None without one.
        """

    @abstractmethod
    def step_bytes(self, sizes: StepSizes, zeroth_order: ZerothOrder, *, client_trains: bool) -> StepBytes:
        """Bytes of one step over the cut.

        Parameters
        ----------
        sizes
            Sizes of what may cross.
        zeroth_order
            Directions, and how each is probed.
        client_trains
            Whether the client part has trainable parameters.
        """

    def bytes_without_server(self, sizes: StepSizes, zeroth_order: ZerothOrder) -> StepBytes:
        """Bytes of one step with the whole model on the device: the scalars that the server replays, if any."""
        if self.gradient is not Gradient.ESTIMATED:
            return StepBytes(0, 0)
        return StepBytes(SCALAR_BYTES * zeroth_order.directions + sizes.row_ids, 0)

    def model_upload_bytes(self, weights: int, sizes: StepSizes, zeroth_order: ZerothOrder, local_steps: int) -> int:
        """Bytes that go up after a round: the weights, where they are not replayed.

        Parameters
        ----------
        weights
            Bytes of the client part's trained parameters and statistics.
        sizes, zeroth_order, local_steps
            Sizes of what may cross, directions, and steps of the round.
        """
        return weights if self.uploads_weights else 0

    def saved_without_upload_s(self, passes: BlockSeconds, cut: int, zeroth_order: ZerothOrder) -> float:
        """Seconds that a step saves on the client where it sends no smashed data; 0 for modes that always send.

        Parameters
        ----------
        passes, cut, zeroth_order
            As of :meth:`client_step_s`.
        """
        return 0.0

    def probes(self, zeroth_order: ZerothOrder, *, on_device: bool) -> LossProbes | None:
        """Return the probes of a step of a mode that asks for losses; None for all others."""
        return None

    def reliability(self, zeroth_order: ZerothOrder, num_trainable: int) -> float:
        """Return the expected squared cosine between a step and the exact gradient of the client part, in [0, 1].

        1 for exact gradients, ``q / (d + q - 1)`` for an estimate from q directions in d dimensions, 0 for none; times
        :data:`LOCAL_ALIGNMENT` where the gradient is that of a local loss. It is the ``ρ`` of a client's expected
        progress and the weight of its deltas in the aggregation.

        Parameters
        ----------
        zeroth_order
            Directions, and the effective dimension if the scenario states one.
        num_trainable
            Trainable parameters of the client part: the dimension otherwise.
        """
        if self.gradient is Gradient.EXACT:
            return 1.0
        if self.gradient is Gradient.NONE or num_trainable == 0:
            return 0.0
        of_loss = LOCAL_ALIGNMENT if self.has_local_head else 1.0
        if self.gradient is Gradient.LOCAL:
            return of_loss
        return of_loss * reliability_of_estimate(zeroth_order, num_trainable)


def reliability_of_estimate(zeroth_order: ZerothOrder, num_trainable: int) -> float:
    """Expected squared cosine between a gradient and its estimate along random directions.

    ``q / (d + q - 1)`` for q directions in d dimensions: docs/methods/training-modes.md, Estimator moments. The three
    distributions of directions differ by 1/d of it at most.
    """
    dimension = min(zeroth_order.effective_dimension or num_trainable, num_trainable)
    return zeroth_order.directions / (dimension + zeroth_order.directions - 1)
