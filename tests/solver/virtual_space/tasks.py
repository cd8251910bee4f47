"""Small random inference tasks: chains of a few layers on a few devices of unlike rates."""

from __future__ import annotations

from typing import Any

import numpy as np

from hybridsplit.scenarios.inference.loading import validate_inference
from hybridsplit.scenarios.inference.schema import InferenceScenario


def random_task(
    seed: int, *, apps: int = 2, devices: int = 2, layers: int = 3, cuts: int = 1, reloads: bool = True, **keys: Any
) -> InferenceScenario:
    """Devices of a small memory, so that not everything fits everywhere."""
    draw = np.random.default_rng(seed)
    networks = {
        f"n{index}": {
            "model": f"n{index}",
            "input": [int(draw.integers(1, 9)), 8, 8],
            "layers": [
                {"op": "conv2d", "out": int(draw.integers(4, 25)), "kernel": int(draw.choice([1, 3])), "pad": 1,
                 "bias": bool(draw.integers(2))}
                for _ in range(layers)
            ],
        }
        for index in range(apps)
    }  # fmt: skip
    for network in networks.values():
        for layer in network["layers"]:
            layer["pad"] = layer["kernel"] // 2
    names = [f"d{index}" for index in range(devices)]
    document = {
        "task": "inference",
        "name": "tried",
        "apps": [
            {"app": f"a{index}", "model": f"n{index}", "source": str(draw.choice(names)),
             "target": str(draw.choice(names))}
            for index in range(apps)
        ],
        "accelerators": [
            {"group": name, "device": "tiny", "link_bps": float(draw.uniform(0.5e6, 2e7)),
             **({"reload_bytes_per_s": float(draw.uniform(1e6, 5e7))} if reloads else {})}
            for name in names
        ],
        "networks": networks,
        "devices": {"tiny": tiny(int(draw.integers(450, 1000)))},
        "search": {"most_cuts": cuts, "gap": 1e-6, "reloads": reloads, "time_limit_s": 30},
        **keys,
    }  # fmt: skip
    return validate_inference(document, "tried")


def tiny(kernel_bytes: int) -> dict[str, Any]:
    return {
        "name": "tiny", "processors": 16, "processors_per_instance": 4, "kernel_bytes_per_processor": kernel_bytes,
        "bias_bytes": 100, "data_bytes_per_instance": 4096, "most_layers": 6, "most_channels": 64, "most_extent": 100,
        "most_flattened": 256, "most_flattened_pixels": 64, "clock_hz": 1e7, "bus_bytes_per_s": 1e7,
        "active_power_w": 0.05, "source": "made up",
    }  # fmt: skip
