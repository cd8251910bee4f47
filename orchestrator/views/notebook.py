"""Values in a notebook: the tables of the command line, as HTML."""

from __future__ import annotations

import io

from hybridsplit.scenarios.contracts.display import as_html
from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.contracts.plan import Plan

_WIDTH = 120
_FRAME = '<pre style="font-family: monospace; line-height: 1.3; overflow-x: auto">{code}</pre>'


def fragment(*parts: object) -> str:
    """Return tables and text as a fragment of HTML with its styles inline.

    Parameters
    ----------
    parts
        What Rich can print; text is read as Rich's markup.
    """
    from rich.console import Console

    console = Console(record=True, file=io.StringIO(), width=_WIDTH)
    for part in parts:
        console.print(part, highlight=False)
    return console.export_html(inline_styles=True, code_format=_FRAME)


@as_html.register
def _plan(plan: Plan) -> str:
    from hybridsplit.orchestrator.views.tables import plan_headline, plan_table

    return fragment(plan_table(plan), plan_headline(plan))


@as_html.register
def _options(options: OptionTable) -> str:
    from hybridsplit.orchestrator.views.profile import fits_table

    return fragment(fits_table(options))
