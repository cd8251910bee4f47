"""The files that scenarios of these tests name."""

from __future__ import annotations

from pathlib import Path

import numpy as np

_NET = """
from torch import nn
import torch

def make(width=16):
    return nn.Sequential(nn.Linear(3, width), nn.ReLU(), nn.Linear(width, 4))

def deeper(width=16):
    return nn.Sequential(nn.Linear(3, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 4))

def data(size):
    return [(torch.full((3,), i / size), i % 4) for i in range(size)]

def other_data(size):
    return [(torch.full((3,), -i / size), i % 4) for i in range(size)]
"""
_WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film"]


def write_files(folder: Path) -> None:
    """Write them all."""
    (folder / "net.py").write_text(_NET)
    for name, sign in (("t", 1), ("u", -1)):
        rows = [f"{sign * (i % 7)},{-i / 3},{i * i % 11},{i % 4},{i % 3},w{i % 5},{_labels(i, ',')}" for i in range(96)]
        (folder / f"{name}.csv").write_text("a,b,c,label,kind,who,p,q,r,s,tags\n" + "\n".join(rows) + "\n")
        texts = [
            f"{'good' if i % 2 else 'bad'} film {'film ' * (i % (2 + sign))}\tfilm good\t{i % 2}\t{i % 3 == 0:d}"
            f"\tw{i % 4}\tp{i % 7}\t" + _labels(i, "\t")
            for i in range(96)
        ]
        (folder / f"{name}.tsv").write_text(
            "sentence\tother\tlabel\tmood\twho\tplace\tp\tq\tr\ts\ttags\n" + "\n".join(texts) + "\n"
        )
    _write_tokenizers(folder)
    _write_images(folder)
    moments = range(40)
    (folder / "both.csv").write_text(_named([f"{t},{5 + t % 3},{9 - t % 5}" for t in moments]))
    (folder / "other.csv").write_text(_named([f"{t},{1 + t % 7},{20 - t % 9}" for t in moments]))
    (folder / "short.csv").write_text(_named([f"{t / 1000},0.01,0.01" for t in range(3)]))
    (folder / "memory.tsv").write_text("0\t2\n0.1\t0.01\n0.15\t2\n0.2\t2\n")
    (folder / "memory-2.tsv").write_text("0\t2\n0.1\t0.01\n0.17\t2\n0.2\t2\n")
    (folder / "cqi.csv").write_text("time_s,CQI\n" + "\n".join(f"{t},{3 + t % 9}" for t in moments) + "\n")


def _labels(i: int, between: str) -> str:
    """Four labels of 0 and 1, and two names by either of two separators."""
    return between.join([*(str(i >> bit & 1) for bit in range(4)), "x|y;z"])


def _named(rows: list[str]) -> str:
    return "time_s,uplink_mbps,downlink_mbps\n" + "\n".join(rows) + "\n"


def _write_tokenizers(folder: Path) -> None:
    from transformers import BertTokenizerFast

    for name, words in (("tokenizer", _WORDS), ("tokenizer-2", _WORDS[:5] + _WORDS[:4:-1])):
        (folder / "vocab.txt").write_text("\n".join(words))
        BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder / name)


def _write_images(folder: Path) -> None:
    from datasets import Dataset
    from PIL import Image

    for name, seed in (("", 0), ("-2", 1)):
        images = np.random.default_rng(seed).integers(0, 255, (60, 9, 9), dtype=np.uint8)
        np.savez(folder / f"images{name}.npz", images=images, labels=np.arange(60) % 10)
        for index, image in enumerate(images):
            place = folder / f"images{name}" / f"class{index % 10}"
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(place / f"{index}.png")
        pictures = [Image.fromarray(image) for image in images]
        columns = {
            "image": pictures, "image2": pictures[::-1], "label": [i % 10 for i in range(60)],
            "mood": [i % 3 for i in range(60)],
        }  # fmt: skip
        Dataset.from_dict(columns).save_to_disk(str(folder / f"saved{name}"))
    texts = [f"{'good' if i % 2 else 'bad'} film" for i in range(60)]
    hot = {name: [i >> bit & 1 for i in range(60)] for bit, name in enumerate("pq")}
    columns = {"text": texts, "label": hot["p"], **hot, "tags": ["x|y;z"] * 60}
    Dataset.from_dict(columns).save_to_disk(str(folder / "saved-text"))
