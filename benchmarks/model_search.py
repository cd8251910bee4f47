"""What ranks models before they are trained: scores, short training, and weights shared between models.

    python -m benchmarks.model_search [--images FILE.npz] [--rounds 12] [--seeds 3] [--out FOLDER]

Twenty ResNets (five widths by four depths) of the digits of quickstart, and of the images of FILE where one is given,
are planned and trained by ``hybridsplit search``'s own code. Printed are the front, and the rank correlation with the
final accuracy (mean over seeds) of every score, of the accuracy after a third of the rounds, and of the accuracy that
the models have with weights shared between them: those of the largest model, cut to each model's shapes, trained on
models drawn at random with the largest in between (the sandwich rule of Yu and Huang, "Universally Slimmable Networks",
ICCV 2019, section 3) for as many batches as a third of the rounds of all models takes, and BatchNorm's statistics taken
anew for every model. Beside each is its cost: CPU seconds of this process for all models.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn
from torch.func import functional_call

from hybridsplit.orchestrator.pipeline import RunSettings
from hybridsplit.orchestrator.search.candidates import Candidate
from hybridsplit.orchestrator.search.front import rank_correlation
from hybridsplit.orchestrator.search.results import ModelSearch, SearchSettings
from hybridsplit.orchestrator.search.study import search_models
from hybridsplit.orchestrator.views.search import correlation_text, search_lines
from hybridsplit.profiler.options import profiled_model
from hybridsplit.profiler.untrained_scores import untrained_scores
from hybridsplit.runtime.data.partition import draw_batch
from hybridsplit.runtime.data.sources import load_dataset, model_blocks
from hybridsplit.runtime.models.configuration import model_config
from hybridsplit.runtime.split.parts import SplitModel, task_loss
from hybridsplit.scenarios.loader import builtin_text, scenario_of_values
from hybridsplit.scenarios.schema import Scenario

SPACE = [{"variant": "resnet", "width": [0.25, 0.5, 0.75, 1, 1.25], "depth": [0.5, 1, 1.5, 2]}]
_RECALIBRATION_BATCHES = 16


def tasks(images: Path | None) -> dict[str, Scenario]:
    """Return the scenarios by name."""
    digits = yaml.safe_load(builtin_text("quickstart")) | {"variants": SPACE}
    digits["objective"]["gradient_split"] = "assumed"
    found = {"digits": scenario_of_values(digits, {})}
    if images is not None:
        data = {
            "source": "image-archive",
            "path": str(images.resolve()),
            "image_size": 16,
            "partition": {"scheme": "iid"},
        }
        found["images"] = scenario_of_values(digits | {"name": "images", "data": data}, {"training.batch_size": 16})
    return found


def shared_weights(found: Sequence[Candidate], num_steps: int) -> list[float]:
    """Train weights shared between models for a number of batches; return every model's test accuracy."""
    scenario = found[0].scenario
    data = load_dataset(scenario)
    models = [SplitModel(model_blocks(one.scenario, dataset=data)).whole for one in found]
    names = {model: shared_names(model, one.scenario) for model, one in zip(models, found, strict=True)}
    by_size = sorted(models, key=lambda one: -sum(p.numel() for p in one.parameters()))
    largest = by_size[0]
    shared: dict[str, Tensor] = {}
    for model in by_size:
        for name, value in model.named_parameters():
            shared.setdefault(names[model][name], value.detach().clone().requires_grad_())
    optimizer = torch.optim.SGD(shared.values(), lr=0.1, weight_decay=1e-3)
    draw = random.Random(scenario.seed)

    def logits(model: nn.Module, inputs: Tensor, mask: Tensor | None) -> Tensor:
        own = {name: _cut(shared[names[model][name]], value.shape) for name, value in model.named_parameters()}
        return functional_call(model, own, (inputs, mask))

    for step in range(num_steps):
        batch = draw_batch(data.train, torch.arange(len(data.train)), scenario, "shared-weights", step)
        model = largest if step % 2 else draw.choice(models)
        model.train()
        optimizer.zero_grad()
        task_loss(logits(model, batch.inputs, batch.mask_BS), batch.labels, scenario.model.task).backward()
        optimizer.step()
    return [_accuracy(one, logits, data, scenario) for one in models]


def shared_names(model: nn.Module, scenario: Scenario) -> dict[str, str]:
    """Return under which name each parameter of a ResNet is shared: by stage and place in it, not by place in all."""
    layers = [
        f"stage {s}, layer {k}" for s, depth in enumerate(model_config(scenario.model).depths) for k in range(depth)
    ]
    places = ["embedder", *layers, "classifier"]
    found = {}
    for name, _ in model.named_parameters():
        blocks, number, rest = name.split(".", 2)
        assert blocks == "blocks", name
        found[name] = f"{places[int(number)]}: {rest}"
    return found


def _cut(whole: Tensor, shape: torch.Size) -> Tensor:
    return whole[tuple(slice(size) for size in shape)]


def _accuracy(model: nn.Module, logits: Callable[..., Tensor], data: Any, scenario: Scenario) -> float:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
    with torch.no_grad():
        model.train()
        for step in range(_RECALIBRATION_BATCHES):
            batch = draw_batch(data.train, torch.arange(len(data.train)), scenario, "recalibration", step)
            logits(model, batch.inputs, batch.mask_BS)
        model.eval()
        predicted = logits(model, data.test.inputs, None).argmax(-1)
    return float((predicted == data.test.labels).float().mean())


def compared(name: str, scenario: Scenario, settings: SearchSettings, rounds: int, folder: Path) -> None:
    """Search, and print what every way of ranking was worth."""
    began = time.process_time()
    search = search_models(scenario, settings, RunSettings("inline", 1, rounds), folder / name, _shown)
    whole_s = time.process_time() - began
    print(f"\n{name}: {len(search.models)} models, {rounds} rounds, {settings.seeds} seeds")
    for line in search_lines(search):
        print(line.replace("[bold]", "").replace("[/]", ""))
    trained = [one for one in search.candidates if one.name in search.runs]
    began = time.process_time()
    for one in trained:
        untrained_scores(one.scenario, profiled_model(one.scenario))
    scores_s = time.process_time() - began
    steps = sum(rounds // 3 * scenario.training.local_steps * scenario.num_clients for _ in trained)
    began = time.process_time()
    by_sharing = shared_weights(trained, steps)
    sharing_s = time.process_time() - began
    found = rank_correlation("shared weights", by_sharing, _final(search, trained))
    print(f"  shared weights, {steps} batches: {'unknown' if found is None else correlation_text(found)}")
    print(
        f"CPU seconds: search with training {whole_s:.0f}, scores {scores_s:.1f}, shared weights {sharing_s:.0f}",
        flush=True,
    )


def _final(search: ModelSearch, trained: Sequence[Candidate]) -> list[float]:
    return [sum(run.test_score[-1] for run in search.runs[one.name]) / len(search.seeds) for one in trained]


def _shown(what: str, share: float) -> None:
    print(f"  {what} ({share:.0%} done)", end="\r", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="archive (.npz) of images and labels")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="keep the runs here, to go on with later")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="hybridsplit-") as scratch:
        for name, scenario in tasks(arguments.images).items():
            settings = SearchSettings(train="all", seeds=arguments.seeds)
            compared(name, scenario, settings, arguments.rounds, arguments.out or Path(scratch))


if __name__ == "__main__":
    main()
