"""Try every model type that transformers offers for the product's tasks, each in a process with limits.

Run: ``python -m benchmarks.model_sweep --task causal-lm --types llama gpt2``; without ``--types`` all that are not in
the results yet are tried, so that it can be stopped and continued. A tiny model is saved as a checkpoint, in single
precision and in bfloat16, and its blocks are compared with transformers' own forward pass, with and without padding; a
client then trains for a round, and the peak of its memory is compared with the predicted one. ``--write`` puts the
table into ``docs/models.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import torch
import transformers

from benchmarks.tiny_models import TASKS, VOCABULARY, tiny
from hybridsplit.profiler.memory import client_memory
from hybridsplit.profiler.models import traced_model
from hybridsplit.runtime.models.build import build_blocks, name_class
from hybridsplit.runtime.models.configuration import AUTO_CLASSES, image_channels, model_config
from hybridsplit.runtime.session.client import run_client_round
from hybridsplit.runtime.split.link import Batch
from hybridsplit.runtime.split.parts import SplitModel
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.contracts.placement import Placement
from hybridsplit.scenarios.errors import HybridSplitError
from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.testing.families import family_scenario

RESULTS = Path(tempfile.gettempdir()) / "hybridsplit_model_sweep.json"
PAGE = Path(__file__).resolve().parent.parent / "docs" / "models.md"
BEGIN, END = "<!-- model sweep -->\n", "<!-- end of model sweep -->"
VARIANTS = {
    "float32": (torch.float32, False),
    "float32, padded": (torch.float32, True),
    "bfloat16": (torch.bfloat16, False),
    "bfloat16, padded": (torch.bfloat16, True),
}
BATCH_SIZE, LENGTH, IMAGE_SIZE, END_TOKEN = 4, 12, 32, 2
MOST_BYTES, MOST_S = 6 << 30, 150
WORKS, UNTRIED, ALL = "works", "no tiny model", "all tasks"


def scenario_of(task: str, checkpoint: Path, *, padded: bool) -> Scenario:
    """Return a scenario of two clients that trains a checkpoint.

    Parameters
    ----------
    task, checkpoint
        What is trained.
    padded
        Whether its texts have different lengths.
    """
    is_image = task == "image-classification"
    data: dict[str, Any] = {"source": "synthetic-tokens"}
    if is_image:
        data = {"source": "digits", "image_size": IMAGE_SIZE}
    elif padded:
        data = _table(checkpoint / "texts")
    document = {
        "name": "sweep",
        "model": {"task": task, "checkpoint": str(checkpoint)},
        "data": data,
        "training": {
            "optimizer": {"name": "sgd", "learning_rate": 0.01}, "batch_size": BATCH_SIZE, "local_steps": 2,
            **({} if is_image else {"sequence_length": LENGTH}),
        },
        "server": {"device": "edge_rtx_3090"},
        "radio": {"link_model": "fixed", "uplink_hz": "20 MHz", "downlink_hz": "20 MHz"},
        "clients": [{
            "group": "pi", "device": "rpi5_8gb", "count": 2, "memory_budget_bytes": "1 GiB",
            "link": {"uplink_bps_per_hz": 2.0, "downlink_bps_per_hz": 4.0},
        }],
    }  # fmt: skip
    return validate_scenario(document, "sweep")


def _table(folder: Path) -> dict[str, Any]:
    """Write texts of different lengths and a tokenizer that pads with token 0; return the data section."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = ["[PAD]", "[UNK]", *(f"w{i}" for i in range(2, VOCABULARY))]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")
    fast.save_pretrained(folder)
    rows = [f"{' '.join(f'w{4 + (7 * i + j) % 80}' for j in range(3 + i % 10))}\t{i % 3}" for i in range(60)]
    (folder / "texts.tsv").write_text("\n".join(["sentence\tlabel", *rows]) + "\n", encoding="utf-8")
    return {"source": "text-table", "path": str(folder / "texts.tsv"), "tokenizer": str(folder)}


def batch_of(scenario: Scenario, config: Any, *, padded: bool) -> Batch:
    """Return a random batch.

    Parameters
    ----------
    scenario, config
        What it is for.
    padded
        Whether its texts have different lengths.
    """
    generator = torch.Generator().manual_seed(1)
    if scenario.model.task == "image-classification":
        images = torch.randn(BATCH_SIZE, image_channels(config, 3), IMAGE_SIZE, IMAGE_SIZE, generator=generator)
        return Batch(images, torch.randint(0, 10, (BATCH_SIZE,), generator=generator))
    tokens = torch.randint(4, VOCABULARY, (BATCH_SIZE, LENGTH), generator=generator)
    lengths_B = torch.tensor([LENGTH, 3, 7, 5] if padded else [LENGTH] * BATCH_SIZE)
    # Some classifiers read a text's end token.
    tokens[torch.arange(BATCH_SIZE), lengths_B - 1] = END_TOKEN
    mask_BS = None
    if padded:
        mask_BS = torch.arange(LENGTH) < lengths_B.unsqueeze(1)
        tokens = tokens.masked_fill(~mask_BS, 0)
    if scenario.model.task == "causal-lm":
        return Batch(tokens, tokens.clone() if mask_BS is None else tokens.masked_fill(~mask_BS, -100), mask_BS)
    return Batch(tokens, torch.randint(0, 3, (BATCH_SIZE,), generator=generator), mask_BS)


