"""Data of one's own in the shapes that people have them: images of Pillow, mappings, splits; and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import hybridsplit as hs
from hybridsplit.runtime.data.sources import load_dataset
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.scenarios.schema import Scenario

CODE = """
import numpy as np
import torch
from PIL import Image
from torch.utils.data import TensorDataset, random_split

def arrays(): return np.random.default_rng(0).integers(0, 255, (30, 8, 8)).astype("uint8")
def whole(): return TensorDataset(torch.from_numpy(arrays())[:, None], torch.arange(30) % 3)
def pillow(): return [(Image.fromarray(a), i % 3) for i, a in enumerate(arrays())]
def keyed(image, label): return [{image: torch.from_numpy(a)[None], label: i % 3} for i, a in enumerate(arrays())]
def splits(): return dict(zip(("train", "test"), random_split(whole(), [20, 10])))
def three(): return random_split(whole(), [10, 10, 10])
def other_splits(): return {"train": whole(), "validation": whole()}
def one_hot(): return [(torch.zeros(1, 8, 8), torch.eye(3)[i % 3]) for i in range(30)]
def last(): return [(torch.zeros(8, 8, 1), i % 3) for i in range(30)]
def unknown(): return [{"picture": torch.zeros(1, 8, 8), "label": 0}] * 30
def triples(): return [(torch.zeros(1, 8, 8), 0, "id")] * 30
"""


def scenario(folder: Path, function: str, **arguments: Any) -> Scenario:
    (folder / "mine.py").write_text(CODE, encoding="utf-8")
    text = hs.load("quickstart").resolved()
    text["training"] |= {"batch_size": 2}
    text["data"] = {"python": f"mine.py:{function}", "arguments": arguments}
    return validate_scenario(text, "test", folder)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("pillow", {}),
        ("keyed", {"image": "img", "label": "target"}),
        ("keyed", {"image": "image", "label": "labels"}),
        ("keyed", {"image": "x", "label": "y"}),
    ],
)
def test_images_are_the_same_however_they_are_held(tmp_path: Path, function: str, arguments: dict[str, str]) -> None:
    expected, found = load_dataset(scenario(tmp_path, "whole")), load_dataset(scenario(tmp_path, function, **arguments))
    for one, other in ((expected.train, found.train), (expected.test, found.test)):
        assert torch.equal(one.inputs, other.inputs)
        assert torch.equal(one.labels, other.labels)


def test_splits_by_name_are_to_train_and_to_test(tmp_path: Path) -> None:
    found = load_dataset(scenario(tmp_path, "splits"))
    assert (len(found.train), len(found.test)) == (20, 10)


@pytest.mark.parametrize(
    ("function", "says"),
    [
        ("three", "gives 3 data sets; needs one data set, or a pair"),
        ("other_splits", "gives the keys train, validation; needs one data set, or a pair"),
        ("one_hot", "sample 0 has the label .* of 3 entries; needs one class: give the number of the class"),
        ("last", r"found inputs \[30, 8, 8, 1\].* channels first"),
        ("unknown", "sample 0 is a dict with the keys 'picture, label'; needs .*image"),
        ("triples", "sample 0 is a tuple of Tensor, int, str; needs"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_is_needed(tmp_path: Path, function: str, says: str) -> None:
    with pytest.raises(ScenarioError, match=says) as raised:
        load_dataset(scenario(tmp_path, function))
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) <= 1000
