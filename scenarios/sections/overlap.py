"""Whether clients go on while the server works: with later batches, or with further parts of the same one."""

# Annotations are values here and not text (no __future__): of text, pydantic's reading is a third of the import.

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from hybridsplit.scenarios.modes import MODES
from hybridsplit.scenarios.sections.base import Section

MOST_STALENESS = 16
"""A limit against slips: two steps ahead hide nearly all of a link's delay, and each costs memory and progress."""
Staleness = Annotated[int, Field(ge=0, le=MOST_STALENESS)]
MOST_MICRO_BATCHES = 4096
"""A limit against slips; parts are of a sample at least."""
MicroBatches = Annotated[int, Field(ge=1, le=MOST_MICRO_BATCHES)]
PROGRESS_LOST_A_STEP = 0.1
"""κ in the factor ``1 / (1 + κ·D)`` on the expected progress of a client that is ``D`` steps ahead: assumed."""


class Overlap(Section):
    """Work of a client that overlaps with that of the server and the links.

    Steps overlap where gradients come late (parallel split learning with delayed gradients, arXiv 2209.02428); within a
    step the parts of a batch do, and gradients stay exact.
    """

    staleness: Annotated[tuple[Staleness, ...], Field(min_length=1)] = (0,)
    """By how many updates the weights of a forward pass may be behind those at its backward pass, as options of the
    planner; with 0 a client waits for the gradient of every step. Where nothing can overlap, with the whole model or
    nothing to train on the device or in another mode, it is 0 whatever is listed."""
    gradient: Literal["stash", "current"] = "stash"
    """What a late gradient is applied to. ``stash``: activations and weights of the forward pass are kept, and the
    gradient is exact at those, for ``fo``. ``current``: only the inputs are kept; backward runs forward again at
    today's weights, for ``fo``, ``fo-recompute`` and ``zo-projection``."""
    micro_batches: Annotated[tuple[MicroBatches, ...], Field(min_length=1)] = (1,)
    """Equal parts that a batch is sent and trained in, as options of the planner, for ``fo`` and ``fo-recompute``: all
    parts go forward, and then backward, while others are on their way or at the server. Gradients are added, and both
    sides update once after the last part. Each number divides every batch size. Options that are ahead of their
    gradients, have a head on the client or no server part, and other modes have 1 whatever is listed."""

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        for name, listed in (("staleness", self.staleness), ("micro_batches", self.micro_batches)):
            if len(set(listed)) != len(listed):
                raise ValueError(f"{name} lists a value twice: {', '.join(map(str, listed))}")
        return self

    @property
    def most(self) -> int:
        """The largest staleness on offer; 0 where no steps overlap."""
        return max(self.staleness)

    def of_mode(self, mode: str) -> tuple[int, ...]:
        """Return the staleness values on offer for a client part trained by a mode, smallest first.

        Parameters
        ----------
        mode
            A registered mode; one whose steps cannot overlap has 0 alone.
        """
        return tuple(sorted(self.staleness)) if self.gradient in MODES[mode].overlaps else (0,)

    @property
    def most_micro_batches(self) -> int:
        """The largest number of micro-batches on offer; 1 where no batch is divided."""
        return max(self.micro_batches)

    def micro_batches_of_mode(self, mode: str) -> tuple[int, ...]:
        """Return the numbers of micro-batches on offer for a client part trained by a mode, smallest first.

        Parameters
        ----------
        mode
            A registered mode; one whose batches cannot be divided has 1 alone.
        """
        is_able = mode in MODES and MODES[mode].divides_batches
        return tuple(sorted(self.micro_batches)) if is_able else (1,)


def overlap_faults(
    overlap: Overlap, modes: Sequence[str], server_model: str, local_steps: int, server_gradient: str
) -> Iterator[str]:
    """Yield what stands in the way of overlapping steps; nothing where none do.

    Parameters
    ----------
    overlap
        The section.
    modes, server_model, local_steps, server_gradient
        Of the training section.
    """
    if overlap.most == 0:
        return
    if not any(overlap.gradient in MODES[mode].overlaps for mode in modes):
        able = [name for name, mode in MODES.items() if overlap.gradient in mode.overlaps]
        yield (
            f"overlap.staleness: found {overlap.most} while modes lists {', '.join(modes)}, none of which can go on "
            f"while the server works, with gradient: {overlap.gradient}: zo-loss asks the server again and again in a "
            "step, frozen clients wait for nothing, and only fo keeps what stash needs; use staleness: [0], or add "
            f"one of {', '.join(able)}"
        )
    if server_model != "per-client":
        yield (
            f"overlap.staleness: found {overlap.most} with server_model {server_model!r}, where all clients meet at "
            "one server model in every step; use server_model: per-client, or staleness: [0]"
        )
    if overlap.most >= local_steps:
        yield (
            f"overlap.staleness: found {overlap.most} with local_steps {local_steps}; a round ends with every gradient "
            "applied, so that a client can be at most one step less than that ahead: use a larger local_steps, or a "
            "smaller staleness"
        )
    if server_gradient != "exact":
        yield (
            f"overlap.staleness: found {overlap.most} with server_gradient {server_gradient!r}, which sends no "
            "gradient to wait for; use server_gradient: exact, or staleness: [0]"
        )
