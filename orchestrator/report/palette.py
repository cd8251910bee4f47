"""Colours and names of phases and modes, the same in every figure and table.

Phases take the palette of Okabe and Ito (2008) and modes that of Tol ("muted", 2021); both stay apart under the common
kinds of colour blindness. Related phases have related colours: transfers of every step are blue, exchanges of the
client part are purple, compute is warm or green, waiting is grey.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.modes import MODES, Gradient

INK = "#1f2933"
MUTED = "#52606d"
RULE = "#d9dee4"
ACCENT = "#0b5394"
CONTROL = "#7b8794"
WARNING = "#b3261e"
HATCH = "#aab4be"
PAPER = "#ffffff"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#7d4a75")
"""Of things that have no colour of their own, in their order: Okabe and Ito (2008), and one more."""
_DARK_PAPER = "#14191f"
_LEAST_CONTRAST = 4.5
"""Of anything drawn on a dark page with the page, as WCAG asks of text."""

PHASE_COLOURS: Mapping[Phase, str] = MappingProxyType(
    {
        Phase.MOVED_UP: "#882255",
        Phase.MOVED_DOWN: "#332288",
        Phase.MODEL_DOWNLOAD: "#7d4a75",
        Phase.CLIENT_COMPUTE: "#e69f00",
        Phase.MEMORY: "#999933",
        Phase.UPLINK: "#0072b2",
        Phase.SERVER_COMPUTE: "#009e73",
        Phase.HEAD_DOWNLINK: "#88ccee",
        Phase.HEAD_COMPUTE: "#d55e00",
        Phase.HEAD_UPLINK: "#004488",
        Phase.SERVER_BACKWARD: "#117733",
        Phase.DOWNLINK: "#56b4e9",
        Phase.MODEL_UPLOAD: "#cc79a7",
        Phase.PROPAGATION: "#f0e442",
        Phase.OVERLAPPED: "#b6bec8",
        Phase.ABANDONED: "#7f3b08",
        Phase.BARRIER: "#dfe3e8",
    }
)
PHASE_LABELS: Mapping[Phase, str] = MappingProxyType(
    {
        Phase.MOVED_UP: "Moved up with a cut",
        Phase.MOVED_DOWN: "Moved down with a cut",
        Phase.MODEL_DOWNLOAD: "Model download",
        Phase.CLIENT_COMPUTE: "Client compute",
        Phase.MEMORY: "Waiting for memory",
        Phase.UPLINK: "Uplink",
        Phase.SERVER_COMPUTE: "Server compute",
        Phase.HEAD_DOWNLINK: "Features to the head",
        Phase.HEAD_COMPUTE: "Head on the client",
        Phase.HEAD_UPLINK: "Gradient of the features",
        Phase.SERVER_BACKWARD: "Server backward",
        Phase.DOWNLINK: "Downlink",
        Phase.MODEL_UPLOAD: "Model upload",
        Phase.PROPAGATION: "On the way",
        Phase.OVERLAPPED: "At the same time as others",
        Phase.ABANDONED: "Left unfinished",
        Phase.BARRIER: "Waiting at the barrier",
    }
)
_MODE_SHAPES: Mapping[Gradient, str] = MappingProxyType(
    {Gradient.EXACT: "circle", Gradient.LOCAL: "circle", Gradient.ESTIMATED: "diamond", Gradient.NONE: "square"}
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
        ``circle`` for exact gradients, a local loss's too, ``diamond`` for zeroth-order ones, ``square`` for a frozen
        client part.
    """
    return _MODE_SHAPES[MODES[mode].gradient]


def on_dark(colour: str) -> str:
    """Return a colour as it is drawn on a dark page: itself, or lightened until it is seen there.

    Parameters
    ----------
    colour
        ``#rrggbb``.
    """
    if colour in _ON_DARK:
        return _ON_DARK[colour]
    least = _LEAST_CONTRAST * (_luminance(_channels(_DARK_PAPER)) + 0.05)
    shades = ([channel + (1.0 - channel) * tenths / 10 for channel in _channels(colour)] for tenths in range(11))
    seen = next(shade for shade in shades if _luminance(shade) + 0.05 >= least)  # white at the latest
    return "#" + "".join(f"{round(channel * 255):02x}" for channel in seen)


def dark_colours(others: Iterable[str] = ()) -> dict[str, str]:
    """Return what every colour of the figures is on a dark page.

    Parameters
    ----------
    others
        Colours beyond those of phases, modes, series and text.
    """
    used = {*_ON_DARK, *SERIES, *PHASE_COLOURS.values(), *(mode.colour for mode in MODES.values()), *others}
    return {colour: on_dark(colour) for colour in sorted(used)}


_ON_DARK: Mapping[str, str] = MappingProxyType(
    {
        PAPER: _DARK_PAPER, INK: "#e6eaef", MUTED: "#a9b4c0", RULE: "#38424d", ACCENT: "#7cb8f2", CONTROL: "#9aa5b1",
        WARNING: "#ff8a80", PHASE_COLOURS[Phase.BARRIER]: "#4a5561", HATCH: "#8792a0",
    }
)  # fmt: skip


def _channels(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5))


def _luminance(channels: Sequence[float]) -> float:
    """Relative luminance as WCAG 2 defines it."""
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
