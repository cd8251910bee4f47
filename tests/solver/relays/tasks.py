"""Random scenarios with relays, and costs of blocks that no model is behind."""

from __future__ import annotations

from typing import Any

import numpy as np

from hybridsplit.scenarios.contracts.relay_costs import MicroBatchCosts, RelayCosts
from hybridsplit.scenarios.relays.loading import validate_relays
from hybridsplit.scenarios.relays.schema import RelayScenario

DEVICES = ("rpi4b_8gb", "jetson_nano_4gb", "jetson_orin_nano_8gb", "edge_tesla_t4")
SPEEDS = dict(zip(DEVICES, (1.0, 2.0, 4.0, 6.0), strict=True))


def random_costs(rng: np.random.Generator, num_blocks: int, numbers: tuple[int, ...], *, trains: bool) -> RelayCosts:
    """Costs of a model of unequal blocks; seconds follow the speeds of the devices."""
    work, share = rng.uniform(0.02, 0.2, num_blocks), rng.uniform(1.0, 2.5, num_blocks)
    crossing = rng.integers(50_000, 400_000, num_blocks + 1) * 8
    crossing[-1] = 0
    kept, running = rng.integers(1_000, 9_000, num_blocks) * 8, rng.integers(1_000, 9_000, num_blocks) * 8
    standing = rng.integers(5_000, 50_000, num_blocks)
    parts = {}
    for number in numbers:
        back = crossing // number if trains else np.zeros_like(crossing)
        back = np.concatenate([[0], back[1:]])
        parts[number] = MicroBatchCosts(
            forward_s={name: work / speed / number for name, speed in SPEEDS.items()},
            backward_s={name: trains * work * share / speed / number for name, speed in SPEEDS.items()},
            sent_bytes=crossing // number,
            returned_bytes=back,
            kept_bytes=trains * (kept // number),
            running_bytes=running // number,
        )
    return RelayCosts(
        kinds=tuple(f"block-{index}" for index in range(num_blocks)),
        by_micro_batches=parts,
        update_s={name: trains * 0.01 * work / speed for name, speed in SPEEDS.items()},
        standing_bytes=standing,
        trained_bytes=trains * standing,
        gradient_bytes=trains * standing // 2,
        exchanged_bytes=trains * standing,
        batch_bytes=int(crossing[0]),
    )


def relay_scenario(
    counts: tuple[int, ...] = (1,),
    *,
    minimise: str = "round-latency",
    numbers: tuple[int, ...] = (1, 4),
    most_cuts: int = 3,
    shared: bool = False,
    rate_bps: float = 100e6,
    memory_bytes: int | None = None,
    **changes: Any,
) -> RelayScenario:
    """One access point a group, an edge server and a cloud, which a group may also reach past the edge server."""
    trains = minimise == "round-latency"
    nodes: list[dict[str, Any]] = [
        *({"node": f"ap-{i}", "device": "jetson_nano_4gb"} for i in range(len(counts))),
        {"node": "edge", "device": "jetson_orin_nano_8gb", "memory_bytes": memory_bytes},
        {"node": "cloud", "device": "edge_tesla_t4"},
    ]
    both = {"uplink_bps": rate_bps, "downlink_bps": 2 * rate_bps}
    links = [
        *({"from": f"g{i}", "to": f"ap-{i}", **both, "latency_s": 0.001, "shared": shared} for i in range(len(counts))),
        *({"from": f"ap-{i}", "to": "edge", **both} for i in range(len(counts))),
        {"from": "edge", "to": "cloud", **both, "latency_s": 0.01},
        {"from": "ap-0", "to": "cloud", "uplink_bps": rate_bps / 3, "downlink_bps": rate_bps / 3},
    ]
    document = {
        "name": "random",
        "model": {"task": "image-classification", "config": {"model_type": "vit", "image_size": 32, "patch_size": 8}},
        "data": {"source": "digits", "image_size": 32, "partition": {"scheme": "iid"}},
        "training": {
            "batch_size": 16,
            "micro_batches": list(numbers),
            "local_steps": 2 if trains else 1,
            "cuts": {"most": most_cuts},
            **({"optimizer": {"name": "sgd", "learning_rate": 0.1}} if trains else {}),
        },
        "network": {"nodes": nodes, "links": links},
        "clients": [
            {"group": f"g{i}", "device": "rpi4b_8gb", "count": count, "memory_budget_bytes": 50_000_000}
            for i, count in enumerate(counts)
        ],
        "objective": {"minimise": minimise},
        **changes,
    }
    return validate_relays(document, "random")
