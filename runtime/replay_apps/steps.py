"""What a frame does one after another: steps, each with the units it keeps busy and for how long."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hybridsplit.scenarios.contracts.inference_plan import AppPlan, InferencePlan
from hybridsplit.scenarios.contracts.virtual_space import Unit
from hybridsplit.scenarios.inference.accelerators import find_accelerator
from hybridsplit.scenarios.inference.loading import validate_inference
from hybridsplit.scenarios.units import bits

UnitKey = tuple[str, Unit]


@dataclass(frozen=True)
class Step:
    """One step of a frame.

    Parameters
    ----------
    units
        What it keeps busy, all at the same time.
    seconds
        For how long.
    """

    units: tuple[UnitKey, ...]
    seconds: float


@dataclass(frozen=True)
class Rates:
    """What the steps of one device go by.

    Parameters
    ----------
    link_bps, bus_bytes_per_s, reload_bytes_per_s
        Of the scenario; the last is None where it is not stated.
    """

    link_bps: float
    bus_bytes_per_s: float
    reload_bytes_per_s: float | None


def rates_of(plan: InferencePlan) -> dict[str, Rates]:
    """Return the rates of every device of a plan, read from the scenario that the plan carries.

    Parameters
    ----------
    plan
        The plan.
    """
    scenario = validate_inference(plan.scenario, "the plan's scenario")
    return {
        one.id: Rates(
            one.link_bps,
            one.bus_bytes_per_s or find_accelerator(one.kind, scenario.devices, one.id).bus_bytes_per_s or float("nan"),
            one.reload_bytes_per_s,
        )
        for one in scenario.placed()
    }


def steps_of(app: AppPlan, rates: dict[str, Rates]) -> tuple[Step, ...]:
    """Return the steps of a frame, those that take no time left out.

    Parameters
    ----------
    app
        The app.
    rates
        Rates of every device.
    """
    return tuple(step for step in _steps(app, rates) if step.seconds > 0)


def _steps(app: AppPlan, rates: dict[str, Rates]) -> Iterator[Step]:
    here = app.source
    for part in app.parts:
        yield from _hop(here, part.device, part.input_bytes, rates)
        here = part.device
        cnn, cpu = (here, Unit.CNN), (here, Unit.CPU)
        yield Step((cpu,), part.input_bytes / rates[here].bus_bytes_per_s)
        flash = rates[here].reload_bytes_per_s
        if part.reloads and flash is not None:
            yield Step((cnn, cpu), (part.weight_bytes + part.bias_bytes) / flash)
        yield Step((cnn,), part.compute_s)
        yield Step((cpu,), part.output_bytes / rates[here].bus_bytes_per_s)
    yield from _hop(here, app.target, app.parts[-1].output_bytes, rates)


def _hop(sender: str, receiver: str, size_bytes: int, rates: dict[str, Rates]) -> Iterator[Step]:
    if sender != receiver:
        slower = min(rates[sender].link_bps, rates[receiver].link_bps)
        yield Step(((sender, Unit.TX), (receiver, Unit.RX)), bits(size_bytes) / slower)
