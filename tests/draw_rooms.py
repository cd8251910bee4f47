"""Draw the rooms of the code: ``python -m tests.draw_rooms`` writes ``docs/images/rooms.svg`` from the imports."""

from __future__ import annotations

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
_WIDTH, _LINE, _PAD, _GAP, _SPACE = 1160, 28, 14, 16, 6
_LEVELS = (("orchestrator",), ("profiler", "solver"), ("runtime",), ("scenarios",))
"""Folders from the top: each imports only folders below it, and of its neighbours none."""


def svg() -> str:
    """Return the picture: a panel a folder, a line of boxes a floor of its rooms, the highest floor on top."""
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
    """Return the shapes of a folder's panel, and its height."""
    inside, height = [], float(_PAD + _LINE)
    for floor in reversed(floors(arrows(folder))):
        boxes, used = _floor(floor, x + _PAD, y + height, width - 2 * _PAD)
        inside += boxes
        height += used
    height += _PAD - _SPACE
    outside = [
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="8" fill="#f4f6f8" stroke="#9aa5b1"/>',
        (
            f'<text x="{x + _PAD:g}" y="{y + _PAD + 10:g}" font-weight="700" fill="#1f2933">{folder}'
            f'<tspan dx="8" font-weight="400" fill="#52606d">{escape(ABOUT[folder])}</tspan></text>'
        ),
    ]
    return outside + inside, height


def _floor(rooms: list[str], x: float, y: float, width: float) -> tuple[list[str], float]:
    """Return a box a room of one floor, in as many lines as they need, and the height that takes."""
    shapes: list[str] = []
    left, top = x, y
    for room in rooms:
        box = len(room) * 8.0 + 18
        if left + box > x + width:
            left, top = x, top + _LINE
        shapes.append(
            f'<rect x="{left:g}" y="{top:g}" width="{box:g}" height="{_LINE - 4}" rx="5" fill="#ffffff" '
            'stroke="#52606d"/>'
        )
        shapes.append(
            f'<text x="{left + box / 2:g}" y="{top + _LINE - 11:g}" text-anchor="middle" font-size="13" '
            f'font-family="ui-monospace, monospace" fill="#1f2933">{escape(room)}</text>'
        )
        left += box + _SPACE
    return shapes, top - y + _LINE + _SPACE


if __name__ == "__main__":
    PICTURE.write_text(svg(), encoding="utf-8")
