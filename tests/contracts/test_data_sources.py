"""The contract over every data source that ships."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hybridsplit.scenarios.sections.data import DATA_SOURCES
from hybridsplit.testing import DataSourceContract
from hybridsplit.testing.families import FAMILIES


class TestDigits(DataSourceContract):
    section = {"source": "digits"}


class TestSyntheticTokens(DataSourceContract):
    section = {"source": "synthetic-tokens", "num_samples": 256}


class TestSyntheticLanguage(DataSourceContract):
    section = {"source": "synthetic-tokens", "num_samples": 256}
    model = FAMILIES["opt-causal"]


class TestImageArchive(DataSourceContract):
    section = {"source": "image-archive", "path": "images.npz", "image_size": 16}

    def write_files(self, folder: Path) -> None:
        images = np.random.default_rng(0).integers(0, 255, (200, 9, 9))
        np.savez(folder / "images.npz", images=images, labels=np.arange(200) % 10)


class TestTextTable(DataSourceContract):
    section: dict[str, Any] = {"source": "text-table", "path": "t.tsv", "tokenizer": "tokenizer", "key_column": "who",
                               "text_column": "text"}  # fmt: skip

    def write_files(self, folder: Path) -> None:
        if (folder / "tokenizer").exists():
            return
        from transformers import BertTokenizerFast

        words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film"]
        (folder / "vocab.txt").write_text("\n".join(words))
        BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder / "tokenizer")
        rows = [f"w{i % 4}\t{'good' if i % 2 else 'bad'} film {'film ' * (i % 3)}\t{i % 2}\n" for i in range(200)]
        (folder / "t.tsv").write_text("who\ttext\tlabel\n" + "".join(rows))


class TestTextTableLanguage(TestTextTable):
    model = FAMILIES["opt-causal"]


NET = (
    "from torch import nn\ndef make(inputs=3): return nn.Sequential(nn.Linear(inputs, 8), nn.ReLU(), nn.Linear(8, 4))\n"
)


class TestNumberTable(DataSourceContract):
    section: dict[str, Any] = {"source": "number-table", "path": "t.csv", "key_column": "who"}
    model = {"task": "classification", "python": "net.py:make"}

    def write_files(self, folder: Path) -> None:
        (folder / "net.py").write_text(NET)
        rows = [f"{i % 7},{-i / 3},{i * i % 11},{'abcd'[i % 4]},w{i % 5}\n" for i in range(200)]
        (folder / "t.csv").write_text("a,b,c,label,who\n" + "".join(rows))


class TestPythonData(DataSourceContract):
    section: dict[str, Any] = {"source": "python", "python": "net.py:data", "arguments": {"size": 200}}
    model = {"task": "classification", "python": "net.py:make"}

    def write_files(self, folder: Path) -> None:
        (folder / "net.py").write_text(
            f"{NET}import torch\ndef data(size): return [(torch.randn(3), i % 4) for i in range(size)]\n"
        )


class TestImageFolder(DataSourceContract):
    section: dict[str, Any] = {"source": "image-folder", "path": "leaves", "image_size": 16}

    def write_files(self, folder: Path) -> None:
        image = pytest.importorskip("PIL.Image", reason="pip install pillow")
        for index in range(120):
            kind = folder / "leaves" / ["ash", "oak", "elm"][index % 3]
            kind.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(index).integers(0, 255, (20, 12, 3), dtype=np.uint8)
            image.fromarray(pixels).save(kind / f"{index}.png")


class TestSavedDataset(TestTextTable):
    section: dict[str, Any] = {"source": "saved-dataset", "path": "saved", "tokenizer": "tokenizer"}

    def write_files(self, folder: Path) -> None:
        datasets = pytest.importorskip("datasets", reason="pip install datasets")
        if not (folder / "saved").exists():
            super().write_files(folder)
            texts = ["good film", "bad film film", "film"]
            columns = {"text": [texts[i % 3] for i in range(200)], "label": [["no", "yes"][i % 2] for i in range(200)]}
            datasets.Dataset.from_dict(columns).save_to_disk(str(folder / "saved"))


def test_every_source_of_ours_is_tested() -> None:
    tested = {
        kind.section["source"] for kind in globals().values() if isinstance(kind, type) and "section" in vars(kind)
    }
    ours = {name for name, kind in DATA_SOURCES.items() if kind.__module__.startswith("hybridsplit.")}
    assert ours <= tested
