"""Values of inference tasks in a notebook: the tables of the command line, as HTML."""

from __future__ import annotations

from hybridsplit.orchestrator.inference.results import AppsComparison, LayerCosts, ReplayedApps
from hybridsplit.orchestrator.views.notebook import fragment
from hybridsplit.scenarios.contracts.display import as_html
from hybridsplit.scenarios.contracts.inference_plan import InferencePlan


@as_html.register
def _apps_plan(plan: InferencePlan) -> str:
    from rich.markup import escape

    from hybridsplit.orchestrator.inference.views import app_table, device_table, inference_headline

    return fragment(app_table(plan), device_table(plan), escape(inference_headline(plan)))


@as_html.register
def _layers(costs: LayerCosts) -> str:
    from hybridsplit.orchestrator.inference.views import layers_table

    return fragment(*layers_table(costs.scenario))


@as_html.register
def _apps_comparison(compared: AppsComparison) -> str:
    from hybridsplit.orchestrator.inference.views import apps_comparison_table

    return fragment(apps_comparison_table(compared.rows))


@as_html.register
def _replayed_apps(replayed: ReplayedApps) -> str:
    from rich.markup import escape

    from hybridsplit.orchestrator.inference.views import replayed_table

    return fragment(replayed_table(replayed.summary), escape(repr(replayed)))
