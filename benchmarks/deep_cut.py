"""Where client-side training matters: a pretrained encoder wholly on the client, head at the server, LoRA of rank 1.

    python -m benchmarks.deep_cut --text FILE.tsv --checkpoint FOLDER [--steps 1000] [--seeds 6] [--processes 16]

Sentence polarity (columns ``sentence`` and ``label``, a fifth of it held out) on all-MiniLM-L6-v2. At the cut below
the head a frozen client leaves the server nothing but the pooled sentence, so that what the client learns shows. Final
accuracy, paired over seeds, at learning rates found on two other seeds. Runs on a GPU where there is one.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hybridsplit.runtime.data.partition import draw_batch
from hybridsplit.runtime.data.sources import load_dataset
from hybridsplit.runtime.models.build import build_blocks
from hybridsplit.runtime.session.client import run_client_round
from hybridsplit.runtime.split.link import Batch
from hybridsplit.runtime.split.parts import SplitModel
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.contracts.placement import Placement
from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.scenarios.schema import Scenario

CUT = 7
"""Embeddings and all six layers; the pooler and the head stay at the server."""


@dataclass(frozen=True)
class Job:
    """One training run."""

    name: str
    mode: Mode
    learning_rate: float
    directions: int
    estimate_learning_rate: float
    seed: int
    steps: int
    text: str
    checkpoint: str


ROWS = {
    "frozen, 1e-3": (Mode.FROZEN, 1e-3, 1, 1e-3),
    "frozen, 3e-3": (Mode.FROZEN, 3e-3, 1, 1e-3),
    "frozen, 1e-2": (Mode.FROZEN, 1e-2, 1, 1e-3),
    "frozen, 3e-2": (Mode.FROZEN, 3e-2, 1, 1e-3),
    "zo-projection, P=16": (Mode.ZO_PROJECTION, 1e-3, 16, 1e-3),
    "zo-projection, P=16, server 1e-2": (Mode.ZO_PROJECTION, 1e-2, 16, 1e-3),
    "zo-loss, Q=8": (Mode.ZO_LOSS, 1e-3, 8, 1e-3),
    "fo": (Mode.FO, 1e-3, 1, 1e-3),
}
"""Mode, learning rate of exact gradients, directions, learning rate of estimates; AdamW everywhere."""


def scenario_of(job: Job) -> Scenario:
    document: dict[str, Any] = {
        "name": "deep-cut",
        "seed": job.seed,
        "model": {"task": "sequence-classification", "checkpoint": job.checkpoint},
        "data": {"source": "text-table", "path": job.text, "tokenizer": job.checkpoint, "test_fraction": 0.2},
        "training": {
            "trainable": {"method": "lora", "rank": 1, "alpha": 16.0, "target_modules": ["query", "value"]},
            "optimizer": {"name": "adamw", "learning_rate": job.learning_rate},
            "batch_size": 16,
            "sequence_length": 48,
            "local_steps": job.steps,
            "modes": [str(job.mode)],
            "zeroth_order": {
                "directions": job.directions,
                "distribution": "rademacher",
                "optimizer": {"name": "adamw", "learning_rate": job.estimate_learning_rate},
            },
        },
        "server": {"device": "edge_rtx_3090"},
        "radio": {"link_model": "fixed", "uplink_hz": "20 MHz", "downlink_hz": "20 MHz"},
        "clients": [
            {
                "group": "pi",
                "device": "rpi4b_8gb",
                "memory_budget_bytes": "4 GiB",
                "link": {"uplink_bps_per_hz": 2.0, "downlink_bps_per_hz": 2.0},
            }
        ],
    }
    return validate_scenario(document, "deep-cut")


def accuracy(job: Job) -> tuple[Job, float]:
    """Train once and return the final accuracy on the held-out sentences."""
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    scenario = scenario_of(job)
    dataset = load_dataset(scenario)
    model = SplitModel(build_blocks(scenario, num_labels=dataset.num_classes))
    model.whole.to(device)
    everything = torch.arange(len(dataset.train))

    def draw(step: int) -> Batch:
        return on(draw_batch(dataset.train, everything, scenario, "pi-0", step))

    def on(batch: Batch) -> Batch:
        mask_BS = None if batch.mask_BS is None else batch.mask_BS.to(device)
        return Batch(batch.inputs.to(device), batch.labels.to(device), mask_BS)

    who = Assignment("pi-0", Placement(cut=CUT, mode=job.mode, batch_size=scenario.training.batch_size), 1.0, 1 << 40)
    trained = run_client_round(model, model.whole.snapshot(), who, draw, scenario, 0, measure_memory=False)
    model.whole.load(trained.state)
    model.whole.eval()
    right = 0
    with torch.inference_mode():
        for start in range(0, len(dataset.test), 100):
            batch = on(dataset.test.batch(torch.arange(start, min(start + 100, len(dataset.test)))))
            right += int((model.whole(batch.inputs, batch.mask_BS).argmax(-1) == batch.labels).sum())
    return job, right / len(dataset.test)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--rows", default=";".join(ROWS), help="some of the rows, divided by semicolons")
    parser.add_argument("--out", type=Path, help="JSON lines of every run")
    arguments = parser.parse_args()
    jobs = [
        Job(name, *row, seed, arguments.steps, str(arguments.text.resolve()), str(arguments.checkpoint.resolve()))
        for name, row in sorted(ROWS.items(), key=lambda item: -item[1][2])
        if name in arguments.rows.split(";")
        for seed in range(10, 10 + arguments.seeds)
    ]
    found: dict[str, dict[int, float]] = {job.name: {} for job in jobs}
    with multiprocessing.get_context("spawn").Pool(arguments.processes) as pool:
        for job, value in pool.imap_unordered(accuracy, jobs):
            found[job.name][job.seed] = value
            print(f"{job.name}, seed {job.seed}: {value:.1%}", flush=True)
            if arguments.out is not None:
                with arguments.out.open("a") as lines:
                    lines.write(json.dumps({"row": job.name, "seed": job.seed, "accuracy": value}) + "\n")
    control = max((name for name in found if name.startswith("frozen")), key=lambda n: sum(found[n].values()))
    print(f"\n{'row':34s} {'accuracy':>16s} {'minus ' + control:>24s}")
    for name, by_seed in found.items():
        values = list(by_seed.values())
        difference = [value - found[control][seed] for seed, value in by_seed.items()]
        error = statistics.stdev(difference) / len(difference) ** 0.5 if len(difference) > 1 else float("nan")
        spread = statistics.stdev(values) if len(values) > 1 else float("nan")
        print(
            f"{name:34s} {statistics.mean(values):8.1%} ± {spread:5.1%} "
            f"{100 * statistics.mean(difference):+14.1f} ± {100 * error:.1f} points"
        )


if __name__ == "__main__":
    main()