def their_logits(model: Any, batch: Batch) -> torch.Tensor:
    """Return the logits of transformers' own forward pass.

    Parameters
    ----------
    model
        A model of transformers in evaluation mode.
    batch
        Its input.
    """
    with torch.no_grad():
        if batch.inputs.is_floating_point():
            logits = model(pixel_values=batch.inputs).logits
        else:
            mask = None if batch.mask_BS is None else batch.mask_BS.long()
            logits = model(input_ids=batch.inputs, attention_mask=mask).logits
    assert isinstance(logits, torch.Tensor)
    return logits


def _made(task: str, model_type: str, folder: Path, stored: torch.dtype) -> Any:
    """Save a tiny model whose forward pass runs, narrow if there is one, and return it."""
    failures: list[Exception] = []
    for narrow in (True, False):
        try:
            stated = tiny(task, model_type, narrow=narrow)
            config = transformers.AutoConfig.for_model(**stated)
            name_class(config, AUTO_CLASSES[task])
            with torch.device("meta"):
                shapes = AUTO_CLASSES[task].from_config(config, trust_remote_code=False)
            if sum(p.numel() for p in shapes.parameters()) > 60e6:
                raise ValueError("its smallest configuration that was found has more than 60 million parameters")
            torch.manual_seed(0)
            model = AUTO_CLASSES[task].from_config(config, trust_remote_code=False).eval()
            batch = batch_of(example_scenario(task), config, padded=False)
            their_logits(model, batch)
            model.to(stored).save_pretrained(folder)
            return model
        except Exception as error:  # whatever transformers raises
            failures.append(error)
    raise failures[0]


def example_scenario(task: str) -> Scenario:
    """Return a scenario that gives the shape of a batch.

    Parameters
    ----------
    task
        The task.
    """
    return scenario_of(task, Path("unused"), padded=False)


def tried(task: str, model_type: str, variant: str) -> tuple[str, str]:
    """Return what came of one model: ``works``, ``refused``, ``differs``, or why not tried.

    Parameters
    ----------
    task, model_type, variant
        The model, and a key of ``VARIANTS``.
    """
    stored, padded = VARIANTS[variant]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            _made(task, model_type, folder, stored)
        except Exception as error:
            return UNTRIED, _words(error)
        scenario = scenario_of(task, folder, padded=padded)
        try:
            config = model_config(scenario.model)
            batch = batch_of(scenario, config, padded=padded)
            traced = traced_model(scenario)
            blocks = build_blocks(scenario, num_labels=config.num_labels)
        except HybridSplitError as error:
            return "refused", _words(error).replace(name, "")
        theirs = (
            AUTO_CLASSES[task]
            .from_pretrained(folder, config=config, dtype=torch.float32, trust_remote_code=False)
            .eval()
        )
        expected = their_logits(theirs, batch)
        whole = SplitModel(blocks)
        with torch.no_grad():
            found = whole.whole.eval()(batch.inputs, batch.mask_BS)
        error_size = _largest_difference(found, expected, batch)
        if not error_size < 1e-4:
            return "differs", f"logits differ by {error_size:.1e}"
        placement = Placement(cut=1, mode=Mode.FO, batch_size=BATCH_SIZE)
        outcome = run_client_round(
            whole, whole.whole.snapshot(), Assignment("pi-0", placement, 1.0, 1 << 40), lambda _: batch, scenario, 0,
            measure_memory=True,
        )  # fmt: skip
        predicted, measured = client_memory(traced, scenario, 1, Mode.FO).peak_bytes, outcome.report.peak_bytes
        assert measured is not None
        if abs(predicted - measured) > 1e-3 * measured:
            return "differs", f"peak {predicted} predicted, {measured} measured"
        return WORKS, f"{len(blocks)} blocks"


def _largest_difference(found: torch.Tensor, expected: torch.Tensor, batch: Batch) -> float:
    """The largest difference of logits, at tokens that are not padding."""
    if found.shape != expected.shape:
        return float("inf")
    if batch.mask_BS is not None and expected.ndim == 3:
        found, expected = found[batch.mask_BS], expected[batch.mask_BS]
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(1.0))


def _words(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:300]


