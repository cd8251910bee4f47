"""Accelerators: what is published of each, with its source, and how surely it is known."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import Field

from hybridsplit.scenarios.devices import Confidence
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.sections.base import PositiveInt, Section
from hybridsplit.scenarios.shown import shown
from hybridsplit.scenarios.units import Bytes, BytesPerSecond, Hertz, Watts
from hybridsplit.scenarios.yaml_text import plain_yaml

PositiveBytes = Annotated[Bytes, Field(gt=0)]
PositiveHertz = Annotated[Hertz, Field(gt=0)]
PositiveRate = Annotated[BytesPerSecond, Field(gt=0)]


class Accelerator(Section):
    """A kind of accelerator. A figure that is not published is absent, and using it is an error."""

    name: str
    """Name for people."""
    processors: Annotated[int, Field(ge=1, le=4096)]
    """Processors, each with kernel memory of its own; one convolves one input channel at a time."""
    processors_per_instance: Annotated[int, Field(ge=1, le=4096)]
    """Processors that share one instance of data memory."""
    kernel_bytes_per_processor: PositiveBytes
    """Weight memory of one processor."""
    bias_bytes: Bytes
    """Memory of biases, one byte an output channel, over all groups."""
    most_bias_outputs: PositiveInt | None = None
    """Most output channels of a layer with biases; no limit of its own when absent."""
    data_bytes_per_instance: PositiveBytes
    """Data memory of one instance: inputs and outputs of a layer are in it at the same time."""
    most_layers: PositiveInt
    """Layers that can be configured at once, over all networks."""
    most_channels: PositiveInt
    """Most input and most output channels of a layer."""
    most_extent: PositiveInt
    """Most rows and most columns."""
    most_flattened: PositiveInt
    """Most values that a linear layer may flatten."""
    most_flattened_pixels: PositiveInt
    """Most rows times columns that a linear layer may flatten."""
    most_streamed_layers: Annotated[int, Field(ge=0, le=1024)] = 0
    """Most leading layers that may stream their input."""
    weight_bits: tuple[int, ...] = (8,)
    """Widths of weights."""
    most_dilation: PositiveInt = 1
    """Largest dilation of a two-dimensional convolution."""
    depthwise: bool = False
    """Whether a convolution may have as many groups as channels."""
    widest_padded_conv1d: PositiveInt | None = None
    """Most input channels of a one-dimensional convolution with padding; no limit of its own when absent."""
    clock_hz: PositiveHertz
    """Clock of the accelerator."""
    bus_bytes_per_s: PositiveRate | None = None
    """Rate at which the CPU moves data into and out of the accelerator."""
    cpu_sram_bytes: Bytes | None = None
    """Memory of the CPU."""
    flash_bytes: Bytes | None = None
    """Flash, from which weights are loaded."""
    active_power_w: Watts | None = None
    """Power while the accelerator runs; needed for the objective energy."""
    power_confidence: Confidence = Confidence.DERIVED
    """How the power is known."""
    confidence: Confidence = Confidence.DERIVED
    """How seconds computed from these figures are known."""
    source: str = ""
    """Where the figures come from."""

    @property
    def instances(self) -> int:
        """Instances of data memory."""
        return -(-self.processors // self.processors_per_instance)


@cache
def accelerator_catalogue() -> Mapping[str, Accelerator]:
    """Return the accelerators that ship with the package, by id."""
    text = Path(__file__).with_name("accelerators.yaml").read_text(encoding="utf-8")
    entries = plain_yaml(text)["accelerators"]
    return {key: Accelerator.model_validate_json(json.dumps(value)) for key, value in entries.items()}


def find_accelerator(accelerator_id: str, own: Mapping[str, Accelerator], where: str) -> Accelerator:
    """Return an accelerator of the scenario or of the catalogue.

    Parameters
    ----------
    accelerator_id
        The id that the scenario names.
    own
        The scenario's own accelerators; they come before the catalogue.
    where
        Key path that names it, for the message.

    Raises
    ------
    ScenarioError
        If there is none of this name; the message names the nearest ones.
    """
    if accelerator_id in own:
        return own[accelerator_id]
    if accelerator_id in accelerator_catalogue():
        return accelerator_catalogue()[accelerator_id]
    known = [*own, *accelerator_catalogue()]
    near = difflib.get_close_matches(accelerator_id, known, n=3, cutoff=0.4)
    hint = f"nearest: {', '.join(near)}" if near else f"known: {', '.join(known)}"
    raise ScenarioError(
        f"{where}: unknown accelerator {shown(accelerator_id)}; {hint} (or describe it under 'devices')"
    )
