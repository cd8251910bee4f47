"""Ways to plan an inference task: the joint search, and seven baselines, all as choices of one plan of every app.

What the baselines of the literature are is not published in detail; these are reconstructed in their spirit.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hybridsplit.scenarios.contracts.virtual_space import VirtualSpace
from hybridsplit.scenarios.errors import InfeasibleError, SolverFailure
from hybridsplit.scenarios.registry import Registry
from hybridsplit.scenarios.units import format_seconds
from hybridsplit.solver.virtual_space.columns import Column, Part, make_column
from hybridsplit.solver.virtual_space.explain import why_infeasible
from hybridsplit.solver.virtual_space.periods import Choice, frames_in, period_of
from hybridsplit.solver.virtual_space.pool import Clock
from hybridsplit.solver.virtual_space.pricing import cheapest_by_weights
from hybridsplit.solver.virtual_space.relax import cheapest_relaxation
from hybridsplit.solver.virtual_space.search import Search
from hybridsplit.solver.virtual_space.settle import settled


@dataclass(frozen=True)
class SearchLimits:
    """When to stop, and where to begin.

    Parameters
    ----------
    gap
        Gap to the bound at which the search ends.
    time_limit_s
        Seconds after which the best choice found by then is taken.
    most_period_s
        Given period where joules are minimised; None where the period is.
    start
        Plans of apps to begin with.
    seed
        What random draws of the search follow from.
    """

    gap: float
    time_limit_s: float
    most_period_s: float | None = None
    start: tuple[Column, ...] = ()
    seed: int = 0


class InferenceStrategy(ABC):
    """A way to choose one plan of every app. A strategy restricts the same problem as every other."""

    name: ClassVar[str]
    """Name on the command line."""
    summary: ClassVar[str]
    """One sentence for lists of strategies."""
    claims_optimality: ClassVar[bool] = False
    """Whether a choice within the gap of its bound is called optimal, not a baseline."""

    @abstractmethod
    def choose(self, space: VirtualSpace, limits: SearchLimits) -> Choice:
        """Choose one plan of every app.

        Parameters
        ----------
        space
            The space.
        limits
            When to stop; a strategy that does not search ignores it.

        Raises
        ------
        InfeasibleError
            If no choice keeps the limits, or none of this strategy's kind.
        """


class Joint(InferenceStrategy):
    """All apps together, by column generation."""

    name = "optimal"
    summary = "all apps together, with a lower bound for every choice"
    claims_optimality = True

    def choose(self, space: VirtualSpace, limits: SearchLimits) -> Choice:
        """Search for the best choice of all.

        Raises
        ------
        InfeasibleError
            If no choice keeps the limits; the message names what does not fit and the cheapest relaxation.
        SolverFailure
            If the time was up before a choice was found or all were ruled out.
        """
        clock = Clock(time.monotonic() + limits.time_limit_s)
        search = Search(space, limits.gap, clock, limits.most_period_s, limits.seed)
        found = search.run(limits.start)
        if found is None and not search.is_refused:
            raise SolverFailure(
                f"no plan was found in {format_seconds(limits.time_limit_s)}, and none is ruled out; raise "
                "search.time_limit_s, or lower search.most_cuts"
            )
        if found is None:
            tried = cheapest_relaxation(space, limits.most_period_s)
            raise InfeasibleError(why_infeasible(space, limits.most_period_s) + tried)
        return found


class _Placed(InferenceStrategy):
    """A baseline that names devices and ranges; weights stay as far as they fit, and are loaded otherwise."""

    def choose(self, space: VirtualSpace, limits: SearchLimits) -> Choice:
        """Choose as the baseline does.

        Raises
        ------
        InfeasibleError
            If a part cannot run where the baseline puts it.
        """
        columns = settled(space, self.parts(space), self.name)
        period = period_of(space, columns)
        if not np.isfinite(period):
            raise InfeasibleError(f"{self.name}: the fixed rates keep a unit busy for more than all of the time")
        objective = period
        if limits.most_period_s is not None:
            frames = frames_in(space, limits.most_period_s)
            objective = float(sum(one.energy_j * frames[one.app] for one in columns))
            if period > limits.most_period_s:
                raise InfeasibleError(f"{self.name}: its period is {period:.4g} s, above objective.most_period_s")
        return Choice(tuple(columns), objective, 0.0, len(columns), False)

    @abstractmethod
    def parts(self, space: VirtualSpace) -> list[list[Part]]:
        """Return the parts of every app, all of which are to stay.

        Parameters
        ----------
        space
            The space.
        """


class SourceOnly(_Placed):
    """Everything where its frames are taken."""

    name = "source-only"
    summary = "every model whole where its frames are taken"

    def parts(self, space: VirtualSpace) -> list[list[Part]]:
        """Return one part an app, at its source."""
        return [[Part(app.source, 0, app.num_layers)] for app in space.apps]


class TargetOnly(_Placed):
    """Everything where its result is needed."""

    name = "target-only"
    summary = "every model whole where its result is needed"

    def parts(self, space: VirtualSpace) -> list[list[Part]]:
        """Return one part an app, at its target."""
        return [[Part(app.target, 0, app.num_layers)] for app in space.apps]


class DeviceAModel(_Placed):
    """Models dealt to devices in turn."""

    name = "device-a-model"
    summary = "models whole, dealt to the devices in turn"

    def parts(self, space: VirtualSpace) -> list[list[Part]]:
        """Return one part an app, on one device after another."""
        return [[Part(index % len(space.devices), 0, app.num_layers)] for index, app in enumerate(space.apps)]


class EqualLayers(_Placed):
    """Every model in as many parts as cuts allow, of as many layers each."""

    name = "equal-layers"
    summary = "every model in parts of as many layers each, from its source on"

    def parts(self, space: VirtualSpace) -> list[list[Part]]:
        """Return parts of equal length, on the source and the devices after it."""
        chosen = []
        for app in space.apps:
            number = min(space.most_cuts + 1, len(space.devices), app.num_layers)
            places = [round(index * app.num_layers / number) for index in range(number + 1)]
            chosen.append(
                [
                    Part((app.source + index) % len(space.devices), places[index], places[index + 1])
                    for index in range(number)
                ]
            )
        return chosen


class FirstFit(_Placed):
    """Models whole on the first device with room, from the source on."""

    name = "first-fit"
    summary = "models whole on the first device whose memory has room, from the source on"

    def parts(self, space: VirtualSpace) -> list[list[Part]]:
        """Return one part an app: where its weights fit beside those before it, or at its source."""
        num_devices = len(space.devices)
        left = np.array([(one.kernel_bytes, one.bias_bytes, one.most_layers) for one in space.devices])
        chosen = []
        for index, app in enumerate(space.apps):
            whole = app.source
            for step in range(num_devices):
                device = (app.source + step) % num_devices
                kind = app.by_kind[space.devices[device].kind]
                takes = make_column(space, index, [Part(device, 0, app.num_layers)]).held[device]
                runs = np.isfinite(kind.layer_s).all() and kind.data_bytes.max() <= space.devices[device].data_bytes
                if runs and (takes <= left[device]).all():
                    left[device] -= takes
                    whole = device
                    break
            chosen.append([Part(whole, 0, app.num_layers)])
        return chosen


class FastestAlone(_Placed):
    """Each app's fastest plan by itself."""

    name = "fastest-alone"
    summary = "each app's plan of least seconds, whatever the others take"

    def parts(self, space: VirtualSpace) -> list[list[Part]]:
        """Return the parts of each app's plan with the least seconds over all units."""
        ones = np.ones((len(space.devices), 4))
        return [list(_cheapest(space, index, ones)) for index in range(len(space.apps))]


