"""A plan over relays in a notebook: the tables of the command line, as HTML."""

from __future__ import annotations

from hybridsplit.orchestrator.views.notebook import fragment
from hybridsplit.scenarios.contracts.display import as_html
from hybridsplit.scenarios.contracts.relay_plan import RelayPlan


@as_html.register
def _relay_plan(plan: RelayPlan) -> str:
    from rich.markup import escape

    from hybridsplit.orchestrator.relays.views import machines_table, placement_table, relay_headline

    return fragment(placement_table(plan), machines_table(plan), escape(relay_headline(plan)))
