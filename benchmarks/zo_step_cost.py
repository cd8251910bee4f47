"""Client time of a zeroth-order step beside as many plain forwards, by tokens a step.

    python benchmarks/zo_step_cost.py [--model opt|bert] [--seconds S] [--threads N]

The client part holds the embedding and four layers of hidden size 256, cut below the head. A step of ``zo-projection``
runs the anchor and P = 4 perturbed forwards, draws every direction twice (probe and descent) and moves the parameters;
it is divided by 1 + P plain forwards of the same part. Steps and forwards alternate in one process; the figures are
ratios of medians. What the server does is left out: the gradient at the cut is given.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from hybridsplit.runtime.estimators import make_estimator
from hybridsplit.runtime.models.build import build_blocks
from hybridsplit.runtime.noise import NoiseKey
from hybridsplit.runtime.session.steps import run_step
from hybridsplit.runtime.split.link import Batch
from hybridsplit.runtime.split.parts import SplitModel
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.scenarios.schema import Scenario

CONFIGS: dict[str, dict[str, Any]] = {
    "opt": {
        "model_type": "opt", "hidden_size": 256, "num_hidden_layers": 4, "ffn_dim": 1024, "num_attention_heads": 4,
        "word_embed_proj_dim": 256, "vocab_size": 8192, "max_position_embeddings": 128, "num_labels": 2,
    },
    "bert": {
        "model_type": "bert", "hidden_size": 256, "num_hidden_layers": 4, "intermediate_size": 1024,
        "num_attention_heads": 4, "vocab_size": 8192, "max_position_embeddings": 128, "num_labels": 2,
    },
}  # fmt: skip
TARGETS = {"opt": ["q_proj", "v_proj"], "bert": ["query", "value"]}
LENGTH = 64
TOKENS = (64, 256, 1024, 4096, 8192)
DISTRIBUTIONS = ("gaussian", "sphere", "rademacher")
DIRECTIONS = 4


class GivenGradient:
    """A server part that takes no time: λ is what it was given."""

    trains_server = True

    def __init__(self, gradient: Tensor) -> None:
        self._gradient = gradient

    def begin_step(self, key: NoiseKey) -> None:
        """Nothing is kept."""

    def exact(self, h: Tensor, batch: Batch, *, wants_gradient: bool) -> tuple[Tensor | None, float]:
        """Return the gradient."""
        return self._gradient, 0.0

    def probe(self, h: Tensor, batch: Batch, *, keep: bool = False) -> Tensor:
        """Return no loss."""
        return torch.zeros(())

    def exact_kept(self, batch: Batch) -> float:
        """Return no loss."""
        return 0.0

    def share_scalars(self, scalars_P: Tensor, seeds_P: Tensor) -> Tensor:
        """Return the scalars."""
        return scalars_P


def scenario_of(model: str, trainable: str, distribution: str, tokens: int) -> Scenario:
    """Return a scenario around the model."""
    lora = {"method": "lora", "rank": 8, "target_modules": TARGETS[model]}
    document = {
        "name": "zo-step-cost",
        "model": {"task": "sequence-classification", "config": CONFIGS[model]},
        "data": {"source": "synthetic-tokens", "num_samples": 64},
        "training": {
            "optimizer": {"name": "sgd", "learning_rate": 0.1},
            "trainable": lora if trainable == "lora" else {"method": "all"},
            "zeroth_order": {"directions": DIRECTIONS, "distribution": distribution},
            "batch_size": max(1, tokens // LENGTH),
            "sequence_length": LENGTH,
        },
        "server": {"device": "edge_rtx_3090"},
        "radio": {"link_model": "fixed", "uplink_hz": "20 MHz", "downlink_hz": "20 MHz"},
        "clients": [
            {
                "group": "pi", "device": "rpi5_8gb", "count": 1, "memory_budget_bytes": "4 GiB",
                "link": {"uplink_bps_per_hz": 2.0, "downlink_bps_per_hz": 4.0},
            }
        ],
    }  # fmt: skip
    return validate_scenario(document, "zo-step-cost")


def ratio(scenario: Scenario, budget_s: float) -> tuple[float, float]:
    """Return the step's seconds and their ratio to those of as many plain forwards."""
    model = SplitModel(build_blocks(scenario))
    part = model.client_part(model.num_blocks - 1)
    training = scenario.training
    generator = torch.Generator().manual_seed(0)
    shape = training.batch_size, training.sequence_length or LENGTH
    batch = Batch(torch.randint(4, 8000, shape, generator=generator), torch.zeros(shape[0], dtype=torch.long))
    estimator = make_estimator(Mode.ZO_PROJECTION, part, training)

    def forwards() -> None:
        with torch.no_grad():
            for _ in range(1 + DIRECTIONS):
                part(batch.inputs, None)

    with torch.no_grad():
        link = GivenGradient(torch.full_like(part(batch.inputs, None), 1e-6))
    steps, plain = [], []
    begin, step = perf_counter(), 0
    while len(steps) < 5 or perf_counter() - begin < budget_s:
        key = NoiseKey(0, "client", "pi", 0, step)
        plain.append(_seconds(forwards))
        steps.append(_seconds(lambda key=key: run_step(estimator, batch, link, key, None)))  # type: ignore[misc]
        step += 1
    # The first of each warms up.
    return median(steps[1:]), median(steps[1:]) / median(plain[1:])


def _seconds(work: Callable[[], object]) -> float:
    begin = perf_counter()
    work()
    return perf_counter() - begin


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=sorted(CONFIGS), default="opt")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each figure")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tokens", type=int, nargs="+", default=TOKENS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"{arguments.model}, {arguments.threads} thread(s), P = {DIRECTIONS}: step / {1 + DIRECTIONS} plain forwards")
    print(
        f"{'tokens':>8} {'trained':>8}" + "".join(f"{name:>14}" for name in DISTRIBUTIONS) + f"{'step (gaussian)':>18}"
    )
    for trainable in ("all", "lora"):
        for tokens in arguments.tokens:
            found = [
                ratio(scenario_of(arguments.model, trainable, name, tokens), arguments.seconds)
                for name in DISTRIBUTIONS
            ]
            shown = "".join(f"{value:>14.2f}" for _, value in found)
            print(f"{tokens:>8} {trainable:>8}{shown}{found[0][0] * 1e3:>15.1f} ms", flush=True)


if __name__ == "__main__":
    main()
