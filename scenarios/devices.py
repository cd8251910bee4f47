"""Devices: what is published or measured of each, with its source, and how surely it is known."""

# Annotations are values here and not text (no __future__): of text, pydantic's reading is a third of the import.

import difflib
import json
from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.shown import shown
from hybridsplit.scenarios.units import Bytes, BytesPerSecond, FlopsPerSecond, Seconds, Watts
from hybridsplit.scenarios.yaml_text import plain_yaml

Efficiency = Annotated[float, Field(gt=0, le=1)]


class Confidence(StrEnum):
    """How a device's seconds are known."""

    MEASURED = "measured"
    """Timed on the device itself."""
    CALIBRATED = "calibrated"
    """Efficiencies fitted to published training times of this device."""
    DERIVED = "derived"
    """Published peaks times the class's default efficiencies; no training time of this device is known."""


class RooflineEfficiency(BaseModel):
    """Share of the peak a device reaches, by operator class.

    ``matmul`` and the convolution classes scale the peak compute rate, ``memory`` the peak memory bandwidth. The
    roofline is Williams, Waterman and Patterson's (CACM 2009). The optional figures describe what CPU kernels do; a
    device that leaves them out has none of these costs.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    matmul: Efficiency
    """Of the peak compute rate, for matrix products and attention."""
    convolution: Efficiency
    """Of the peak compute rate, for convolutions."""
    memory: Efficiency
    """Of the peak memory bandwidth."""
    pointwise_forward: Efficiency | None = None
    """Of the peak compute rate, for the forward pass of 1x1 convolutions; that of convolutions where absent."""
    grouped_forward: Efficiency | None = None
    """Of the peak compute rate, for the forward pass of grouped and depthwise convolutions; that of convolutions where
    absent."""
    grouped_backward: Efficiency | None = None
    """Of the peak compute rate, for the backward pass of grouped and depthwise convolutions; that of convolutions where
    absent."""
    grouped_call_s: Seconds = 0.0
    """Fixed time of each group in the forward pass of a grouped convolution, where groups go one by one."""
    operator_call_s: Seconds = 0.0
    """Fixed time of every operator, whatever its size."""
    random_numbers_per_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Normal random numbers drawn a second; where absent, each costs as much as 300 operations of a matrix product."""
    unfolds_convolutions: bool = False
    """True where a convolution is a matrix product of unfolded patches, which are written to memory and read back."""
    arithmetic_hides_traffic: bool = True
    """True where an operator takes the larger of arithmetic and traffic (GPUs), false where it takes their sum."""


class Cuda(BaseModel):
    """What decides memory on a CUDA device beside live tensors: its allocator and kernels are then followed."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    multiprocessors: Annotated[int, Field(ge=1)]
    """Number of streaming multiprocessors."""
    threads_per_multiprocessor: Annotated[int, Field(ge=32)] = 2048
    """Most threads resident on one."""
    cublas_workspace_bytes: Bytes
    """Workspace of each thread that calls cuBLAS: 32 MiB on compute capability 9.0, 8.125 MiB before."""


class Device(BaseModel):
    """A kind of device.

    A figure that is not published is absent, and using it is an error: an unknown cost is never zero.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    name: str
    """Name for people."""
    kind: str
    """Class of device: sbc, jetson, phone, laptop, edge_server, ..."""
    memory_bytes: Bytes | None = None
    """Physical memory."""
    memory_bandwidth_bytes_per_s: BytesPerSecond | None = None
    """Peak memory bandwidth."""
    fp32_flops_per_s: FlopsPerSecond | None = None
    """Peak single-precision rate."""
    max_power_w: Watts | None = None
    """Power at full load, used while computing: at the wall under Linpack for boards, else the highest power mode
    or the vendor's board power."""
    idle_power_w: Watts | None = None
    """Power while waiting, radio on. Shown with the device: the energy of plans is that of computing, since few devices
    publish it."""
    power_modes_w: tuple[Watts, ...] = ()
    """Power caps the vendor publishes. The peaks above are those of the highest."""
    efficiency: RooflineEfficiency | None = None
    """Share of the peaks that training reaches."""
    cuda: Cuda | None = None
    """Where given, memory is what PyTorch's CUDA allocator counts; live tensor bytes otherwise."""
    price: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """What one costs, in a currency of your own that is the same for all devices; the catalogue states none."""
    can_train: bool = True
    """False for accelerators that only infer."""
    confidence: Confidence = Confidence.DERIVED
    """How the seconds computed from these figures are known."""
    source: str = ""
    """Where the figures come from."""


CUDA_SUFFIX = "_cuda"
"""Of a device of the catalogue whose memory is what CUDA takes."""


@cache
def catalogue() -> Mapping[str, Device]:
    """Return the devices that ship with the package, by id; ``NAME_cuda`` is one with the memory of CUDA."""
    text = Path(__file__).with_name("devices.yaml").read_text(encoding="utf-8")
    stated = plain_yaml(text)
    documents = dict(stated["devices"])
    for key, cuda in stated["cuda"].items():
        known = stated["devices"][key]
        documents[f"{key}{CUDA_SUFFIX}"] = {**known, "name": f"{known['name']}, memory of CUDA", "cuda": cuda}
    return {key: Device.model_validate_json(json.dumps(value)) for key, value in documents.items()}


def find_device(device_id: str, own: Mapping[str, Device], where: str) -> Device:
    """Return a device of the scenario or of the catalogue.

    Parameters
    ----------
    device_id
        The id that the scenario names.
    own
        The scenario's own devices; they come before the catalogue.
    where
        Key path that names the device, for the message.

    Raises
    ------
    ScenarioError
        If there is no such device; the message names the nearest ones.
    """
    if device_id in own:
        return own[device_id]
    if device_id in catalogue():
        return catalogue()[device_id]
    known = [*own, *catalogue()]
    near = difflib.get_close_matches(device_id, known, n=3, cutoff=0.4)
    kinds = [name for name in known if not name.endswith(CUDA_SUFFIX)]
    hint = f"nearest: {', '.join(near)}" if near else f"known: {', '.join(kinds)}"
    raise ScenarioError(f"{where}: unknown device {shown(device_id)}; {hint} (or describe it under 'devices')")
