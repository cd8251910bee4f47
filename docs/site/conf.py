"""Sphinx reads the pages as they stand in docs/, and the reference that build.py adds."""

from __future__ import annotations

import os
import posixpath
import re

from sphinx.application import Sphinx

project = "hybridsplit"
html_title = "hybridsplit"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
html_theme = "furo"
html_copy_source = False
html_show_sphinx = False
myst_heading_anchors = 4
napoleon_google_docstring = False
napoleon_use_rtype = False
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
suppress_warnings = ["myst.header"]

REPOSITORY = os.environ.get("HYBRIDSPLIT_REPOSITORY_URL", "")
"""Where links to files of the repository lead; without it they become paths."""

_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((\.\./[^)\s#]+)(?:#[^)\s]*)?\)")


def _outside_links(app: Sphinx, name: str, source: list[str]) -> None:
    """Replace links to files outside the pages, which the site does not hold."""

    def named(link: re.Match[str]) -> str:
        text, target = link[1], link[2]
        path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(name), target))
        if path.startswith("docs/") and path != "docs/site":
            return link[0]
        if REPOSITORY:
            return f"[{text}]({REPOSITORY.rstrip('/')}/blob/main/{path})"
        return text if path in text else f"{text} (`{path}`)"

    source[0] = _LINK.sub(named, source[0])


def setup(app: Sphinx) -> None:
    """Connect what changes the pages."""
    app.connect("source-read", _outside_links)
