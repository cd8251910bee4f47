"""What profiling, comparing and replaying an inference task come to, as values for the Python interface."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from hybridsplit.orchestrator.inference.comparing import ComparedApps, RateCell, rate_table
from hybridsplit.orchestrator.inference.replaying import ReplaySummary
from hybridsplit.scenarios.contracts.display import Shown
from hybridsplit.scenarios.contracts.inference_plan import InferencePlan
from hybridsplit.scenarios.inference.schema import InferenceScenario
from hybridsplit.scenarios.units import counted, format_seconds

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class LayerCosts(Shown):
    """What each layer of every model takes of each kind of accelerator.

    Parameters
    ----------
    scenario
        The scenario.
    """

    scenario: InferenceScenario

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row a layer and kind.

        Columns are ``model``, ``kind``, ``layer``, ``seconds`` (absent where it is not supported), ``weight_bytes``,
        ``kernel_bytes`` of a processor, ``data_bytes`` of an instance, ``crossing_bytes`` after it, and
        ``unsupported``, the reasons in words.
        """
        import pandas as pd

        from hybridsplit.profiler.accelerators.space import virtual_space

        apps = {app.model: app for app in virtual_space(self.scenario).apps}
        return pd.DataFrame(
            [
                {
                    "model": app.model,
                    "kind": kind,
                    "layer": name,
                    "seconds": None if index in costs.unsupported else float(costs.layer_s[index]),
                    "weight_bytes": int(app.weight_bytes[index]),
                    "kernel_bytes": int(costs.widest_bytes[index, index + 1]),
                    "data_bytes": int(costs.data_bytes[index]),
                    "crossing_bytes": int(app.crossing_bytes[index + 1]),
                    "unsupported": "; ".join(costs.unsupported.get(index, ())),
                }
                for app in apps.values()
                for kind, costs in app.by_kind.items()
                for index, name in enumerate(app.layers)
            ]
        )

    def __repr__(self) -> str:
        """Return how many layers there are, and how many no accelerator runs."""
        refused = int((self.frame["unsupported"] != "").sum())
        models = counted(self.frame["model"].nunique(), "model")
        return f"Layers of {self.scenario.name}: {len(self.frame)} of {models}, {refused} not supported"


@dataclass(frozen=True, repr=False)
class AppsComparison(Shown):
    """Strategies of an inference task side by side.

    Parameters
    ----------
    scenario
        The scenario.
    rows
        One a strategy.
    plans
        Their plans, by strategy.
    """

    scenario: InferenceScenario
    rows: tuple[ComparedApps, ...]
    plans: Mapping[str, InferencePlan]

    @property
    def frame(self) -> pd.DataFrame:
        """The rows as a table."""
        import pandas as pd

        return pd.DataFrame([row.model_dump() for row in self.rows])

    def rates(self) -> list[RateCell]:
        """Plan ``optimal`` and the seven baselines at nine pairs of link and reload rates; takes about a minute."""
        return rate_table(self.scenario)

    def __repr__(self) -> str:
        """Return the best strategy, and how many have no plan."""
        failed = sum(row.infeasible is not None for row in self.rows)
        planned = {name: plan.period_s for name, plan in self.plans.items()}
        words = f"Comparison of {len(self.rows)} strategies on {self.scenario.name}"
        if planned:
            best = min(planned, key=lambda name: planned[name])
            words += f": {best} has the shortest period, {format_seconds(planned[best])}"
        return words + (f"; {failed} without a plan" if failed else "")


@dataclass(frozen=True, repr=False)
class ReplayedApps(Shown):
    """A plan of an inference task played through.

    Parameters
    ----------
    plan
        The plan.
    summary
        What was found.
    path
        The folder of plan, figures and report; None where nothing was written.
    """

    plan: InferencePlan
    summary: ReplaySummary
    path: Path | None = None

    @property
    def period_s(self) -> float:
        """Seconds of a period on the replay's clock."""
        return self.summary.period_s

    def __repr__(self) -> str:
        """Return the replayed period beside the planned one."""
        return (
            f"Replayed {self.plan.scenario['name']} by {self.plan.strategy}: "
            f"{counted(self.summary.rounds, 'period')} of {format_seconds(self.period_s)}, planned "
            f"{format_seconds(self.plan.period_s)}"
        )
