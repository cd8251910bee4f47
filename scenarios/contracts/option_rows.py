"""Rows of an option table without repetition: what clients have in common stands once.

A hundred thousand clients of five kinds have five kinds of rows. A row is then a place among those and the number of
its client; columns are put together when they are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_numeric_dtype

IntArray = NDArray[np.int64]
CLIENT = "client"


@dataclass(frozen=True, eq=False)
class OptionRows:
    """``K`` rows of ``N`` clients.

    Parameters
    ----------
    kinds
        [M] rows, without the columns that clients do not share.
    place
        [K] the row of ``kinds`` that each row is.
    client
        [K] number of the client that it belongs to.
    own
        Columns by client, [N] each: ``client``, the id, and others that differ between clients of the same rows.
    """

    kinds: pd.DataFrame
    place: IntArray
    client: IntArray
    own: Mapping[str, NDArray[Any]]

    @classmethod
    def of_frame(cls, frame: pd.DataFrame) -> OptionRows:
        """Return the rows of a table, each a kind of its own."""
        number, names = frame[CLIENT].factorize()
        own = {CLIENT: np.array(names.tolist(), dtype=object)}
        return cls(frame.drop(columns=CLIENT), np.arange(len(frame)), number.astype(np.int64), own)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.place)

    def __contains__(self, name: object) -> bool:
        """Return whether there is such a column."""
        return name in self.own or name in self.kinds

    def __getitem__(self, name: str) -> pd.Series:
        """Return [K] a column; text as a categorical, whose rows are numbers until they are looked at."""
        if name == CLIENT:
            return pd.Series(pd.Categorical.from_codes(self.client, dtype=self._ids))
        if name in self.own:
            return pd.Series(self.own[name][self.client], copy=False)
        if is_numeric_dtype(self.kinds[name]):
            return pd.Series(self.kinds[name].to_numpy()[self.place], copy=False)
        codes, values = self.coded(name)
        return pd.Series(pd.Categorical.from_codes(codes, dtype=pd.CategoricalDtype(values)))

    @cached_property
    def _ids(self) -> pd.CategoricalDtype:
        return pd.CategoricalDtype(self.own[CLIENT].tolist())

    def coded(self, name: str) -> tuple[IntArray, list[Any]]:
        """Return [K] a column of the kinds as numbers, equal where its values are, and the value of each number."""
        codes, values = self.kinds[name].factorize()
        return codes.astype(np.int64)[self.place], values.tolist()

    def take(self, rows: NDArray[Any]) -> OptionRows:
        """Return some rows: places of rows, or a mask [K]."""
        return OptionRows(self.kinds, self.place[rows], self.client[rows], self.own)

    def frame(self, rows: NDArray[Any] | None = None) -> pd.DataFrame:
        """Return rows as a table with all columns; all of them when None."""
        chosen = self if rows is None else self.take(rows)
        found = chosen.kinds.take(chosen.place)
        found.index = pd.RangeIndex(len(found))
        for position, (name, values) in enumerate(self.own.items()):
            of_each = values[chosen.client]
            where = 0 if name == CLIENT else min(position + len(chosen.kinds.columns), len(found.columns))
            found.insert(where, name, pd.Series(of_each.tolist(), dtype="str") if name == CLIENT else of_each)
        return found

    def joined(self, kinds: pd.DataFrame, place: IntArray, client: IntArray) -> OptionRows:
        """Return these rows and others behind them.

        Parameters
        ----------
        kinds
            [M] rows, in the columns of this table's kinds.
        place
            [J] the row of ``kinds`` that each of the others is.
        client
            [J] number of the client of each.
        """
        everything = pd.concat([self.kinds, kinds.astype(self.kinds.dtypes.to_dict())], ignore_index=True)
        behind = len(self.kinds) + place
        return OptionRows(
            everything, np.concatenate([self.place, behind]), np.concatenate([self.client, client]), self.own
        )

    def occurs_twice(self, key: Iterable[str]) -> NDArray[np.bool_]:
        """[K] True where an earlier row of the client is equal in some columns of the kinds."""
        codes = pd.DataFrame({name: self.kinds[name].factorize()[0] for name in key})
        _, number = np.unique(codes.to_numpy(), axis=0, return_inverse=True)
        of_row = number.ravel()[self.place] + self.client * (int(number.max(initial=0)) + 1)
        if np.all(np.diff(of_row) > 0):
            return np.zeros(len(of_row), dtype=bool)
        return np.asarray(pd.Series(of_row).duplicated())


Rows: TypeAlias = pd.DataFrame | OptionRows
"""Rows of an option table, whose columns are asked for by name."""
