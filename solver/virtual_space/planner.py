"""From a virtual space to a verified plan."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from hybridsplit.scenarios.contracts.inference_plan import AppPlan, DevicePlan, InferencePlan, PartPlan
from hybridsplit.scenarios.contracts.plan import PlanStatus
from hybridsplit.scenarios.contracts.virtual_space import UNITS, FloatArray, SpaceApp, VirtualSpace
from hybridsplit.scenarios.errors import InfeasibleError, SolverFailure
from hybridsplit.scenarios.inference.schema import InferenceScenario
from hybridsplit.scenarios.units import format_seconds
from hybridsplit.solver.verify.inference_plan import inference_violations
from hybridsplit.solver.virtual_space.buffers import frames_in_flight
from hybridsplit.solver.virtual_space.columns import KERNEL, Column, Part, make_column, refusal, reload_s
from hybridsplit.solver.virtual_space.fairness import common_rates, fair_rates
from hybridsplit.solver.virtual_space.periods import Choice, period_of
from hybridsplit.solver.virtual_space.strategies import INFERENCE_STRATEGIES, InferenceStrategy, SearchLimits


def make_inference_plan(
    scenario: InferenceScenario,
    space: VirtualSpace,
    strategy: str | InferenceStrategy = "optimal",
    *,
    time_limit_s: float | None = None,
    warm_start: InferencePlan | None = None,
) -> InferencePlan:
    """Plan an inference task.

    Parameters
    ----------
    scenario, space
        The scenario, and its space.
    strategy
        Name of a strategy, or one of your own.
    time_limit_s
        Seconds after which the best verified plan is taken; the scenario's when None.
    warm_start
        An earlier plan, of this scenario or of one with other apps or devices: what of it is still possible is where
        the search begins.

    Raises
    ------
    UsageError
        If there is no such strategy.
    InfeasibleError
        If no plan keeps the limits.
    SolverFailure
        If the plan does not pass verification.
    """
    chosen = INFERENCE_STRATEGIES.find(strategy) if isinstance(strategy, str) else strategy
    begun = time.monotonic()
    limits = SearchLimits(
        gap=scenario.search.gap,
        time_limit_s=scenario.search.time_limit_s if time_limit_s is None else time_limit_s,
        most_period_s=scenario.objective.most_period_s if scenario.objective.minimise == "energy" else None,
        start=() if warm_start is None else tuple(still_possible(space, warm_start)),
        seed=scenario.seed,
    )
    choice = chosen.choose(space, limits)
    plan = _plan(scenario, space, chosen, choice, time.monotonic() - begun)
    _check_rates(space, plan)
    if violations := list(inference_violations(plan, scenario, space)):
        raise SolverFailure(f"{chosen.name}: its plan does not pass verification: {'; '.join(violations[:3])}")
    return plan


def still_possible(space: VirtualSpace, plan: InferencePlan) -> list[Column]:
    """Return the plans of apps in an earlier plan that this space still allows.

    Parameters
    ----------
    space
        The space.
    plan
        The earlier plan.
    """
    devices = {one.id: index for index, one in enumerate(space.devices)}
    found = []
    for index, app in enumerate(space.apps):
        for earlier in plan.apps:
            if earlier.id != app.id or earlier.model != app.model:
                continue
            if any(part.device not in devices or part.end > app.num_layers for part in earlier.parts):
                continue
            parts = tuple(Part(devices[one.device], one.start, one.end, one.reloads) for one in earlier.parts)
            is_whole = parts[-1].end == app.num_layers and len(parts) <= space.most_cuts + 1
            if is_whole and all(refusal(space, app, part) is None for part in parts):
                found.append(make_column(space, index, parts))
    return found


def derived(scenario: InferenceScenario, space: VirtualSpace, plan: InferencePlan) -> InferencePlan | None:
    """Return a plan with every figure derived again from where its parts run; None where they cannot run there.

    Parameters
    ----------
    scenario, space
        The scenario, and its space.
    plan
        The plan; what only its search knows is taken as it is.
    """
    columns = still_possible(space, plan)
    if len(columns) != len(space.apps):
        return None
    is_energy = scenario.objective.minimise == "energy"
    reached = plan.objective_j if is_energy else period_of(space, columns)
    bound = plan.lower_bound_j if is_energy else plan.lower_bound_s
    choice = Choice(tuple(columns), reached or 0.0, bound or 0.0, plan.num_plans, False)
    again = _plan(scenario, space, INFERENCE_STRATEGIES.find("source-only"), choice, plan.solve_s)
    return again.model_copy(update={key: getattr(plan, key) for key in ("strategy", "status", "notes", "gap")})


def _check_rates(space: VirtualSpace, plan: InferencePlan) -> None:
    for app, planned in zip(space.apps, plan.apps, strict=True):
        if app.least_rate_hz is not None and planned.rate_hz < app.least_rate_hz * (1 - 1e-9):
            raise InfeasibleError(
                f"{app.id}: runs at {planned.rate_hz:.3g} Hz in the best plan of {plan.strategy} (period "
                f"{format_seconds(plan.period_s)}), and least_rate_hz is {app.least_rate_hz:g}; lower it, raise frames "
                "of this app, or leave another one out"
            )


def _plan(
    scenario: InferenceScenario, space: VirtualSpace, strategy: InferenceStrategy, choice: Choice, solve_s: float
) -> InferencePlan:
    columns = choice.columns
    is_energy = scenario.objective.minimise == "energy"
    period = period_of(space, columns)
    if is_energy:
        assert scenario.objective.most_period_s is not None
        period = scenario.objective.most_period_s
    is_fair = scenario.objective.minimise == "throughput"
    rates = fair_rates(space, columns) if is_fair else common_rates(space, period)
    status = PlanStatus.BASELINE
    if strategy.claims_optimality:
        status = PlanStatus.OPTIMAL if choice.gap <= scenario.search.gap else PlanStatus.TIME_LIMIT
    notes: list[str] = []
    if choice.is_stopped:
        notes.append(
            f"the search ended after {format_seconds(solve_s)} with a gap of {choice.gap:.1%}; more "
            "search.time_limit_s, or fewer search.most_cuts, may close it"
        )
    return InferencePlan(
        scenario=scenario.resolved(),
        scenario_hash=scenario.content_hash(),
        strategy=strategy.name,
        status=status,
        objective=scenario.objective.minimise,
        period_s=period,
        lower_bound_s=0.0 if is_energy else choice.lower_bound,
        objective_j=choice.objective if is_energy else None,
        lower_bound_j=choice.lower_bound if is_energy else None,
        gap=choice.gap if np.isfinite(choice.gap) else 0.0,
        frames_in_flight=frames_in_flight(space, columns),
        num_plans=choice.num_columns,
        solve_s=solve_s,
        notes=tuple(notes),
        apps=tuple(_app_plan(space, column, float(rates[column.app])) for column in columns),
        devices=_device_plans(space, columns, rates),
    )


def _app_plan(space: VirtualSpace, column: Column, rate_hz: float) -> AppPlan:
    app, here = space.apps[column.app], space.apps[column.app].source
    parts = []
    for part in column.parts:
        parts.append(_part_plan(space, app, part, here))
        here = part.device
    last = space.hop_s(float(app.crossing_bytes[-1]), here, app.target)
    spent = sum(one.hop_s + one.compute_s + one.bus_s + one.reload_s for one in parts)
    return AppPlan(
        id=app.id,
        model=app.model,
        source=space.devices[app.source].id,
        target=space.devices[app.target].id,
        frames=app.frames,
        rate_hz=rate_hz,
        latency_s=spent + last,
        last_hop_s=last,
        energy_j=None if np.isnan(column.energy_j) else column.energy_j,
        parts=tuple(parts),
    )


def _part_plan(space: VirtualSpace, app: SpaceApp, part: Part, before: int) -> PartPlan:
    device = space.devices[part.device]
    costs, chosen = app.by_kind[device.kind], slice(part.start, part.end)
    heights = costs.widest_bytes if part.reloads else costs.height_bytes
    read, written = int(app.crossing_bytes[part.start]), int(app.crossing_bytes[part.end])
    return PartPlan(
        device=device.id,
        start=part.start,
        end=part.end,
        layers=app.layers[chosen],
        reloads=part.reloads,
        hop_s=space.hop_s(float(read), before, part.device),
        compute_s=costs.start_s + float(costs.layer_s[chosen].sum()),
        bus_s=(read + written) / device.bus_bytes_per_s,
        reload_s=reload_s(space, app, part) if part.reloads else 0.0,
        input_bytes=read,
        output_bytes=written,
        weight_bytes=int(app.weight_bytes[chosen].sum()),
        kernel_bytes=int(heights[part.start, part.end]),
        bias_bytes=int(app.bias_bytes[chosen].sum()),
        data_bytes=int(costs.data_bytes[chosen].max()),
    )


def _device_plans(space: VirtualSpace, columns: Sequence[Column], rates: FloatArray) -> tuple[DevicePlan, ...]:
    held = np.sum([one.held for one in columns], axis=0)
    loading = np.max([one.loading_bytes for one in columns], axis=0)
    busy = np.sum([one.busy_s * rates[one.app] for one in columns], axis=0)
    data = [0] * len(space.devices)
    for column in columns:
        for part in column.parts:
            costs = space.apps[column.app].by_kind[space.devices[part.device].kind]
            data[part.device] = max(data[part.device], int(costs.data_bytes[part.start : part.end].max()))
    return tuple(
        DevicePlan(
            id=device.id,
            kind=device.kind,
            kernel_bytes=int(held[index, KERNEL] + loading[index]),
            most_kernel_bytes=device.kernel_bytes,
            bias_bytes=int(held[index, 1]),
            most_bias_bytes=device.bias_bytes,
            layers=int(held[index, 2]),
            most_layers=device.most_layers,
            data_bytes=data[index],
            most_data_bytes=device.data_bytes,
            busy={unit: float(busy[index, position]) for position, unit in enumerate(UNITS)},
        )
        for index, device in enumerate(space.devices)
    )