def in_a_process(task: str, model_type: str, variant: str) -> tuple[str, str]:
    """As :func:`tried`, in a child with limits of memory and time.

    Parameters
    ----------
    task, model_type, variant
        As of :func:`tried`.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
        signal.alarm(MOST_S)
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        warnings.simplefilter("ignore")
        torch.set_num_threads(1)
        try:
            result = tried(task, model_type, variant)
        except BaseException as error:
            result = ("error", f"{type(error).__name__}: {error}"[:300])
        os.write(writing, json.dumps(result).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    if not answer:
        return "error", f"ended by signal {os.WTERMSIG(status)} (more than {MOST_S} s, or too much memory)"
    outcome, why = json.loads(answer)
    return outcome, why


def table(results: dict[str, tuple[str, str]]) -> Iterator[str]:
    """Yield the lines of the page: shares, and every type that does not work, with the reason.

    Parameters
    ----------
    results
        Outcome and reason by task, type and variant, joined with slashes.
    """
    yield "| task | checkpoint | types counted, of those offered | work | share |"
    yield "|---|---|---|---|---|"
    for task in (*TASKS, ALL):
        for variant in VARIANTS:
            places = [(key.split("/")[::2], result) for key, result in results.items()]
            chosen = [
                result for (of_task, tried_as), result in places if task in (of_task, ALL) and tried_as == variant
            ]
            outcomes = Counter(outcome for outcome, _ in chosen)
            runs = outcomes.total() - outcomes[UNTRIED]
            if runs:
                works = outcomes[WORKS]
                yield f"| {task} | {variant} | {runs} of {outcomes.total()} | {works} | {works / runs:.0%} |"
    yield ""
    yield "Those that do not work:"
    yield ""
    yield "| task | type | checkpoint | reason |"
    yield "|---|---|---|---|"
    for key, (outcome, why) in sorted(results.items()):
        if outcome not in (WORKS, UNTRIED):
            task, model_type, variant = key.split("/")
            yield f"| {task} | {model_type} | {variant} | {_reason(why)} |"


def with_kept_rows(page: list[str], lines: list[str], tried_now: Collection[str]) -> Iterator[str]:
    """Yield the lines of the tables with the page's rows of those checkpoints that were not tried now.

    Parameters
    ----------
    page, lines
        Lines of the page's two tables and of the new ones.
    tried_now
        The variants of which all types were tried.
    """
    places = {name: place for place, name in enumerate([*TASKS, ALL, *VARIANTS])}

    def rows(text: list[str], column: int) -> list[list[str]]:
        cells = [line.strip("| ").split(" | ") for line in text if line.startswith("| ")]
        return [row for row in cells if len(row) > column and row[column] in VARIANTS]

    def merged(column: int) -> list[list[str]]:
        return [*(row for row in rows(page, column) if row[column] not in tried_now), *rows(lines, column)]

    texts = [line for line in lines if not line.startswith("| ") or line.startswith("| task ")]
    second = texts.index("") + 1
    yield from texts[: second - 1]
    for row in sorted(merged(1), key=lambda row: (places[row[0]], places[row[1]])):
        yield f"| {' | '.join(row)} |"
    yield from texts[second - 1 :]
    for row in sorted(row for row in merged(2) if row[1] not in VARIANTS):
        yield f"| {' | '.join(row)} |"


def _reason(why: str) -> str:
    """The reason without the advice that follows it, for a cell of the table."""
    first = why.split("; ")[0].replace("|", "/")
    return first.removeprefix("model: ")[:160]


def main() -> None:
    """Try what is asked for, keep the results, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", choices=list(TASKS), nargs="*", default=list(TASKS))
    parser.add_argument("--types", nargs="*", help="model types; all that are not in the results when absent")
    parser.add_argument("--variants", nargs="*", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--write", action="store_true", help="put the table into docs/models.md")
    asked = parser.parse_args()
    results: dict[str, tuple[str, str]] = {}
    if asked.results.exists():
        results = {key: tuple(value) for key, value in json.loads(asked.results.read_text()).items()}
    # Children are copies of this process: what is imported here need not be imported in each. Nothing is computed:
    # threads do not survive the copy.
    traced_model(family_scenario("llama"))
    for variant in asked.variants:
        for task in asked.task:
            if task == "image-classification" and "padded" in variant:
                continue
            for model_type in asked.types or sorted(TASKS[task]):
                key = f"{task}/{model_type}/{variant}"
                if model_type not in TASKS[task] or (asked.types is None and key in results):
                    continue
                start = time.perf_counter()
                results[key] = in_a_process(task, model_type, variant)
                print(f"{key:60} {time.perf_counter() - start:5.1f} s  {': '.join(results[key])}", flush=True)
                asked.results.write_text(json.dumps(results, indent=1), encoding="utf-8")
    lines = list(table(results))
    print("\n".join(lines))
    if asked.write:
        page = PAGE.read_text(encoding="utf-8")
        before, after = page.index(BEGIN) + len(BEGIN), page.index(END)
        tried_now = {key.rpartition("/")[2] for key in results}
        merged = "\n".join(with_kept_rows(page[before:after].splitlines(), lines, tried_now))
        PAGE.write_text(page[:before] + merged + "\n" + page[after:], encoding="utf-8")


if __name__ == "__main__":
    main()
