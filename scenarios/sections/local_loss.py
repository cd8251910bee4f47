"""Modes whose clients have a loss of their own: the auxiliary head, and how often the server gets smashed data."""

# Annotations are values here and not text (no __future__): of text, pydantic's reading is a third of the import.

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from hybridsplit.scenarios.modes import MODES
from hybridsplit.scenarios.sections.base import PositiveInt, Section

MOST_STEPS_APART = 1_000_000
"""A limit against slips; a round has no more steps."""
UploadEvery = Annotated[int, Field(ge=1, le=MOST_STEPS_APART)]


class LocalLoss(Section):
    """How ``fo-local`` and ``zo-local`` train (CSE-FSL, arXiv 2307.11532; HERON-SFL, arXiv 2601.09076)."""

    upload_every: Annotated[tuple[UploadEvery, ...], Field(min_length=1)] = (1,)
    """Steps from one upload of smashed data to the next, as options of the planner. The first step of a round sends,
    and the server trains in the steps that send; 1 in all other modes, whatever is listed."""
    rank: PositiveInt = 8
    """Rank of the auxiliary head's projection on the vocabulary of a language model; of no effect elsewhere, where the
    head is one linear layer."""

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len(set(self.upload_every)) != len(self.upload_every):
            raise ValueError(f"upload_every lists a value twice: {', '.join(map(str, self.upload_every))}")
        return self

    def of_mode(self, mode: str) -> tuple[int, ...]:
        """Return the values of ``upload_every`` on offer for a mode, smallest first.

        Parameters
        ----------
        mode
            A registered mode; one without a loss of its own has 1 alone.
        """
        is_local = mode in MODES and MODES[mode].has_local_head
        return tuple(sorted(self.upload_every)) if is_local else (1,)


def local_modes(modes: Sequence[str]) -> list[str]:
    """Return those of some modes that have a loss of their own."""
    return [mode for mode in modes if MODES[mode].has_local_head]


def local_loss_faults(
    settings: LocalLoss,
    modes: Sequence[str],
    local_steps: int,
    server_model: str,
    label_holder: Literal["client", "server"],
    zo_prefix_blocks: int,
) -> Iterator[str]:
    """Yield what stands in the way of local losses; nothing where all agrees.

    Parameters
    ----------
    settings
        The section.
    modes, local_steps, server_model, label_holder, zo_prefix_blocks
        Of the training section.
    """
    local, most = local_modes(modes), max(settings.upload_every)
    if not local:
        if settings != LocalLoss():
            able = [name for name, mode in MODES.items() if mode.has_local_head]
            yield (
                f"local_loss: is given while modes lists {', '.join(modes)}, none of which has a loss of its own; add "
                f"one of {', '.join(able)} to modes, or remove local_loss"
            )
        return
    named = ", ".join(local)
    if label_holder == "server":
        yield (
            f"label_holder: found 'server' while modes lists {named}, whose clients compute a loss of their own and "
            "need the labels for it; use label_holder: client, or leave these modes out"
        )
    if zo_prefix_blocks:
        yield (
            f"zo_prefix_blocks: found {zo_prefix_blocks} while modes lists {named}; blocks that all clients move by "
            "the same averaged scalars need the same loss everywhere, and heads behind other cuts have others: "
            "use zo_prefix_blocks: 0, or leave these modes out"
        )
    if most > local_steps:
        yield (
            f"local_loss.upload_every: found {most} with local_steps {local_steps}; the first step of every round "
            "sends smashed data, so that a larger value than local_steps changes nothing: use at most "
            f"{local_steps}, or more local_steps"
        )
    if most > 1 and server_model != "per-client":
        yield (
            f"local_loss.upload_every: found {most} with server_model {server_model!r}, where all clients meet at one "
            "server model in every step; use server_model: per-client, or upload_every: [1]"
        )
