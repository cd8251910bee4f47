"""Scenarios whose labels are numbers, or several at once, over small models of several origins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from hybridsplit.runtime.data.sources import load_dataset
from hybridsplit.runtime.data.split_models import split_model
from hybridsplit.runtime.split.link import Batch
from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.scores import MULTI_LABEL, REGRESSION
from hybridsplit.testing.families import FAMILIES, TRACED, family_scenario
from tests.runtime.steps import Sides

CODE = """
import torch
from torch import nn

def labels(n, outputs, several):
    numbers = torch.randn(n, outputs)
    return (numbers > 0).long() if several else numbers

def tokens(outputs, several): return pairs(torch.randint(4, 90, (64, 12)), labels(64, outputs, several))
def images(outputs, several): return pairs(torch.randn(64, 1, 16, 16), labels(64, outputs, several))
def pairs(inputs, targets): return list(zip(inputs, targets))

class Net(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.layers = nn.ModuleList(nn.Conv2d(4, 4, 3, padding=1) for _ in range(2))
        self.head = nn.Linear(4, outputs)
    def forward(self, images):
        x = torch.tanh(self.stem(images))
        for layer in self.layers:
            x = x + torch.tanh(layer(x))
        return self.head(x.mean((2, 3)))
"""
PROBLEMS = [(REGRESSION, 1), (REGRESSION, 3), (MULTI_LABEL, 3)]
"""What a label is, and outputs of a head."""
OF_TRANSFORMERS = ("bert", "opt-classes", "vit", "resnet", "distilbert", "mobilenet")
"""Families by declared lists of blocks, and traced ones."""
ORIGINS = (*OF_TRANSFORMERS, "own")


def problem(folder: Path, origin: str, kind: str, outputs: int, **training: Any) -> Scenario:
    """A scenario of a family, or of a module of one's own, with so many outputs of a kind."""
    (folder / "mine.py").write_text(CODE, encoding="utf-8")
    document = family_scenario("vit" if origin == "own" else origin).resolved()
    known = {**FAMILIES, **TRACED}
    task = "image-classification" if origin == "own" else known[origin]["task"]
    document["model"] = {"task": task, "problem_type": kind} | (
        {"python": "mine.py:Net", "arguments": {"outputs": outputs}}
        if origin == "own"
        else {"config": {**known[origin]["config"], "num_labels": outputs}}
    )
    inputs = "images" if task == "image-classification" else "tokens"
    document["data"] = {
        "python": f"mine.py:{inputs}", "arguments": {"outputs": outputs, "several": kind == MULTI_LABEL},
    }  # fmt: skip
    document["training"] |= {"batch_size": 8, **training}
    return validate_scenario(document, "problem", folder)


def sides(scenario: Scenario, cut: int = 2) -> Sides:
    """Both parts of its model, and the first batch of its data."""
    dataset = load_dataset(scenario)
    model = split_model(scenario, dataset=dataset)
    return Sides(scenario, model, first_batch(scenario), cut, model.whole.snapshot())


def first_batch(scenario: Scenario, step: int = 0) -> Batch:
    """A batch of its data."""
    train = load_dataset(scenario).train
    return train.batch(torch.arange(8) + step)
