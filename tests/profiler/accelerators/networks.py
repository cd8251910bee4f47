"""Short ways to write layer lists in tests."""

from __future__ import annotations

from typing import Any

from hybridsplit.profiler.accelerators.shapes import LayerShape, layer_shapes
from hybridsplit.scenarios.inference.layers import LayerList
from hybridsplit.scenarios.inference.networks import checked_network


def network(extent: list[int], *layers: dict[str, Any], name: str = "tried") -> LayerList:
    return checked_network({"model": name, "input": extent, "layers": list(layers)}, "here")


def shapes(extent: list[int], *layers: dict[str, Any]) -> tuple[LayerShape, ...]:
    return layer_shapes(network(extent, *layers))


def conv(out: int, kernel: int = 3, pad: int = 0, **keys: Any) -> dict[str, Any]:
    return {"op": "conv2d", "out": out, "kernel": kernel, "pad": pad, **keys}
