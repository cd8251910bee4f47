"""What half precision keeps: of optimizer steps, of zeroth-order estimates and of memory, beside single precision.

Run ``python -m benchmarks.half_precision``. Three ways to train a small model: in float32; in bfloat16 with master
weights (``model.master_weights: float32``); in bfloat16 alone. Printed are the shares of the entries of vectors (norms
and biases), matrices and embedding rows that 50 steps of AdamW at a rate of 1e-5 have changed; the correlation of
finite differences and of forward derivatives along 100 directions with those in float32, for the whole model and for
norms and biases alone; and the client's predicted peak, as ratios to float32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hybridsplit.profiler.memory import client_memory
from hybridsplit.profiler.models import traced_model
from hybridsplit.runtime.models.build import build_blocks
from hybridsplit.runtime.noise import NoiseKey, Perturbed, tangent_along
from hybridsplit.runtime.split.optimizers import PartOptimizer
from hybridsplit.runtime.split.parts import Part, SplitModel, task_loss
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.testing.families import family_batch, family_scenario

WAYS = {"float32": {}, "bfloat16, master weights": {"dtype": "bfloat16"}, "bfloat16 alone": {"dtype": "bfloat16"}}
STEPS, DIRECTIONS = 50, 100


def scenario_of(family: str, way: str, **training: Any) -> Scenario:
    """The small model of a family, trained in one of the ways."""
    optimizer = {"name": "adamw", "learning_rate": 1e-5}
    scenario = family_scenario(family, **WAYS[way], optimizer=optimizer, **training)
    masters = "none" if way == "bfloat16 alone" else "float32"
    return scenario.model_copy(update={"model": scenario.model.model_copy(update={"master_weights": masters})})


def shares_changed(family: str, way: str) -> dict[str, float]:
    """Share of the entries with a gradient that have changed, by kind of parameter."""
    scenario = scenario_of(family, way)
    whole = SplitModel(build_blocks(scenario)).whole.train()
    start = whole.snapshot()
    optimizer = PartOptimizer(scenario.training.optimizer, whole.trainable())
    reached: dict[str, Tensor] = {}
    for step in range(STEPS):
        batch = family_batch(scenario, seed=step)
        task_loss(whole(batch.inputs, batch.mask_BS), batch.labels, scenario.model.task).backward()
        for name, parameter in whole.trainable():
            if parameter.grad is not None:
                reached[name] = reached.get(name, torch.zeros(())) + parameter.grad.abs()
        optimizer.step()
    counted: dict[str, list[Tensor]] = {}
    for name, parameter in whole.trainable():
        if name in reached:
            kind = "vectors" if parameter.dim() == 1 else "embeddings" if "embed" in name else "matrices"
            counted.setdefault(kind, []).append((parameter != start[name])[reached[name] > 0].float().flatten())
    return {kind: float(torch.cat(values).mean()) for kind, values in sorted(counted.items())}


def derivatives(family: str, way: str, method: str, radius: float | None) -> Tensor:
    """Estimated derivatives of the loss along random directions, [P]; forward derivatives without a radius."""
    scenario = scenario_of(family, way, trainable={"method": method})
    whole: Part = SplitModel(build_blocks(scenario)).whole.eval()
    batch, key = family_batch(scenario), NoiseKey(0, "client", "pi-0", 0, 0)
    parameters = list(whole.trainable())

    def loss(inputs: Tensor) -> Tensor:
        return task_loss(whole(inputs, batch.mask_BS), batch.labels, scenario.model.task)

    def along(direction: int) -> float:
        if radius is None:
            return float(tangent_along(loss, batch.inputs, parameters, key, direction))
        found = []
        for sign in (1.0, -1.0):
            with Perturbed(parameters, key, direction, sign * radius):
                found.append(float(loss(batch.inputs)))
        return (found[0] - found[1]) / (2 * radius)

    with torch.no_grad():
        return torch.tensor([along(direction) for direction in range(DIRECTIONS)])


def main() -> None:
    """Print the three tables."""
    torch.set_num_threads(1)
    print(f"share of entries changed by {STEPS} steps of AdamW at 1e-5")
    for family in ("bert", "llama"):
        for way in WAYS:
            shares = shares_changed(family, way)
            print(f"  {family:6} {way:26} " + "  ".join(f"{kind} {share:6.1%}" for kind, share in shares.items()))
    print(f"\ncorrelation of {DIRECTIONS} derivatives with exact ones in float32")
    for family, method in (
        ("bert", "all"),
        ("llama", "all"),
        ("bert", "biases-and-norms"),
        ("llama", "biases-and-norms"),
    ):
        exact = derivatives(family, "float32", method, None)
        for way in WAYS:
            found = {
                ("forward-mode" if radius is None else f"radius {radius:g}"): torch.corrcoef(
                    torch.stack([derivatives(family, way, method, radius), exact])
                )[0, 1]
                for radius in (1e-3, 1e-2, None)
            }
            line = "  ".join(f"{name} {float(value):5.2f}" for name, value in found.items())
            print(f"  {family:6} {method:17} {way:26} {line}")
    print("\npredicted peak of the client part at the middle cut, as a ratio to float32")
    for family in ("bert", "llama"):
        for mode in (Mode.FO, Mode.ZO_PROJECTION):
            peaks = {}
            for way in WAYS:
                traced = traced_model(scenario_of(family, way))
                cut = traced.model.num_blocks // 2
                peaks[way] = client_memory(traced, scenario_of(family, way), cut, mode).peak_bytes
            line = "  ".join(f"{way} {peak / peaks['float32']:.2f}" for way, peak in peaks.items())
            print(f"  {family:6} {mode:14} {line}")


if __name__ == "__main__":
    main()
