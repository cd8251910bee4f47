"""What a split in three parts adds to a step: the last blocks and the loss run on the client as well.

Smashed data go up and the server runs the middle forward, as in any step; then features come down, the client runs its
head forward and backward, the features' gradient goes up, and the server runs the middle backward. What each of these
takes is part of a row's totals, and stands here apart, so that a round can be put in order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class HeadCosts(NamedTuple):
    """The parts of a round's totals that the head on the client causes; nothing where there is none.

    Parameters
    ----------
    head_compute_s
        Seconds on the device, part of ``client_compute_s``.
    head_features_bytes
        Bytes that come down, part of ``downlink_bytes``.
    head_gradient_bytes
        Bytes that go up, part of ``uplink_bytes``.
    server_backward_s
        Seconds at the whole server after the features' gradient has arrived, part of ``server_compute_s``.
    """

    head_compute_s: float = 0.0
    head_features_bytes: int = 0
    head_gradient_bytes: int = 0
    server_backward_s: float = 0.0

    @classmethod
    def of(cls, values: Any) -> HeadCosts:
        """Return those of a value that has them as attributes."""
        return cls(*(getattr(values, name) for name in cls._fields))

    @classmethod
    def of_row(cls, row: Mapping[Any, Any]) -> HeadCosts:
        """Return those of a row of an option table; nothing where the table has no such columns."""
        return cls(*(row.get(name, default) for name, default in cls._field_defaults.items()))


NO_HEAD = HeadCosts()
HEAD_COLUMNS: Mapping[str, str] = {
    "head_compute_s": "float64",
    "head_features_bytes": "int64",
    "head_gradient_bytes": "int64",
    "server_backward_s": "float64",
}
"""Columns of tables whose scenario offers a split in three parts, and of no others: the fields of
:class:`HeadCosts`."""
WHOLE_OF: Mapping[str, str] = {
    "head_compute_s": "client_compute_s",
    "head_features_bytes": "downlink_bytes",
    "head_gradient_bytes": "uplink_bytes",
    "server_backward_s": "server_compute_s",
}
"""The total that each of them is part of."""
