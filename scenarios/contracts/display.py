"""How values show themselves in a notebook: one function over types, which the views fill."""

from __future__ import annotations

import html
from functools import singledispatch


@singledispatch
def as_html(value: object) -> str:
    """Return a value as a fragment of HTML.

    Views register what a type looks like (``orchestrator/views/notebook.py``); a value without a view shows its text.
    """
    return f"<pre>{html.escape(repr(value))}</pre>"


class Shown:
    """Has a view in notebooks."""

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        return as_html(self)
