"""Plan and run hybrid-order split learning over heterogeneous edge devices.

    import hybridsplit as hs

    scenario = hs.load("quickstart", radio__uplink_hz="120 MHz")
    plan = hs.plan(scenario)
    run = hs.run(plan, rounds=2)

What stands in ``__all__`` is the public interface, with :mod:`hybridsplit.plugins` for extensions and
:mod:`hybridsplit.testing` for their tests; everything else may change. Names are imported when they are first used, so
that ``import hybridsplit`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hybridsplit.orchestrator.api import (
        compare,
        load,
        pareto,
        plan,
        profile,
        what_if,
    )
    from hybridsplit.orchestrator.api_runs import replay, report, run
    from hybridsplit.orchestrator.api_search import search
    from hybridsplit.orchestrator.exporting import export
    from hybridsplit.orchestrator.results import Replayed, Run
    from hybridsplit.orchestrator.search.results import ModelSearch
    from hybridsplit.orchestrator.studies.compare import Comparison
    from hybridsplit.orchestrator.studies.front import ParetoFront
    from hybridsplit.orchestrator.studies.what_if import WhatIf
    from hybridsplit.scenarios.contracts.options import OptionTable
    from hybridsplit.scenarios.contracts.placement import Placement
    from hybridsplit.scenarios.contracts.plan import Plan
    from hybridsplit.scenarios.errors import HybridSplitError
    from hybridsplit.scenarios.schema import Scenario

_API = "hybridsplit.orchestrator.api"
_HOME = {
    **dict.fromkeys(("load", "profile", "plan", "compare", "pareto", "what_if"), _API),
    **dict.fromkeys(("run", "replay", "report"), f"{_API}_runs"),
    "export": "hybridsplit.orchestrator.exporting",
    "search": f"{_API}_search",
    "ModelSearch": "hybridsplit.orchestrator.search.results",
    "Run": "hybridsplit.orchestrator.results",
    "Replayed": "hybridsplit.orchestrator.results",
    "Comparison": "hybridsplit.orchestrator.studies.compare",
    "ParetoFront": "hybridsplit.orchestrator.studies.front",
    "WhatIf": "hybridsplit.orchestrator.studies.what_if",
    "OptionTable": "hybridsplit.scenarios.contracts.options",
    "Placement": "hybridsplit.scenarios.contracts.placement",
    "Plan": "hybridsplit.scenarios.contracts.plan",
    "HybridSplitError": "hybridsplit.scenarios.errors",
    "Scenario": "hybridsplit.scenarios.schema",
}
__all__ = [
    "Comparison",
    "HybridSplitError",
    "ModelSearch",
    "OptionTable",
    "ParetoFront",
    "Placement",
    "Plan",
    "Replayed",
    "Run",
    "Scenario",
    "WhatIf",
    "compare",
    "export",
    "load",
    "pareto",
    "plan",
    "profile",
    "replay",
    "report",
    "run",
    "search",
    "what_if",
]

if not (Path(__file__).parent / "solver").is_dir():
    # A checkout without symbolic links, as on Windows: the folders stand at the top of the repository.
    __path__.append(str(Path(__file__).resolve().parents[2]))


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name == "__version__":
        from importlib.metadata import version

        return version("hybridsplit")
    if name not in _HOME:
        raise AttributeError(f"module 'hybridsplit' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    """Return the public names."""
    return [*__all__, "__version__"]
