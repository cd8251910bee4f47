"""Data of the user's own: data sets, pairs of them, mappings; seeded; refused by sample."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import hybridsplit as hs
from hybridsplit.profiler.cache import profile_key
from hybridsplit.runtime.data.sources import load_dataset
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.scenarios.schema import Scenario

CODE = """
import numpy as np
import torch
from torch.utils.data import Dataset, TensorDataset

def numbers(n=40): return TensorDataset(torch.randn(n, 3, 5), torch.arange(n) % 3)
def pair(): return numbers(20), numbers(8)
def images(): return [(np.full((1, 8, 8), i, dtype=np.uint8), "cat" if i % 2 else "dog") for i in range(20)]
def tokens(length=6):
    ids = torch.arange(20 * length).view(20, length) % 7
    return [{"input_ids": row, "attention_mask": row * 0 + 1, "labels": i % 2} for i, row in enumerate(ids)]
def text(): return [row["input_ids"] for row in tokens()]
class Bad(Dataset):
    def __len__(self): return 5
    def __getitem__(self, i): return 1 / (3 - i), 0
def ragged(): return [(torch.zeros(2 + i // 4), 0) for i in range(9)]
def nothing(): return []
def number(): return 5
def unlabelled(): return [torch.zeros(3)] * 4
def infinite(): return [(torch.tensor([1.0, float("inf")]), i % 2) for i in range(9)]
"""


@pytest.fixture
def scenario_of(tmp_path: Path) -> Callable[..., Scenario]:
    (tmp_path / "mine.py").write_text(CODE)

    def made(function: str, task: str = "classification", seed: int = 0, **arguments: Any) -> Scenario:
        text = hs.load("quickstart").resolved() | {"seed": seed}
        if task != "image-classification":
            text["model"] = {"task": task, "python": "mine.py:net"}
        text["training"] |= {
            "batch_size": 2,
            "sequence_length": 6 if task in ("causal-lm", "sequence-classification") else None,
        }
        text["data"] = {"python": f"mine.py:{function}", "arguments": arguments}
        return validate_scenario(text, "test", tmp_path)

    return made


def test_a_torch_data_set_is_read_and_its_draws_follow_the_seed(scenario_of: Callable[..., Scenario]) -> None:
    one, again = load_dataset(scenario_of("numbers")), load_dataset(scenario_of("numbers", n=40))
    assert (one.num_classes, tuple(one.train.inputs.shape), len(one.test)) == (3, (32, 3, 5), 8)
    assert torch.equal(one.train.inputs, again.train.inputs)
    assert not torch.equal(one.train.inputs, load_dataset(scenario_of("numbers", seed=1)).train.inputs)


def test_a_pair_is_to_train_and_to_test(scenario_of: Callable[..., Scenario]) -> None:
    found = load_dataset(scenario_of("pair"))
    assert (len(found.train), len(found.test)) == (20, 8)
    assert found.test.labels.tolist() == [i % 3 for i in range(8)]


def test_bytes_are_scaled_and_names_numbered(scenario_of: Callable[..., Scenario]) -> None:
    found = load_dataset(scenario_of("images", "image-classification"))
    for image, label in zip(found.train.inputs, found.train.labels, strict=True):
        value = round(float(image[0, 0, 0]) * 255)
        assert int(label) == (0 if value % 2 else 1), "cat before dog"
        assert 0 <= float(image.max()) <= 19 / 255 + 1e-6


def test_tokens_with_masks_and_without_labels(scenario_of: Callable[..., Scenario]) -> None:
    found = load_dataset(scenario_of("tokens", "sequence-classification"))
    assert found.train.mask_NS is not None
    assert found.train.mask_NS.all()
    language = load_dataset(scenario_of("text", "causal-lm"))
    assert torch.equal(language.train.labels, language.train.inputs)
    assert language.num_classes == 0


@pytest.mark.parametrize(
    ("function", "task", "says"),
    [
        ("gone", "classification", "mine.py has no 'gone'"),
        ("Bad", "classification", r"sample 3 fails at .*mine\.py:\d+: ZeroDivisionError"),
        ("ragged", "classification", "inputs of sample 4 are .3. of torch.float32, those of sample 0 .2."),
        ("nothing", "classification", "gives a data set without samples"),
        ("number", "classification", "gives 5 of type int; needs a torch.utils.data.Dataset"),
        ("unlabelled", "classification", "sample 0 is .* needs .input, label."),
        ("infinite", "classification", "not finite in sample 0"),
        ("numbers", "image-classification", r"\[40, 3, 5\]; image-classification needs images \[N, 1, H"),
        ("numbers", "causal-lm", r"found inputs \[40, 3, 5\] of torch.float32; causal-lm needs token ids \[N, 6\]"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_sentence(
    scenario_of: Callable[..., Scenario], function: str, task: str, says: str
) -> None:
    with pytest.raises(ScenarioError, match=says) as raised:
        load_dataset(scenario_of(function, task))
    assert "\n" not in str(raised.value)


def test_edited_data_have_another_key(scenario_of: Callable[..., Scenario], tmp_path: Path) -> None:
    before = profile_key(scenario_of("images", "image-classification"), [])
    assert before == profile_key(scenario_of("images", "image-classification"), [])
    (tmp_path / "mine.py").write_text(CODE.replace("range(20)]\ndef tokens", "range(21)]\ndef tokens"))
    assert profile_key(scenario_of("images", "image-classification"), []) not in (before, None)
