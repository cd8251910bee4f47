"""HOSL: all clients zeroth order by loss differences."""

from __future__ import annotations

from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.solver.strategies.zeroth_order import EverybodyOneMode


class Hosl(EverybodyOneMode):
    """Zeroth-order clients by loss differences under an exact server, in the style of HOSL.

    Stated there: clients train by forward passes and the server by backpropagation. One cut for all clients (the best)
    and equal shares are our reconstruction.
    """

    name = "hosl"
    summary = "every client zeroth order by loss differences, best uniform cut, equal shares"
    mode = Mode.ZO_LOSS
