"""Predicted against measured peaks of live tensor bytes on this computer's CPU, client and server part.

    python benchmarks/cpu_memory.py

Runs two real training steps of every mode, optimizer and dtype at three cuts of four small models, counts live tensor
bytes while they run, and prints the error of the prediction that was made from shapes.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import Any

import numpy as np
import torch

from hybridsplit.profiler.memory import client_memory, server_memory
from hybridsplit.profiler.models import traced_model
from hybridsplit.runtime.data.split_models import split_model
from hybridsplit.runtime.models.precision import torch_dtype
from hybridsplit.runtime.session.client import run_client_round
from hybridsplit.runtime.session.server import ServerSide
from hybridsplit.runtime.split.link import Batch
from hybridsplit.runtime.split.live_bytes import LiveBytes
from hybridsplit.runtime.split.parts import SplitModel
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.contracts.placement import Placement
from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.scenarios.modes import MODES
from hybridsplit.scenarios.schema import Scenario

MODELS: dict[str, dict[str, Any]] = {
    "opt": {
        "task": "causal-lm",
        "config": {
            "model_type": "opt", "hidden_size": 128, "num_hidden_layers": 6, "ffn_dim": 512, "num_attention_heads": 4,
            "word_embed_proj_dim": 128, "vocab_size": 2000, "max_position_embeddings": 128,
        },
    },
    "bert": {
        "task": "sequence-classification",
        "config": {
            "model_type": "bert", "hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4,
            "intermediate_size": 512, "vocab_size": 2000, "max_position_embeddings": 128, "num_labels": 3,
        },
    },
    "vit": {
        "task": "image-classification",
        "config": {
            "model_type": "vit", "hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4,
            "intermediate_size": 512, "image_size": 32, "patch_size": 4, "num_channels": 1, "num_labels": 10,
        },
    },
    "resnet": {
        "task": "image-classification",
        "config": {
            "model_type": "resnet", "layer_type": "basic", "num_channels": 1, "embedding_size": 32,
            "hidden_sizes": [32, 64, 128], "depths": [2, 2, 2], "num_labels": 10,
        },
    },
}  # fmt: skip
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"name": "sgd", "learning_rate": 0.01},
    "momentum": {"name": "sgd", "learning_rate": 0.01, "momentum": 0.9},
    "adamw": {"name": "adamw", "learning_rate": 0.01},
}


def scenario_of(name: str, optimizer: dict[str, Any], dtype: str) -> Scenario:
    """A scenario around one of the models."""
    is_text = MODELS[name]["task"] != "image-classification"
    document = {
        "name": name,
        "model": MODELS[name] | {"dtype": dtype},
        "data": {"source": "synthetic-tokens"} if is_text else {"source": "digits", "image_size": 32},
        "training": {
            "optimizer": optimizer, "batch_size": 8, "local_steps": 2, "zeroth_order": {"directions": 2},
            "modes": list(Mode),
            **({"sequence_length": 64} if is_text else {}),
        },
        "server": {"device": "edge_rtx_3090"},
        "radio": {"link_model": "fixed", "uplink_hz": "20 MHz", "downlink_hz": "20 MHz"},
        "clients": [
            {
                "group": "pi", "device": "rpi5_8gb", "memory_budget_bytes": "1 GiB",
                "link": {"uplink_bps_per_hz": 2.0, "downlink_bps_per_hz": 4.0},
            }
        ],
    }  # fmt: skip
    return validate_scenario(document, name)


def random_batch(scenario: Scenario) -> Batch:
    """A batch that fits a scenario."""
    batch_size = scenario.training.batch_size
    if scenario.model.task == "image-classification":
        images = torch.randn(batch_size, 1, 32, 32).to(torch_dtype(scenario.model))
        return Batch(images, torch.randint(0, 10, (batch_size,)))
    assert scenario.training.sequence_length is not None
    tokens = torch.randint(4, 2000, (batch_size, scenario.training.sequence_length))
    labels = tokens.clone() if scenario.model.task == "causal-lm" else torch.randint(0, 3, (batch_size,))
    return Batch(tokens, labels)


def server_peak(model: SplitModel, scenario: Scenario, cut: int, batch: Batch) -> int:
    """Live bytes of a server copy over two steps."""
    with torch.no_grad():
        h = model.client_part(cut)(batch.inputs, batch.mask_BS)
    part = model.server_part(cut)
    server = ServerSide(part, scenario.training, scenario.model.task)
    meter = LiveBytes()
    meter.track([*part.parameters(), *part.buffers(), h, batch.labels])
    for _ in range(2):
        with meter:
            server.exact(h, batch, wants_gradient=True)
    return meter.peak_bytes


def main() -> None:
    """Print the largest and the median error by model and mode."""
    torch.set_num_threads(1)
    errors: dict[tuple[str, str], list[float]] = defaultdict(list)
    for name, (_, optimizer), dtype in itertools.product(MODELS, OPTIMIZERS.items(), ("float32", "bfloat16")):
        scenario = scenario_of(name, optimizer, dtype)
        traced, model, batch = traced_model(scenario), split_model(scenario), random_batch(scenario)
        start = model.whole.snapshot()
        for cut in (1, model.num_blocks // 2, model.num_blocks):
            for mode in Mode:
                if cut == model.num_blocks and not MODES[mode].runs_whole_model:
                    continue
                assignment = Assignment(
                    "pi-0", Placement(cut=cut, mode=mode, batch_size=scenario.training.batch_size), 1.0, 1 << 40
                )
                outcome = run_client_round(
                    model, start, assignment, lambda _, batch=batch: batch, scenario, 0, measure_memory=True
                )
                assert outcome.report.peak_bytes
                predicted = client_memory(traced, scenario, cut, mode).peak_bytes
                errors[name, str(mode)].append(100 * (predicted / outcome.report.peak_bytes - 1))
            if cut < model.num_blocks:
                predicted = server_memory(traced, scenario, cut, Mode.FO).peak_bytes
                errors[name, "server"].append(100 * (predicted / server_peak(model, scenario, cut, batch) - 1))
    print(f"{'model':8} {'part':14} {'cases':>5} {'median %':>9} {'worst %':>9}")
    for (name, part), values in errors.items():
        size = np.abs(values)
        print(f"{name:8} {part:14} {len(size):5d} {np.median(size):9.3f} {size.max():9.3f}")
    everything = np.abs(np.concatenate(list(errors.values())))
    print(f"{'all':8} {'':14} {len(everything):5d} {np.median(everything):9.3f} {everything.max():9.3f}")


if __name__ == "__main__":
    main()