class GreedyByApp(_Placed):
    """One app after another, around what is busy already."""

    name = "greedy-by-app"
    summary = "one app after another, each around what is busy by then"

    def parts(self, space: VirtualSpace) -> list[list[Part]]:
        """Return for each app in turn the plan of least seconds, weighed by how busy units are by then."""
        busy = np.zeros((len(space.devices), 4))
        chosen: list[list[Part]] = []
        for index, app in enumerate(space.apps):
            weights = 1.0 + busy / busy.max() * len(space.apps) if busy.any() else np.ones_like(busy)
            parts = [Part(one.device, one.start, one.end) for one in _cheapest(space, index, weights)]
            busy = busy + make_column(space, index, parts).busy_s * app.frames
            chosen.append(parts)
        return chosen


def _cheapest(space: VirtualSpace, index: int, weights: np.ndarray) -> Sequence[Part]:
    """Return the parts of an app's cheapest plan at weights of units, memory being free."""
    found = cheapest_by_weights(space, index, weights)
    if found is None:
        raise InfeasibleError(why_infeasible(space, None))
    return found


def _name_of(strategy: InferenceStrategy) -> str:
    if not isinstance(strategy, InferenceStrategy):
        raise TypeError("it does not derive from InferenceStrategy")
    if not strategy.summary:
        raise TypeError("its class needs a name and a summary")
    return strategy.name


INFERENCE_STRATEGIES: Registry[InferenceStrategy] = Registry("strategy", "hybridsplit.inference_strategies", _name_of)
"""Name to strategy, in the order of lists and reports."""
for _strategy in (
    Joint, SourceOnly, TargetOnly, DeviceAModel, EqualLayers, FirstFit, FastestAlone, GreedyByApp,
):  # fmt: skip
    INFERENCE_STRATEGIES.register(_strategy)

BASELINES = tuple(name for name, one in INFERENCE_STRATEGIES.items() if not one.claims_optimality)
"""The seven baselines."""
