"""The catalogue of devices in the terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.markup import escape
from rich.table import Table

from hybridsplit.orchestrator.views.fitting import FittingTable
from hybridsplit.scenarios.devices import Device
from hybridsplit.scenarios.units import format_bytes, format_flops_per_s

_UNKNOWN = "-"


def device_table(devices: Mapping[str, Device]) -> Table:
    """Return one row a device: what it has, and how its seconds are known.

    Parameters
    ----------
    devices
        By id.
    """
    table = FittingTable("Devices")
    for head in ("id", "name", "memory", "fp32 peak", "bandwidth", "power", "seconds are"):
        is_text = head in ("id", "name", "seconds are")
        table.add_column(head, justify="left" if is_text else "right", no_wrap=head != "name")
    for device_id, one in devices.items():
        table.add_row(
            escape(device_id),
            escape(one.name),
            _UNKNOWN if one.memory_bytes is None else format_bytes(one.memory_bytes),
            _UNKNOWN if one.fp32_flops_per_s is None else format_flops_per_s(one.fp32_flops_per_s),
            _UNKNOWN
            if one.memory_bandwidth_bytes_per_s is None
            else f"{one.memory_bandwidth_bytes_per_s / 1e9:.1f} GB/s",
            _UNKNOWN if one.max_power_w is None else f"{one.max_power_w:g} W",
            str(one.confidence) if one.can_train else "infers only",
        )
    return table


def device_lines(device_id: str, device: Device) -> list[str]:
    """Return every figure of a device by its key, its source last.

    Parameters
    ----------
    device_id, device
        The device.
    """
    values = device.model_dump(mode="json", exclude_none=True)
    source = values.pop("source")
    lines = [device_id]
    for key, value in values.items():
        if isinstance(value, dict):
            lines += [f"  {key}:", *(f"    {inner}: {figure}" for inner, figure in value.items())]
        elif value != []:
            lines.append(f"  {key}: {value}")
    return [*lines, f"  source: {source}"]
