"""HO-SFL: all clients zeroth order by projection."""

from __future__ import annotations

from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.solver.strategies.zeroth_order import EverybodyOneMode


class HoSfl(EverybodyOneMode):
    """Zeroth-order clients that project on the gradient at the cut, in the style of HO-SFL.

    Stated there: forward differences on the device projected on the returned gradient. One cut for all clients (the
    best) and equal shares are our reconstruction.
    """

    name = "ho-sfl"
    summary = "every client zeroth order by projection, best uniform cut, equal shares"
    mode = Mode.ZO_PROJECTION
