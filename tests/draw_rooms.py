"""Draw the rooms of the code: ``python -m tests.draw_rooms`` writes ``docs/images/rooms.svg`` from the imports."""

from __future__ import annotations

from collections.abc import Iterator
from xml.sax.saxutils import escape

from tests.structure import ROOT, arrows, floors

PICTURE = ROOT / "docs" / "images" / "rooms.svg"
ABOUT = {
    "orchestrator": "what the user calls",
    "profiler": "what each choice costs",
    "solver": "which choice, which share",
    "runtime": "carry it out, replay it",
    "scenarios": "what is to be solved, and the values that travel",
}
_WIDTH, _LINE, _PAD, _GAP = 1160, 26, 14, 18
_LEVELS = (("orchestrator",), ("profiler", "solver"), ("runtime",), ("scenarios",))
"""Folders from the top: each imports only folders below it, and of its neighbours none."""


def svg() -> str:
    """Return the picture: a panel a folder, a line a floor of its rooms, the highest floor on top."""
    parts, y = [], 10
    for level in _LEVELS:
        width = (_WIDTH - _GAP * (len(level) - 1)) / len(level)
        heights = []
        for position, folder in enumerate(level):
            x = 10 + position * (width + _GAP)
            drawn, height = _panel(folder, x, y, width)
            parts += drawn
            heights.append(height)
        y += max(heights) + _GAP
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH + 20} {y}" role="img" '
        'font-family="system-ui, sans-serif" font-size="14">'
        "<title>Rooms of hybridsplit; every room imports only rooms of floors below it</title>"
        f'<rect width="{_WIDTH + 20}" height="{y}" fill="#ffffff"/>'
    )
    return "\n".join([head, *parts, "</svg>"]) + "\n"


def _panel(folder: str, x: float, y: float, width: float) -> tuple[list[str], float]:
    lines = list(_lines(folder, width))
    height = 2 * _PAD + _LINE * (len(lines) + 1)
    drawn = [
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="8" fill="#f4f6f8" stroke="#52606d"/>',
        (
            f'<text x="{x + _PAD:g}" y="{y + _PAD + 14:g}" font-weight="700" fill="#1f2933">{folder}'
            f'<tspan font-weight="400" fill="#52606d">  {escape(ABOUT[folder])}</tspan></text>'
        ),
    ]
    for number, line in enumerate(lines, 1):
        top = y + _PAD + 14 + number * _LINE
        drawn.append(f'<text x="{x + _PAD:g}" y="{top:g}" fill="#1f2933">{escape(line)}</text>')
    return drawn, height


def _lines(folder: str, width: float) -> Iterator[str]:
    """Floors of a folder from the top, broken to the width of its panel."""
    most = int(width / 7.6)
    for floor in reversed(floors(arrows(folder))):
        line = "▸ "
        for room in floor:
            if len(line) + len(room) + 3 > most:
                yield line
                line = "    "
            line += room + "   "
        yield line.rstrip()


if __name__ == "__main__":
    PICTURE.write_text(svg(), encoding="utf-8")
