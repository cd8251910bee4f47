"""Where a client's blocks run and how its part is trained: the decision of a plan, as one value.

A placement is what a strategy chooses for a client, and what the runtime carries out. Its fields are spelled once,
here: the key of an option table, a client's entry in a plan, the fingerprint of a run and every grouping of alike
clients follow from them, so that a new field is part of all of these as soon as it exists.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, Field

from hybridsplit.scenarios.modes import ModeName
from hybridsplit.scenarios.sections.local_loss import MOST_STEPS_APART
from hybridsplit.scenarios.sections.overlap import MOST_MICRO_BATCHES, MOST_STALENESS
from hybridsplit.scenarios.sections.three_part import MOST_HEAD_BLOCKS

if TYPE_CHECKING:
    import pandas as pd


class FrozenValue(BaseModel):
    """A value between stages: frozen, unknown fields rejected, no infinities."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, allow_inf_nan=False, defer_build=True)


class Placement(FrozenValue):
    """One way to divide the model between a client and the server, and to train the client's part.

    A placement has two stages: blocks ``1..cut`` on the client, trained by ``mode``, and the others at the server,
    trained by exact gradients. With head blocks it has a third one: the last blocks are on the client again, trained by
    exact gradients too, and the server has those in between. Every field tells options apart: two rows of an option
    table with equal placements and equal clients are the same option.
    """

    cut: int = Field(ge=1, lt=2**31)
    """Blocks on the client, counted from the input."""
    mode: ModeName
    """How the client part is trained."""
    recompute: str = ""
    """Order in which ``fo-recompute`` runs its blocks; empty for one kept input per block."""
    batch_size: int = Field(ge=1, lt=2**31)
    """Samples a step."""
    staleness: int = Field(default=0, ge=0, le=MOST_STALENESS)
    """By how many updates a forward pass may be behind: batches that go forward before a gradient is waited for."""
    upload_every: int = Field(default=1, ge=1, le=MOST_STEPS_APART)
    """Steps from one upload of smashed data to the next; more than 1 for modes with a local loss alone."""
    head_blocks: int = Field(default=0, ge=0, le=MOST_HEAD_BLOCKS)
    """Last blocks of the model that are on the client as well, with the loss, so that labels stay there."""
    micro_batches: int = Field(default=1, ge=1, le=MOST_MICRO_BATCHES)
    """Equal parts in which a batch is sent and trained; both sides update after the last."""

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Self:
        """Return the placement of a row of an option table.

        Raises
        ------
        pydantic.ValidationError
            If the row's values are no placement.
        """
        return cls(**{name: row[name] for name in PLACEMENT_COLUMNS})

    @property
    def placement(self) -> Placement:
        """The placement alone, of a value that has more fields than it."""
        return Placement(**{name: getattr(self, name) for name in PLACEMENT_COLUMNS})

    @property
    def key(self) -> tuple[object, ...]:
        """What tells the options of one client apart, in the order of :data:`PLACEMENT_COLUMNS`."""
        return tuple([str(value) if isinstance(value, str) else value for value in self._values()])

    def described(self, *, names_batch: bool) -> str:
        """Say it in words, such as ``cut 4 fo with batch 8``.

        Parameters
        ----------
        names_batch
            Whether to name the batch size: needed where it is a choice.
        """
        return described(dict(zip(PLACEMENT_COLUMNS, self._values(), strict=True)), names_batch=names_batch)

    def trained_by(self, mode: str) -> Placement:
        """Return the same division with the client part trained by another mode: no recompute order, no overlap."""
        without = {"recompute": "", "staleness": 0, "upload_every": 1, "micro_batches": 1}
        return self.placement.model_copy(update={"mode": mode, **without})

    @property
    def overlaps(self) -> bool:
        """Whether several batches, or parts of one, are under way at a time."""
        return self.staleness > 0 or self.micro_batches > 1

    def _values(self) -> tuple[object, ...]:
        return _values_of(self)


PLACEMENT_COLUMNS = tuple(Placement.model_fields)
"""Fields of a placement, which are columns of the option table."""
_values_of: Callable[[Placement], tuple[object, ...]] = attrgetter(*PLACEMENT_COLUMNS)


def described(row: Mapping[Any, Any] | pd.Series, *, names_batch: bool) -> str:
    """Say in words which placement a row of an option table stands for.

    Parameters
    ----------
    row
        A row with the columns of :data:`PLACEMENT_COLUMNS`.
    names_batch
        Whether to name the batch size: needed where it is a choice.
    """
    batch = f" with batch {row['batch_size']}" if names_batch else ""
    ahead = f", {row['staleness']} ahead" if row["staleness"] else ""
    seldom = f", smashed data every {row['upload_every']} steps" if row["upload_every"] > 1 else ""
    head = f", head of {row['head_blocks']}" if row["head_blocks"] else ""
    parts = f", {row['micro_batches']} micro-batches" if row["micro_batches"] > 1 else ""
    return f"cut {row['cut']} {row['mode']}{batch}{ahead}{seldom}{head}{parts}"
