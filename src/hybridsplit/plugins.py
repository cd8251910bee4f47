"""All that the author of a plug-in imports: classes to derive from, and decorators that register them.

A plug-in is found by an entry point of its package, or registered by the decorator ``register_...`` of its kind in the
process that uses it; docs/plugins.md shows both. Names are imported when they are first used, so that a plug-in that
states facts only loads neither PyTorch nor the solver.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hybridsplit.runtime.data.sources import Samples, prepared_images
    from hybridsplit.runtime.estimators import GradientEstimator, ScalarStep, StepResult, ZerothOrderEstimator
    from hybridsplit.runtime.models.blocks import Block, Family, register_family
    from hybridsplit.runtime.noise import NoiseKey
    from hybridsplit.runtime.split.link import Batch, ServerLink
    from hybridsplit.runtime.split.parts import Part
    from hybridsplit.scenarios.errors import InfeasibleError, ScenarioError
    from hybridsplit.scenarios.modes import MODES, Asks, Gradient, StepBytes, StepSizes, TrainingMode
    from hybridsplit.scenarios.modes.passes import BlockSeconds
    from hybridsplit.scenarios.registry import PluginWarning, RegistrationError
    from hybridsplit.scenarios.schema import Radio, Scenario, Training, ZerothOrder
    from hybridsplit.scenarios.sections.data import DATA_SOURCES, ImageSource, TextSource
    from hybridsplit.scenarios.sections.network import LINK_MODELS, LinkModel
    from hybridsplit.solver.problem.links import Balance, FixedUplink, UplinkWork
    from hybridsplit.solver.problem.planning_problem import PlanningProblem
    from hybridsplit.solver.problem.shannon_link import ShannonUplink
    from hybridsplit.solver.search.joint import Effort
    from hybridsplit.solver.strategies import STRATEGIES, Proposal, Sharing, Strategy
    from hybridsplit.solver.strategies.choice import choose_by_score

    register_strategy = STRATEGIES.register
    register_mode = MODES.register
    register_data_source = DATA_SOURCES.register
    register_link_model = LINK_MODELS.register

__all__ = [
    "Asks", "Balance", "Batch", "Block", "BlockSeconds", "Effort", "Family", "FixedUplink", "Gradient",
    "GradientEstimator", "ImageSource", "InfeasibleError", "LinkModel", "NoiseKey", "Part", "PlanningProblem",
    "PluginWarning", "Proposal", "Radio", "RegistrationError", "Samples", "ScalarStep", "Scenario", "ScenarioError",
    "ServerLink", "ShannonUplink", "Sharing", "StepBytes", "StepResult", "StepSizes", "Strategy", "TextSource",
    "Training", "TrainingMode", "UplinkWork", "ZerothOrder", "ZerothOrderEstimator", "choose_by_score",
    "prepared_images", "register_data_source", "register_family", "register_link_model", "register_mode",
    "register_strategy",
]  # fmt: skip

_MODULES = {
    "runtime.data.sources": ("Samples", "prepared_images"),
    "runtime.estimators": ("GradientEstimator", "ScalarStep", "StepResult", "ZerothOrderEstimator"),
    "runtime.models.blocks": ("Block", "Family", "register_family"),
    "runtime.noise": ("NoiseKey",),
    "runtime.split.link": ("Batch", "ServerLink"),
    "runtime.split.parts": ("Part",),
    "scenarios.errors": ("InfeasibleError", "ScenarioError"),
    "scenarios.modes": ("Asks", "Gradient", "StepBytes", "StepSizes", "TrainingMode"),
    "scenarios.modes.passes": ("BlockSeconds",),
    "scenarios.registry": ("PluginWarning", "RegistrationError"),
    "scenarios.schema": ("Radio", "Scenario", "Training", "ZerothOrder"),
    "scenarios.sections.data": ("ImageSource", "TextSource"),
    "scenarios.sections.network": ("LinkModel",),
    "solver.problem.links": ("Balance", "FixedUplink", "UplinkWork"),
    "solver.problem.shannon_link": ("ShannonUplink",),
    "solver.problem.planning_problem": ("PlanningProblem",),
    "solver.search.joint": ("Effort",),
    "solver.strategies": ("Proposal", "Sharing", "Strategy"),
    "solver.strategies.choice": ("choose_by_score",),
}
_MODULE_OF = {name: f"hybridsplit.{module}" for module, names in _MODULES.items() for name in names}
_REGISTRY_OF = {
    "register_strategy": ("hybridsplit.solver.strategies", "STRATEGIES"),
    "register_mode": ("hybridsplit.scenarios.modes", "MODES"),
    "register_data_source": ("hybridsplit.scenarios.sections.data", "DATA_SOURCES"),
    "register_link_model": ("hybridsplit.scenarios.sections.network", "LINK_MODELS"),
}


def __getattr__(name: str) -> object:
    if name in _MODULE_OF:
        return getattr(importlib.import_module(_MODULE_OF[name]), name)
    if name in _REGISTRY_OF:
        module, registry = _REGISTRY_OF[name]
        return getattr(importlib.import_module(module), registry).register
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
