"""Colours and names of phases and modes, the same in every figure and table.

Phases take the palette of Okabe and Ito (2008) and modes that of Tol ("muted", 2021); both stay apart under the common
kinds of colour blindness. Related phases have related colours: transfers of every step are blue, exchanges of the
client part are purple, compute is warm or green, waiting is grey.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.modes import MODES, Gradient

INK = "#1f2933"
MUTED = "#52606d"
RULE = "#d9dee4"
ACCENT = "#0b5394"
CONTROL = "#7b8794"
WARNING = "#b3261e"

PHASE_COLOURS: Mapping[Phase, str] = MappingProxyType(
    {
        Phase.MODEL_DOWNLOAD: "#7d4a75",
        Phase.CLIENT_COMPUTE: "#e69f00",
        Phase.UPLINK: "#0072b2",
        Phase.SERVER_COMPUTE: "#009e73",
        Phase.DOWNLINK: "#56b4e9",
        Phase.MODEL_UPLOAD: "#cc79a7",
        Phase.PROPAGATION: "#f0e442",
        Phase.BARRIER: "#dfe3e8",
    }
)
PHASE_LABELS: Mapping[Phase, str] = MappingProxyType(
    {
        Phase.MODEL_DOWNLOAD: "Model download",
        Phase.CLIENT_COMPUTE: "Client compute",
        Phase.UPLINK: "Uplink",
        Phase.SERVER_COMPUTE: "Server compute",
        Phase.DOWNLINK: "Downlink",
        Phase.MODEL_UPLOAD: "Model upload",
        Phase.PROPAGATION: "On the way",
        Phase.BARRIER: "Waiting at the barrier",
    }
)
_MODE_SHAPES: Mapping[Gradient, str] = MappingProxyType(
    {Gradient.EXACT: "circle", Gradient.ESTIMATED: "diamond", Gradient.NONE: "square"}
)


def mode_shape(mode: str) -> str:
    """Return the shape of a mode's mark, so that colour is never the only cue.

    Parameters
    ----------
    mode
        The mode.

    Returns
    -------
    str
        ``circle`` for exact gradients, ``diamond`` for zeroth-order ones, ``square`` for a frozen client part.
    """
    return _MODE_SHAPES[MODES[mode].gradient]
