"""The machine at hand measured on itself: predicted against measured seconds of blocks and of whole training steps.

    python benchmarks/machine_profile.py [--cpu-time]

For each model three predictions of a step (forward, backward, update; all blocks) are shown against its measured time:
the sum of its own blocks' measured passes, the roofline fitted with them (what a device file carries), and the roofline
of the first model's profile, which never saw the others. ``--cpu-time`` reads the process's own time instead of the
wall clock, with one thread, for a machine that others use too.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from hybridsplit.profiler.compute import block_costs
from hybridsplit.profiler.costs import OperatorCost
from hybridsplit.profiler.machine import MachineProfile, measure_machine, timed
from hybridsplit.profiler.machine.blocks import block_kinds, random_batch
from hybridsplit.profiler.mode_costs import block_seconds
from hybridsplit.profiler.models import traced_model
from hybridsplit.profiler.roofline import seconds
from hybridsplit.runtime.models.build import build_blocks
from hybridsplit.runtime.split.optimizers import make_optimizer
from hybridsplit.runtime.split.parts import SplitModel, task_loss
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.devices import Device
from hybridsplit.scenarios.loader import load_scenario, validate_scenario
from hybridsplit.scenarios.modes import MODES
from hybridsplit.scenarios.schema import Scenario, ZerothOrder

IMAGES: dict[str, Any] = {"source": "digits", "image_size": 32}
MODELS: dict[str, tuple[str, dict[str, Any], int, int | None]] = {
    # name: task, configuration, batch size, sequence length
    "resnet": ("image-classification", {
        "model_type": "resnet", "layer_type": "basic", "num_channels": 1, "embedding_size": 32,
        "hidden_sizes": [32, 64, 128], "depths": [2, 2, 2], "num_labels": 10,
    }, 32, None),
    "resnet-bottleneck": ("image-classification", {
        "model_type": "resnet", "layer_type": "bottleneck", "num_channels": 1, "embedding_size": 32,
        "hidden_sizes": [64, 128, 256], "depths": [1, 2, 1], "num_labels": 10,
    }, 32, None),
    "vit": ("image-classification", {
        "model_type": "vit", "hidden_size": 192, "num_hidden_layers": 4, "num_attention_heads": 3,
        "intermediate_size": 768, "image_size": 32, "patch_size": 4, "num_channels": 1, "num_labels": 10,
    }, 32, None),
    "opt": ("causal-lm", {
        "model_type": "opt", "hidden_size": 256, "num_hidden_layers": 4, "ffn_dim": 1024, "num_attention_heads": 4,
        "word_embed_proj_dim": 256, "vocab_size": 4096, "max_position_embeddings": 128,
    }, 8, 64),
    "bert": ("sequence-classification", {
        "model_type": "bert", "hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4,
        "intermediate_size": 1024, "vocab_size": 8192, "max_position_embeddings": 128, "num_labels": 2,
    }, 16, 64),
}  # fmt: skip


def scenario_of(name: str) -> Scenario:
    task, config, batch_size, length = MODELS[name]
    document = load_scenario("quickstart").resolved()
    document["name"] = name
    document["model"] = {"task": task, "config": config}
    document["data"] = IMAGES if length is None else {"source": "synthetic-tokens", "num_samples": 256}
    document["training"] |= {"batch_size": batch_size, "optimizer": {"name": "sgd", "learning_rate": 0.01}}
    document["training"]["sequence_length"] = length
    document["objective"] = {}
    return validate_scenario(document, name)


def measured_step_s(scenario: Scenario, clock: Callable[[], float]) -> float:
    """Seconds of a real training step of the whole model."""
    part = SplitModel(build_blocks(scenario)).whole
    part.train()
    batch = random_batch(traced_model(scenario), scenario)
    parameters = [parameter for _, parameter in part.trainable()]
    optimizer = make_optimizer(scenario.training.optimizer, parameters)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        task_loss(part(batch.inputs, batch.mask_BS), batch.labels, scenario.model.task).backward()
        optimizer.step()

    return timed(step, clock=clock).median_s


def predicted_step_s(scenario: Scenario, device: Device, profile: MachineProfile | None = None) -> float:
    """The option table's seconds of a step with the whole model on the device, from measured passes where given."""

    def clock(cost: OperatorCost) -> float:
        return seconds(cost, device)

    costs = block_costs(traced_model(scenario), scenario)
    passes = profile.block_seconds(costs, block_kinds(scenario)) if profile else block_seconds(clock, costs)
    return MODES[Mode.FO].client_step_s(passes, len(costs), ZerothOrder())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cpu-time", action="store_true", help="the process's own time, one thread")
    clock = time.perf_counter
    if parser.parse_args().cpu_time:
        torch.set_num_threads(1)
        clock = time.process_time
    print(f"{torch.get_num_threads()} threads, PyTorch {torch.__version__}")
    print(
        f"{'model':>18} {'measured ms':>12} {'blocks':>8} {'roofline':>9} {'other':>8} {'passes: median':>15} "
        f"{'worst':>7}"
    )
    own_errors: list[float] = []
    sum_errors: list[float] = []
    other_errors: list[float] = []
    block_errors: list[np.ndarray] = []
    other: Device | None = None
    for name in MODELS:
        scenario = scenario_of(name)
        profile = measure_machine(scenario, clock=clock)
        other = other or profile.device
        truth_s = measured_step_s(scenario, clock)
        summed = predicted_step_s(scenario, profile.device, profile) / truth_s - 1
        own = predicted_step_s(scenario, profile.device) / truth_s - 1
        elsewhere = predicted_step_s(scenario, other) / truth_s - 1
        blocks = np.abs(profile.block_errors())
        own_errors.append(abs(own))
        sum_errors.append(abs(summed))
        block_errors.append(blocks)
        if other is not profile.device:
            other_errors.append(abs(elsewhere))
        print(
            f"{name:>18} {truth_s * 1e3:>12.2f} {summed:>+8.1%} {own:>+9.1%} {elsewhere:>+8.1%} "
            f"{np.median(blocks):>15.1%} {blocks.max():>7.0%}",
            flush=True,
        )
    everything = np.concatenate(block_errors)
    print(f"steps, measured blocks: median absolute error {np.median(sum_errors):.1%}, worst {max(sum_errors):.1%}")
    print(f"steps, own roofline: median {np.median(own_errors):.1%}, worst {max(own_errors):.1%}")
    print(
        f"steps, roofline of {next(iter(MODELS))}: median {np.median(other_errors):.1%}, worst {max(other_errors):.1%}"
    )
    print(f"passes over blocks, own roofline: median {np.median(everything):.1%}, worst {everything.max():.1%}")


if __name__ == "__main__":
    main()
