"""What updates take of a round whose batches are divided: they come once a step, after the last part of its batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class UpdateCosts(NamedTuple):
    """The parts of a round's totals that updates cause, of options with micro-batches; nothing of all others.

    Parameters
    ----------
    client_update_s
        Seconds on the device, part of ``client_compute_s``.
    server_update_s
        Seconds at the whole server, part of ``server_compute_s``.
    """

    client_update_s: float = 0.0
    server_update_s: float = 0.0

    @classmethod
    def of_row(cls, row: Mapping[Any, Any]) -> UpdateCosts:
        """Return those of a row of an option table; nothing where the table has no such columns."""
        return cls(*(row.get(name, default) for name, default in cls._field_defaults.items()))


NO_UPDATES = UpdateCosts()
UPDATE_COLUMNS: Mapping[str, str] = {"client_update_s": "float64", "server_update_s": "float64"}
"""Columns of tables whose scenario offers micro-batches, and of no others: the fields of :class:`UpdateCosts`. Where a
batch is not divided they are 0, since nothing hangs on when in its step the update comes."""
UPDATES_OF: Mapping[str, str] = {"client_update_s": "client_compute_s", "server_update_s": "server_compute_s"}
"""The total that each of them is part of."""
