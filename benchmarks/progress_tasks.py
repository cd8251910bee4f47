"""The four tasks whose rounds to a target are put to the test: model, data, devices and partitions of each.

``quickstart`` as it is (digits), the same network on Fashion-MNIST, a tiny BERT from drawn weights on sentence
polarity, and a tiny OPT on the next character of Shakespeare's roles. A task writes its scenario, and for text the
tokenizer that was learned from the training text, into the folder of the curves.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import yaml

from hybridsplit.scenarios.loader import load_scenario

FROZEN_TOO = "training.modes=[fo,fo-recompute,zo-projection,frozen]"
SHARED = "training.server_model=shared-mean"
_ROLES, _ROLE_LINES, _LINE_CHARACTERS = 24, 150, 32
_WORDS = 2000
_FEWER = (
    "greedy", "random", "skewed-shared-optimal", "skewed-shared-drawn-10", "skewed-small-drawn-11"
)  # fmt: skip
_PADDING, _UNKNOWN, _FIRST = "[PAD]", "[UNK]", "[CLS]"


@dataclass(frozen=True)
class Task:
    """Model, data and devices, and what of them the worlds of a benchmark change.

    Parameters
    ----------
    name
        Of its folder.
    write
        Given a folder for it and the folder of third-party data, returns the scenario: a built-in name or a path.
    skewed
        Key that gives clients unlike data.
    small, batches
        Keys that make batches small, and that offer a small and a large one besides.
    rounds
        Most rounds of a run.
    targets
        Test accuracies for alike and for unlike data: chance plus 80 % of what the plan of ``splitfed`` reaches beyond
        it in 24 rounds at seed 100, a seed of no reported run; those of digits are older.
    left_out
        Names of cases that are not run, to save time.
    """

    name: str
    write: Callable[[Path, Path | None], str]
    skewed: str
    small: str
    batches: str
    rounds: int
    targets: tuple[float, float]
    left_out: tuple[str, ...] = ()


def _digits(folder: Path, data: Path | None) -> str:
    return "quickstart"


def _fashion(folder: Path, data: Path | None) -> str:
    base = load_scenario("quickstart").model_dump(mode="json", exclude_unset=True)
    base["name"] = "fashion"
    base["data"] = {
        "source": "image-archive", "path": str(_needed(data) / "images" / "fashion_mnist_600.npz"), "image_size": 16,
        "test_fraction": 0.4, "partition": {"scheme": "iid"},
    }  # fmt: skip
    base["training"] |= {"batch_size": 16, "local_steps": 4}
    return _written(folder, base)


def _polarity(folder: Path, data: Path | None) -> str:
    text = _needed(data) / "text"
    with (text / "sentence_polarity_train.tsv").open(encoding="utf-8") as lines:
        sentences = [line.split("\t")[0] for line in lines][1:]
    _learn_words(sentences, folder / "words")
    config = {
        "model_type": "bert", "vocab_size": _WORDS, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 64, "max_position_embeddings": 32, "initializer_range": 0.05,
        "num_labels": 2, "pad_token_id": 0,
    }  # fmt: skip
    files = {
        "path": str(text / "sentence_polarity_train.tsv"), "test_path": str(text / "sentence_polarity_dev.tsv"),
        "tokenizer": str(folder / "words"),
    }  # fmt: skip
    model = {"task": "sequence-classification", "config": config}
    document = _text_task(
        "polarity",
        model,
        files,
        batch_size=32,
        learning_rate=3e-3,
        sequence_length=24,
        budgets_kib=(2600, 1300, 2800, 4096, 16384),
    )
    return _written(folder, document)


def _shakespeare(folder: Path, data: Path | None) -> str:
    table, letters = folder / "speeches.tsv", folder / "characters"
    num_characters = _learn_characters(_speeches(_needed(data) / "text" / "shakespeare", table), letters)
    config = {
        "model_type": "opt", "vocab_size": num_characters, "hidden_size": 48, "num_hidden_layers": 2, "ffn_dim": 96,
        "num_attention_heads": 2, "word_embed_proj_dim": 48, "max_position_embeddings": _LINE_CHARACTERS,
        "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1,
    }  # fmt: skip
    files = {"path": str(table), "tokenizer": str(letters), "key_column": "speaker", "test_fraction": 0.1}
    model = {"task": "causal-lm", "config": config}
    document = _text_task(
        "shakespeare",
        model,
        files,
        batch_size=8,
        learning_rate=5e-3,
        sequence_length=_LINE_CHARACTERS,
        budgets_kib=(1400, 700, 1400, 2048, 8192),
    )
    document["training"] |= {"local_steps": 4}
    return _written(folder, document)


def _text_task(
    name: str,
    model: Mapping[str, Any],
    files: Mapping[str, str | float],
    batch_size: int,
    learning_rate: float,
    sequence_length: int,
    budgets_kib: tuple[int, ...],
) -> dict[str, Any]:
    """Return a scenario with the devices and links of quickstart, and the budgets of a small transformer."""
    base = load_scenario("quickstart").model_dump(mode="json", exclude_unset=True)
    training = {
        "trainable": {"method": "all"}, "optimizer_state": "keep",
        "optimizer": {"name": "adamw", "learning_rate": learning_rate, "weight_decay": 0.0},
        "batch_size": batch_size, "sequence_length": sequence_length, "local_steps": 8, "rounds": 30,
        "modes": ["fo", "fo-recompute", "zo-projection"],
        "zeroth_order": {"directions": 4, "radius": 1e-3, "optimizer": {"name": "sgd", "learning_rate": 1e-3}},
    }  # fmt: skip
    clients = [
        {**group, "memory_budget_bytes": f"{budget} KiB", **({"min_cut": 2} if "min_cut" in group else {})}
        for group, budget in zip(base["clients"], budgets_kib, strict=True)
    ]
    return {
        **base, "name": name, "model": dict(model), "training": training,
        "data": {"source": "text-table", **files, "partition": {"scheme": "iid"}},
        "clients": clients,
    }  # fmt: skip


def _needed(data: Path | None) -> Path:
    if data is None:
        raise SystemExit("this task needs --data FOLDER, with images/ and text/ in it (docs/methods/progress.md)")
    return data


def _written(folder: Path, document: Mapping[str, Any]) -> str:
    file = folder / "scenario.yaml"
    file.write_text(yaml.safe_dump(dict(document), sort_keys=False), encoding="utf-8")
    return str(file)


def _learn_words(sentences: list[str], folder: Path) -> None:
    """Save a tokenizer of the commonest words of some sentences."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.WordLevel(unk_token=_UNKNOWN))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = [_PADDING, _UNKNOWN, _FIRST]
    tokenizer.train_from_iterator(sentences, trainers.WordLevelTrainer(vocab_size=_WORDS, special_tokens=special))
    tokenizer.post_processor = processors.TemplateProcessing(f"{_FIRST} $A", special_tokens=[(_FIRST, 2)])
    _save(tokenizer, folder)


