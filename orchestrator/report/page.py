"""What every report is built of: one page that needs no network and no other file, with figures and long tables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import jinja2
import plotly.graph_objects as go
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from hybridsplit.orchestrator.report.figures import FONT
from hybridsplit.orchestrator.report.palette import dark_colours


@dataclass(frozen=True)
class Drawn:
    """A figure as the page holds it.

    Parameters
    ----------
    json
        Its values, which may stand inside a script element: no tag can begin in them.
    height_px
        Its height, which the page reserves before it is drawn.
    """

    json: Markup
    height_px: int


def drawn(figure: go.Figure) -> Drawn:
    """Return a figure as the page holds it.

    Parameters
    ----------
    figure
        The figure; its layout states a height.
    """
    text = str(figure.to_json()).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return Drawn(Markup(text), int(figure.layout.height))


def render_page(
    room: str,
    title: str,
    name: str,
    mark_colours: Mapping[str, str],
    values: Mapping[str, Any],
    template: str = "template.html.j2",
) -> str:
    """Render a template of a room, which includes ``head.html.j2`` and ``page.js``.

    Parameters
    ----------
    room
        The package that holds the template.
    title
        Title of the page.
    name
        What the files of saved figures are called after; what no file name may hold is left out.
    mark_colours
        Colours of the marks in legends and tables, by CSS class.
    values
        What the template shows besides.
    template
        Its file name.

    Returns
    -------
    str
        A complete HTML page; text of the user is escaped.
    """

    def source(wanted: str) -> str:
        owner = room if wanted == template else "hybridsplit.orchestrator.report"
        return files(owner).joinpath(wanted).read_text(encoding="utf-8")

    # The newline behind a block tag stays: sentences go on there, and would grow together.
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(source), autoescape=True, undefined=jinja2.StrictUndefined, lstrip_blocks=True
    )
    return environment.get_template(template).render(
        page_title=title,
        page_name=re.sub(r"[^\w.-]+", "-", name),
        font=Markup(FONT),
        plotly_js=Markup(get_plotlyjs()),
        dark_colours=dark_colours(mark_colours.values()),
        mark_colours=mark_colours,
        **values,
    )
