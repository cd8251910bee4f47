"""Cuts found in the traced forward passes of architectures without a declared block list, at their default sizes.

    python -m benchmarks.traced_cuts

Prints for each architecture: recorded steps, blocks, how many tensors cross together at most, the bytes that cross the
deepest and the widest cut per sample, and the seconds of recording and cutting, on the meta device (no weights).
"""

from __future__ import annotations

import time
from typing import Any

import torch
import transformers

from hybridsplit.runtime.models.traced.decompose import blocks_between, trace
from hybridsplit.runtime.models.untied import untie_tables

LENGTH = 128
TEXT = ["gpt2", "gpt_neox", "gemma2", "mamba", "distilbert", "roberta", "albert", "electra", "deberta-v2"]
IMAGE = ["deit", "dinov2", "swin", "convnext", "regnet", "mobilenet_v2", "efficientnet", "segformer", "mobilevit"]


def built(model_type: str, auto: Any) -> Any:
    config = transformers.AutoConfig.for_model(model_type, use_cache=False)
    classes = auto._model_mapping[type(config)]
    if isinstance(classes, tuple):
        config.architectures = [classes[0].__name__]
    with torch.device("meta"):
        model = auto.from_config(config, trust_remote_code=False)
    untie_tables(model)
    return model


def row(model_type: str, *, is_text: bool) -> str:
    auto = transformers.AutoModelForCausalLM if is_text else transformers.AutoModelForImageClassification
    if is_text and model_type in ("distilbert", "roberta", "albert", "electra", "deberta-v2"):
        auto = transformers.AutoModelForSequenceClassification
    model = built(model_type, auto)
    size = getattr(model.config, "image_size", 224)
    side = size if isinstance(size, int) else size[0]

    def example(batch_size: int) -> tuple[torch.Tensor, None]:
        if is_text:
            return torch.empty(batch_size, LENGTH, dtype=torch.long, device="meta"), None
        return torch.empty(batch_size, model.config.num_channels, side, side, device="meta"), None

    def call(x: torch.Tensor, mask: torch.Tensor | None) -> Any:
        return (model(input_ids=x) if is_text else model(pixel_values=x)).logits

    start_s = time.perf_counter()
    traced = trace(model, call, example)
    blocks = blocks_between(traced, traced.cuts, model)
    elapsed_s = time.perf_counter() - start_s
    kib = [traced.graph.size_bytes(cut.crossing) / 8 / 1024 for cut in traced.cuts]
    together = max(len(cut.crossing) for cut in traced.cuts)
    return (
        f"{model_type:14}{len(traced.program.steps):7}{len(blocks):8}{together:9}"
        f"{kib[-1]:13.1f}{max(kib):13.1f}{elapsed_s:9.1f}"
    )


def main() -> None:
    transformers.logging.set_verbosity_error()
    print(f"{'model_type':14}{'steps':>7}{'blocks':>8}{'tensors':>9}{'last KiB':>13}{'most KiB':>13}{'s':>9}")
    for model_type in TEXT:
        print(row(model_type, is_text=True), flush=True)
    for model_type in IMAGE:
        print(row(model_type, is_text=False), flush=True)


if __name__ == "__main__":
    main()
