"""The scenario of an inference task: apps, the accelerators that run them together, and what is minimised.

Like the scenario of training, it is frozen and strict and rejects unknown keys; the attribute docstrings below become
the descriptions of the exported JSON Schema.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from hybridsplit.scenarios.inference.accelerators import Accelerator
from hybridsplit.scenarios.inference.layers import LayerList
from hybridsplit.scenarios.sections.base import Identifier, PositiveFloat, Section
from hybridsplit.scenarios.units import BitsPerSecond, BytesPerSecond, Seconds, Watts

INFERENCE_SCHEMA_VERSION = 1
MOST_DEVICES = 256
"""Accelerators of all groups together."""
MOST_CUTS = 6

PositiveLink = Annotated[BitsPerSecond, Field(gt=0)]
PositiveRate = Annotated[BytesPerSecond, Field(gt=0)]


class App(Section):
    """One model that runs on frame after frame, from a sensor's device to the device that uses the result."""

    app: Identifier
    """Its name."""
    model: Identifier
    """A layer list that ships with the package, a YAML file of layers, or a name under ``networks``."""
    source: Identifier
    """Accelerator whose sensor takes the frames."""
    target: Identifier
    """Accelerator that needs the results."""
    frames: Annotated[int, Field(ge=1, le=1000)] = 1
    """Frames in a period: apps without a rate of their own run at rates in this proportion."""
    rate_hz: PositiveFloat | None = None
    """Frames a second, no more and no fewer; as fast as possible when absent."""
    least_rate_hz: PositiveFloat | None = None
    """Fewest frames a second of an app that runs as fast as possible; a plan with fewer is infeasible."""

    @model_validator(mode="after")
    def _one_rate(self) -> Self:
        if self.rate_hz is not None and (self.least_rate_hz is not None or self.frames != 1):
            raise ValueError(
                "rate_hz: fixes the rate, so frames and least_rate_hz do not belong beside it; remove either"
            )
        return self


class AcceleratorGroup(Section):
    """Accelerators of one kind with the same links."""

    group: Identifier
    """Name; the accelerator's own id where ``count`` is 1, else ids are this name and a number."""
    device: str
    """An accelerator of the catalogue, or one under ``devices``."""
    count: Annotated[int, Field(ge=1, le=MOST_DEVICES)] = 1
    """How many there are."""
    link_bps: PositiveLink
    """Rate at which one sends, and at the same time receives."""
    reload_bytes_per_s: PositiveRate | None = None
    """Rate at which weights come from flash; plans that load weights for every frame are not considered when absent."""
    bus_bytes_per_s: PositiveRate | None = None
    """Rate at which the CPU moves data into and out of the accelerator; that of the device when absent."""
    radio_power_w: Watts | None = None
    """Power while sending or receiving; needed for the objective energy."""


class InferenceObjective(Section):
    """What the planner minimises."""

    minimise: Literal["period", "throughput", "energy"] = "period"
    """``period``: the time in which every app gets through its frames once. ``throughput``: the same, and then every
    app that is not held back by a busy unit runs faster still (max-min fair rates). ``energy``: joules a period, within
    ``most_period_s``."""
    most_period_s: Annotated[Seconds, Field(gt=0)] | None = None
    """Longest period; needed for energy."""

    @model_validator(mode="after")
    def _energy_has_a_period(self) -> Self:
        if self.minimise == "energy" and self.most_period_s is None:
            raise ValueError("most_period_s: is needed for minimise: energy; without it the slowest plan is the best")
        return self


class Search(Section):
    """Which plans are considered, and for how long."""

    most_cuts: Annotated[int, Field(ge=0, le=MOST_CUTS)] = 2
    """Most cuts of a model: it runs in one part more."""
    reloads: bool = True
    """Whether a part may load its weights for every frame, where the rate of flash is stated."""
    gap: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Gap to the lower bound at which the search ends."""
    time_limit_s: Annotated[Seconds, Field(gt=0)] = 60.0
    """Seconds after which the best verified plan is taken."""


@dataclass(frozen=True)
class PlacedAccelerator:
    """One accelerator of an expanded scenario."""

    id: str
    group: str
    kind: str
    link_bps: float
    reload_bytes_per_s: float | None
    bus_bytes_per_s: float | None
    radio_power_w: float | None


class InferenceScenario(Section):
    """One scenario: apps, accelerators, objective."""

    schema_version: Literal[1] = 1
    """Version of this schema."""
    task: Literal["inference"]
    """What is planned: models that are trained already, and only run."""
    name: Identifier
    """Short name, used for folders and titles."""
    description: str = ""
    """What this scenario shows, for people."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """The one seed all random streams are derived from."""
    apps: Annotated[tuple[App, ...], Field(min_length=1, max_length=256)]
    """What runs."""
    accelerators: Annotated[tuple[AcceleratorGroup, ...], Field(min_length=1)]
    """What it runs on."""
    objective: InferenceObjective = InferenceObjective()
    """What is minimised."""
    search: Search = Search()
    """Which plans are considered."""
    networks: dict[Identifier, LayerList] = Field(default_factory=dict)
    """Layer lists of your own, beside those that ship with the package."""
    devices: dict[Identifier, Accelerator] = Field(default_factory=dict)
    """Accelerators of your own, beside the catalogue; same keys as ``scenarios/inference/accelerators.yaml``."""

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        for what, names in (
            ("apps", [app.app for app in self.apps]),
            ("accelerators", [one.id for one in self.placed()]),
        ):
            if twice := {name for name in names if names.count(name) > 1}:
                raise ValueError(f"{what}: the names {', '.join(sorted(twice))} occur twice; each needs its own")
        known = [one.id for one in self.placed()]
        if len(known) > MOST_DEVICES:
            raise ValueError(f"accelerators: found {len(known)} in all; needs at most {MOST_DEVICES}")
        for index, app in enumerate(self.apps):
            for key in ("source", "target"):
                if (named := getattr(app, key)) not in known:
                    shown = ", ".join(known[:8]) + (", ..." if len(known) > 8 else "")
                    raise ValueError(f"apps.{index}.{key}: found {named!r}; needs one of the accelerators {shown}")
            if app.model not in self.networks:
                raise ValueError(f"apps.{index}.model: found {app.model!r}; needs a layer list under networks")
        if all(app.rate_hz is not None for app in self.apps):
            raise ValueError(
                "apps: every app has a rate_hz, so there is no period to minimise; leave it out of one, or state "
                "least_rate_hz"
            )
        return self

    def placed(self) -> tuple[PlacedAccelerator, ...]:
        """Return every accelerator of every group, in order."""
        return tuple(
            PlacedAccelerator(
                id=group.group if group.count == 1 else f"{group.group}-{index:0{len(str(group.count - 1))}d}",
                group=group.group,
                kind=group.device,
                link_bps=group.link_bps,
                reload_bytes_per_s=group.reload_bytes_per_s,
                bus_bytes_per_s=group.bus_bytes_per_s,
                radio_power_w=group.radio_power_w,
            )
            for group in self.accelerators
            for index in range(group.count)
        )

    def resolved(self) -> dict[str, Any]:
        """Return the scenario as plain JSON values, defaults filled in."""
        return self.model_dump(mode="json")

    def content_hash(self) -> str:
        """SHA-256 of what is planned: of all values but ``search.time_limit_s``."""
        facts = self.resolved()
        facts["search"] = {key: value for key, value in facts["search"].items() if key != "time_limit_s"}
        canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()
