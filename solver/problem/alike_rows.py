"""Rows that clients of a group have in common: what holds for the first of them is worked out once.

A hundred thousand clients of five groups have the rows of five clients. What a row costs follows from the row and its
client's group, so it is worked out for those five, and every other row takes the value of the row it repeats.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybridsplit.scenarios.contracts.option_rows import CLIENT, OptionRows
from hybridsplit.scenarios.schema import Client
from hybridsplit.solver.problem.arrays import IntArray


@dataclass(frozen=True)
class AlikeRows:
    """Rows of some clients [J], of which all rows of a table [K] are repetitions.

    Parameters
    ----------
    first
        [N] the first client of the same group that has the same rows; a client without such a one itself.
    kept
        [C] those clients, rising.
    clients
        [C] those clients.
    few
        [J] their rows, numbered by their place among them.
    row
        [K] the row of ``few`` that every row repeats.
    """

    first: IntArray
    kept: IntArray
    clients: tuple[Client, ...]
    few: OptionRows
    row: IntArray

    @classmethod
    def of(cls, frame: OptionRows, clients: tuple[Client, ...], columns: Iterable[NDArray[Any]] = ()) -> AlikeRows:
        """Find out which rows repeat others.

        Parameters
        ----------
        frame
            [K] rows grouped by client, in the order of the clients.
        clients
            [N] the clients of a scenario, of which those of a group differ in nothing but their id.
        columns
            What else is compared of rows, [K] each.
        """
        starts = np.searchsorted(frame.client, np.arange(len(clients))).astype(np.int64)
        own = [values for name, values in frame.own.items() if name != CLIENT]
        first = first_alike(clients, starts, len(frame), [frame.place, *columns], own)
        kept = np.unique(first)
        if len(kept) == len(clients):
            return cls(first, kept, clients, frame, np.arange(len(frame)))
        sizes = np.diff(np.append(starts, len(frame)))
        is_kept = np.zeros(len(clients), dtype=bool)
        is_kept[kept] = True
        few_starts = np.cumsum(sizes[kept]) - sizes[kept]
        shift = few_starts[np.searchsorted(kept, first)] - starts
        return cls(
            first,
            kept,
            tuple(clients[i] for i in kept.tolist()),
            of_clients(frame, kept),
            np.arange(len(frame)) + shift[frame.client],
        )

    def spread(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return [K, ...] what is known of the few rows ([J, ...]), for all rows."""
        return values if len(self.kept) == len(self.first) else values[self.row]


def of_clients(frame: OptionRows, chosen: IntArray) -> OptionRows:
    """Return the rows of some clients, numbered by their place among those.

    Parameters
    ----------
    frame
        Rows grouped by client.
    chosen
        [C] indices of clients, rising.
    """
    begins, ends = np.searchsorted(frame.client, chosen), np.searchsorted(frame.client, chosen, side="right")
    sizes = ends - begins
    rows = np.arange(sizes.sum()) + np.repeat(begins - (np.cumsum(sizes) - sizes), sizes)
    own = {name: values[chosen] for name, values in frame.own.items()}
    return replace(frame.take(rows), client=np.repeat(np.arange(len(chosen)), sizes), own=own)


def first_alike(
    clients: Sequence[Client],
    starts: IntArray,
    num_rows: int,
    columns: Iterable[NDArray[Any]],
    own: Iterable[NDArray[Any]],
) -> IntArray:
    """[N] the first client of the same group whose rows and own values are equal; a client without such a one itself.

    Parameters
    ----------
    clients
        [N] the clients; those of a group follow one another.
    starts
        [N] first row of every client.
    num_rows
        Number of rows of all clients.
    columns
        What is compared of rows, [K] each.
    own
        What is compared of clients, [N] each.
    """
    first_of = np.arange(len(clients))
    ends = np.append(starts, num_rows)
    columns, own = list(columns), list(own)
    begin = 0
    for _, members in itertools.groupby([client.group for client in clients]):
        first, begin = begin, begin + sum(1 for _ in members)
        if begin - first == 1:
            continue
        sizes = np.diff(ends[first : begin + 1])
        if np.all(sizes == sizes[0]):
            rows = slice(ends[first], ends[begin])
            equal = np.ones(begin - first, dtype=bool)
            for values in own:
                equal &= np.asarray(values[first:begin] == values[first], dtype=bool)
            for column in columns:
                one = np.reshape(column[rows], (begin - first, sizes[0]))
                equal &= np.all(one == one[0], axis=1)
            first_of[first:begin][equal] = first
    return first_of
