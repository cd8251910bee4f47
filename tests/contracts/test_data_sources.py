"""The contract over every data source that ships."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

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
        BertTokenizerFast(vocab_file=str(folder / "vocab.txt")).save_pretrained(folder / "tokenizer")
        rows = [f"w{i % 4}\t{'good' if i % 2 else 'bad'} film {'film ' * (i % 3)}\t{i % 2}\n" for i in range(200)]
        (folder / "t.tsv").write_text("who\ttext\tlabel\n" + "".join(rows))


class TestTextTableLanguage(TestTextTable):
    model = FAMILIES["opt-causal"]


def test_every_source_of_ours_is_tested() -> None:
    tested = {
        kind.section["source"] for kind in globals().values() if isinstance(kind, type) and "section" in vars(kind)
    }
    ours = {name for name, kind in DATA_SOURCES.items() if kind.__module__.startswith("hybridsplit.")}
    assert ours <= tested
