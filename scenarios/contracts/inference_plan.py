"""The plan of an inference task: which layers of every app run where, with what they take, and how fast apps are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError

from hybridsplit.scenarios.contracts.display import Shown
from hybridsplit.scenarios.contracts.placement import FrozenValue
from hybridsplit.scenarios.contracts.plan import PlanStatus
from hybridsplit.scenarios.contracts.sealed import Kind, read_sealed, sealed, write_sealed
from hybridsplit.scenarios.contracts.virtual_space import Unit
from hybridsplit.scenarios.errors import ContractError
from hybridsplit.scenarios.units import format_seconds

INFERENCE_PLAN_SCHEMA_VERSION = 1
INFERENCE_PLAN_KIND = Kind(
    "a plan that 'hybridsplit plan --out' wrote", INFERENCE_PLAN_SCHEMA_VERSION, "make the plan again"
)
_MOST_BYTES = 2**62


class PartPlan(FrozenValue):
    """A range of an app's layers on one device; seconds and bytes are of one frame."""

    device: str
    start: int = Field(ge=0, lt=2**31)
    end: int = Field(ge=1, lt=2**31)
    """The layers are those from position ``start`` up to ``end``, without it."""
    layers: tuple[str, ...]
    """Their names."""
    reloads: bool
    """Whether weights are loaded for every frame, instead of staying."""
    hop_s: float = Field(ge=0)
    """Receiving what it reads from another device; 0 where it is there already."""
    compute_s: float = Field(ge=0)
    bus_s: float = Field(ge=0)
    """Moving input and output over the bus."""
    reload_s: float = Field(ge=0)
    """Loading weights; 0 where they stay."""
    input_bytes: int = Field(ge=0, lt=_MOST_BYTES)
    output_bytes: int = Field(ge=0, lt=_MOST_BYTES)
    weight_bytes: int = Field(ge=0, lt=_MOST_BYTES)
    kernel_bytes: int = Field(ge=0, lt=_MOST_BYTES)
    """Of the kernel memory of a processor: what stays, or the room for loading."""
    bias_bytes: int = Field(ge=0, lt=_MOST_BYTES)
    data_bytes: int = Field(ge=0, lt=_MOST_BYTES)
    """Of an instance of data memory, while it runs."""


class AppPlan(FrozenValue):
    """One app: where its layers run, and how fast."""

    id: str
    model: str
    source: str
    target: str
    frames: int = Field(ge=1)
    """Frames in a period, where its rate is not fixed."""
    rate_hz: float = Field(gt=0)
    """Frames a second."""
    latency_s: float = Field(ge=0)
    """From a frame to its result, where nothing waits for a busy unit."""
    last_hop_s: float = Field(ge=0)
    """Sending the result to the target."""
    energy_j: float | None = None
    """Joules a frame; None where a power is not known."""
    parts: tuple[PartPlan, ...] = Field(min_length=1)


class DevicePlan(FrozenValue):
    """One device: what stays in its memories, and how long its units are busy."""

    id: str
    kind: str
    kernel_bytes: int = Field(ge=0, lt=_MOST_BYTES)
    """Kernel memory of a processor in use: what stays, and room for the largest that is loaded."""
    most_kernel_bytes: int = Field(ge=0, lt=_MOST_BYTES)
    bias_bytes: int = Field(ge=0, lt=_MOST_BYTES)
    most_bias_bytes: int = Field(ge=0, lt=_MOST_BYTES)
    layers: int = Field(ge=0)
    most_layers: int = Field(ge=0)
    data_bytes: int = Field(ge=0, lt=_MOST_BYTES)
    """Data memory of an instance, of the part that takes most."""
    most_data_bytes: int = Field(ge=0, lt=_MOST_BYTES)
    busy: dict[Unit, float]
    """Share of time that every unit is busy at the rates of the plan."""


class InferencePlan(FrozenValue, Shown):
    """A verified plan.

    ``period_s`` is the time in which every app gets through its frames once if all units do nothing else, and
    ``lower_bound_s`` what no choice of plans can be below; with the objective ``energy``, ``objective_j`` and
    ``lower_bound_j`` take their places. With ``throughput``, rates are max-min fair at the plans chosen: the bound is
    for the slowest app.
    """

    schema_version: int = INFERENCE_PLAN_SCHEMA_VERSION
    task: Literal["inference"] = "inference"
    scenario: dict[str, Any]
    scenario_hash: str
    strategy: str
    status: PlanStatus
    objective: str
    period_s: float = Field(gt=0)
    lower_bound_s: float = Field(ge=0)
    objective_j: float | None = None
    lower_bound_j: float | None = None
    gap: float = Field(ge=0)
    """Relative to the lower bound."""
    frames_in_flight: int = Field(ge=1)
    """Periods whose frames may be under way at once; data memory decides."""
    num_plans: int = Field(ge=0)
    """Plans of single apps that were looked at."""
    solve_s: float = Field(ge=0)
    notes: tuple[str, ...] = ()
    apps: tuple[AppPlan, ...] = Field(min_length=1)
    devices: tuple[DevicePlan, ...] = Field(min_length=1)

    def __repr__(self) -> str:
        """Return what the plan is and achieves, in one line."""
        return (
            f"Plan of {self.scenario['name']} by {self.strategy}: {len(self.apps)} apps on {len(self.devices)} "
            f"devices, period {format_seconds(self.period_s)}, {self.status} (gap {self.gap:.1e})"
        )

    def __str__(self) -> str:
        """Return the same line, not all figures."""
        return repr(self)

    def throughput_hz(self) -> float:
        """Return the frames a second of all apps together."""
        return sum(app.rate_hz for app in self.apps)

    def document(self) -> dict[str, Any]:
        """Return the document of ``plan.json``, with its digest."""
        return sealed(self.model_dump(mode="json"))

    def save(self, path: Path) -> None:
        """Write ``plan.json``."""
        write_sealed(path, self.model_dump(mode="json"))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read ``plan.json``.

        Raises
        ------
        AlteredError
            If the file is not as it was written.
        ContractError
            If it is missing, damaged, is not a plan, or has another schema version.
        """
        return cls.of_document(read_sealed(path, INFERENCE_PLAN_KIND), str(path))

    @classmethod
    def of_document(cls, document: Mapping[str, Any], origin: str) -> Self:
        """Return the plan of a document without its digest.

        Raises
        ------
        ContractError
            If it is not a plan.
        """
        try:
            # Strict as JSON: a number that is written as text is no number.
            return cls.model_validate_json(json.dumps(document), strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ContractError(f"{origin}: {where}: {first['msg']}; {INFERENCE_PLAN_KIND.remedy}") from error
