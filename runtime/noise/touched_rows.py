"""Rows of an embedding that a batch reads: the only ones that have a gradient, and that are perturbed and moved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class TouchedRows:
    """Which rows of a table a batch of N tokens reads, and where their directions are kept.

    Directions are drawn into M slots: one a token, or one a row of the table, whichever is fewer. M follows from
    shapes, so that shapes alone can trace it.

    Parameters
    ----------
    rows_M
        The table's row that a slot stands for.
    trained_M
        1 in one slot of every row that is touched and trained, 0 elsewhere: further tokens of the same row, the padding
        row, rows that no token reads.
    slots_N
        For each token, the slot of its row.
    """

    rows_M: Tensor
    trained_M: Tensor
    slots_N: Tensor

    @classmethod
    def of(cls, ids: Tensor, num_rows: int, padding_idx: int | None) -> TouchedRows:
        """Find the rows of a table that token ids touch.

        Parameters
        ----------
        ids
            The token ids, of any shape.
        num_rows
            Rows of the table.
        padding_idx
            The padding row, which is not trained; None if there is none.
        """
        ids_N = ids.flatten().long()
        if ids_N.numel() >= num_rows:
            rows_M, slots_N = torch.arange(num_rows, device=ids.device), ids_N
            trained_M = torch.zeros_like(rows_M).index_fill_(0, ids_N, 1)
        else:
            rows_M, slots_N = ids_N, _first_of_same_value(ids_N)
            trained_M = (slots_N == torch.arange(ids_N.numel(), device=ids.device)).long()
        if padding_idx is not None:
            trained_M.mul_(rows_M != padding_idx % num_rows)
        return cls(rows_M, trained_M, slots_N)

    def are_of(self, ids: Tensor) -> bool:
        """Whether these tokens read these rows, in this order; shapes alone cannot tell, and agree."""
        if ids.numel() != self.slots_N.numel():
            return False
        return ids.is_meta or torch.equal(self.rows_M[self.slots_N], ids.flatten().long())

    def of_tokens(self, slots_MD: Tensor) -> Tensor:
        """Give every token what is in its slot, shape [N, D]."""
        return slots_MD[self.slots_N]

    def clone(self) -> TouchedRows:
        """Return the same rows in memory of their own."""
        return TouchedRows(self.rows_M.clone(), self.trained_M.clone(), self.slots_N.clone())


Rows = Mapping[str, TouchedRows]


def _first_of_same_value(ids_N: Tensor) -> Tensor:
    """Return, for each entry, the position of the first one that equals it."""
    sorted_N, order_N = torch.sort(ids_N, stable=True)
    index_N = torch.arange(ids_N.numel(), device=ids_N.device)
    is_new_N = torch.cat([torch.ones_like(sorted_N[:1], dtype=torch.bool), sorted_N[1:] != sorted_N[:-1]])
    group_start_N = torch.cummax(torch.where(is_new_N, index_N, torch.zeros_like(index_N)), dim=0).values
    return torch.empty_like(order_N).scatter_(0, order_N, order_N[group_start_N])