def _learn_characters(lines: list[str], folder: Path) -> int:
    """Save a tokenizer of the characters of some lines; return how many tokens there are."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {name: place for place, name in enumerate([_PADDING, _UNKNOWN, *sorted(set("".join(lines)))])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=_UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    _save(tokenizer, folder)
    return len(vocabulary)


def _save(tokenizer: Any, folder: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=_PADDING, unk_token=_UNKNOWN).save_pretrained(folder)


def _speeches(plays: Path, table: Path) -> list[str]:
    """Write lines of the roles that speak most, as a table of speaker and sentence; return the lines."""
    spoken: list[tuple[str, str]] = []
    for play in sorted(plays.glob("*.xml")):
        for speech in ElementTree.parse(play).getroot().iter("SPEECH"):
            role = f"{play.stem}/{'+'.join(one.text or '' for one in speech.findall('SPEAKER'))}"
            words = " ".join("".join(line.itertext()) for line in speech.findall("LINE")).lower()
            text = re.sub(r"[^a-z ,.;:!?'-]", "", re.sub(r"\s+", " ", words)).strip()
            last = len(text) - _LINE_CHARACTERS
            spoken += [(role, text[start : start + _LINE_CHARACTERS]) for start in range(0, last, _LINE_CHARACTERS)]
    kept: list[tuple[str, str]] = []
    for role, _ in Counter(role for role, _ in spoken).most_common(_ROLES):
        kept += [one for one in spoken if one[0] == role][:_ROLE_LINES]
    body = "".join(f"{role}\t{text}\n" for role, text in kept)
    table.write_text(f"speaker\tsentence\n{body}", encoding="utf-8")
    return [text for _, text in kept]


def _dirichlet(alpha: float) -> str:
    return f"data.partition={{scheme: dirichlet, alpha: {alpha}}}"


TASKS: Mapping[str, Task] = {
    task.name: task
    for task in (
        Task(
            "digits", _digits, _dirichlet(0.1), "training.batch_size=8", "training.batch_sizes=[8,64]", 30, (0.9, 0.8)
        ),
        Task(
            "fashion", _fashion, _dirichlet(0.3), "training.batch_size=4", "training.batch_sizes=[4,32]", 30,
            (0.61, 0.6), left_out=_FEWER,
        ),
        Task(
            "polarity", _polarity, _dirichlet(1.0), "training.batch_size=8", "training.batch_sizes=[8,64]", 20,
            (0.66, 0.65), left_out=(*_FEWER, "drawn-4", "batches-optimal", "small-drawn-6", "skewed-splitfed",
            "shared-optimal", "shared-drawn-7", "shared-ho-sfl"),
        ),
        Task(
            "shakespeare", _shakespeare, "data.partition={scheme: by-key, key: speaker}", "training.batch_size=2",
            "training.batch_sizes=[2,16]", 24, (0.27, 0.27), left_out=_FEWER,
        ),
    )
}  # fmt: skip
"""By name."""
