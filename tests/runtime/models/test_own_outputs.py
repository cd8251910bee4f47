"""Whatever holds the logits of a module of one's own is read, and tensors that it shares are exported as trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import peft
import pytest
import safetensors.torch
import torch

import hybridsplit as hs
from hybridsplit.profiler.models import traced_model
from hybridsplit.runtime.data.sources import load_dataset, whole_model
from hybridsplit.runtime.models.own import own_model
from hybridsplit.runtime.models.saved import save_trained
from hybridsplit.runtime.split.parts import SplitModel
from hybridsplit.scenarios.errors import HybridSplitError, InputWarning
from hybridsplit.scenarios.loader import scenario_of_values
from hybridsplit.scenarios.schema import Scenario

CODE = """
from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout(0.3))
            for _ in range(3)
        )
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * width, 10))
    def logits(self, images):
        x = self.stem(images)
        for layer in self.layers:
            x = x + layer(x)
        return self.head(x)
    def forward(self, images):
        return self.logits(images)

class InDict(Net):
    def forward(self, images):
        return {"loss": None, "logits": self.logits(images)}
class InOrderedDict(Net):
    def forward(self, images):
        return OrderedDict(features=images, logits=self.logits(images))
@dataclass
class Values:
    logits: torch.Tensor
    more: int = 0
class InDataclass(Net):
    def forward(self, images):
        return Values(self.logits(images))
class Pair(NamedTuple):
    features: torch.Tensor
    logits: torch.Tensor
class InNamedTuple(Net):
    def forward(self, images):
        return Pair(images, self.logits(images))

class InTuple(Net):
    def forward(self, images):
        return self.logits(images), images
class Elsewhere(Net):
    def forward(self, images):
        return {"out": self.logits(images)}
class ByValue(Net):
    def forward(self, images):
        return self.logits(images) if images.mean() > 0 else self.logits(-images)
class Lazy(Net):
    def __init__(self):
        super().__init__()
        self.head = nn.Sequential(nn.Flatten(), nn.LazyLinear(10))

class Tied(Net):
    def __init__(self):
        super().__init__()
        self.layers[2][0].weight = self.layers[0][0].weight
class TiedByValue(Tied):
    def __init__(self):
        super().__init__()
        self.scale = float(torch.ones(1))   # cannot be built on the meta device
"""
HOLDERS = ("InDict", "InOrderedDict", "InDataclass", "InNamedTuple")


def scenario(folder: Path, name: str, **model: Any) -> Scenario:
    (folder / "net.py").write_text(CODE, encoding="utf-8")
    document = hs.load("quickstart").resolved()
    document["model"] = {"task": "image-classification", "python": f"net.py:{name}", **model}
    document["training"] |= {"batch_size": 8, "local_steps": 2, "rounds": 1, "frozen_control": False, "modes": ["fo"]}
    document["data"]["image_size"] = 8
    for group in document["clients"]:
        group |= {"count": 1, "memory_budget_bytes": 2**26, "min_cut": 1}
    return scenario_of_values(document, {}, folder)


@pytest.mark.parametrize("name", HOLDERS)
def test_logits_are_read_from_what_holds_them(tmp_path: Path, name: str) -> None:
    """The same blocks, and the same bits, as of the module that gives logits themselves."""
    plain, held = scenario(tmp_path, "Net"), scenario(tmp_path, name)
    batch = load_dataset(plain).train.batch(torch.arange(4))
    expected, found = (SplitModel(whole_model(one)[1]) for one in (plain, held))
    assert found.num_blocks == expected.num_blocks > 2
    for split in (expected, found):
        split.whole.eval()
    assert torch.equal(found.whole(batch.inputs), expected.whole(batch.inputs))
    declared = scenario(tmp_path, name, blocks=["stem", "layers.0", "layers.1", "layers.2", "head"])
    with pytest.raises(HybridSplitError, match="other logits than the forward pass"):
        whole_model(declared)  # its own forward pass adds what comes in, which blocks in order leave out


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("InTuple", r"gives a tuple of 2 values for a batch of 2; .*attribute or the key 'logits'"),
        ("Elsewhere", r"gives a dict with the keys out for a batch of 2; .*attribute or the key 'logits'"),
        ("ByValue", r"fails at .*net\.py:\d+: .*without values\): write it without decisions by values"),
        ("Lazy", r"head\.1\.weight of the Lazy .* has no size yet, as in nn\.LazyLinear"),
    ],
)
def test_what_is_no_output_is_refused_with_the_remedy(tmp_path: Path, name: str, says: str) -> None:
    with pytest.raises(HybridSplitError, match=says):
        traced_model(scenario(tmp_path, name))


@pytest.mark.parametrize("name", ["Tied", "TiedByValue"])
def test_a_shared_tensor_is_told_and_exported_as_it_was_trained(tmp_path: Path, name: str) -> None:
    """The file loads into the user's own module, which shares it, with the logits of the trained one."""
    own = scenario(tmp_path, name)
    with pytest.warns(InputWarning, match=r"layers\.0\.0\.weight and layers\.2\.0\.weight of Tied\w* are one tensor"):
        traced_model(own)
    model, blocks = whole_model(own)
    split = SplitModel(blocks)
    generator = torch.Generator().manual_seed(1)
    split.whole.load({n: t + torch.rand(t.shape, generator=generator) for n, t in split.whole.exchanged().items()})
    batch = load_dataset(own).train.batch(torch.arange(4))
    trained = split.whole.eval()(batch.inputs)
    out = tmp_path / "out"
    out.mkdir()
    loads_with = save_trained(model.eval(), own, out)
    users = own_model(own, meta=False).eval()
    assert users.layers[0][0].weight is users.layers[2][0].weight  # type: ignore[index, union-attr]
    eval(loads_with, {"model": users, "safetensors": safetensors, "folder": str(out)})
    assert torch.equal(users(batch.inputs), trained)


def test_adapters_are_loaded_beside_the_weights_they_were_trained_with(tmp_path: Path) -> None:
    """Into a module of the user's own with other starting weights, by what export says alone."""
    lora = {"method": "lora", "rank": 2, "target_modules": ["layers.0.0", "layers.1.0"]}
    plain = scenario(tmp_path, "Net")
    document = plain.resolved()
    document["training"]["trainable"] = lora
    own = scenario_of_values(document, {}, tmp_path)
    model, blocks = whole_model(own)
    split = SplitModel(blocks)
    generator = torch.Generator().manual_seed(1)
    split.whole.load({n: t + torch.rand(t.shape, generator=generator) for n, t in split.whole.exchanged().items()})
    batch = load_dataset(own).train.batch(torch.arange(4))
    trained = split.whole.eval()(batch.inputs)
    out = tmp_path / "out"
    out.mkdir()
    loads_with = save_trained(model.eval(), own, out)
    users = own_model(plain.model_copy(update={"seed": 7}), meta=False).eval()
    names = {"model": users, "safetensors": safetensors, "peft": peft, "folder": str(out)}
    assert torch.equal(eval(loads_with, names).eval()(batch.inputs), trained)


def test_a_module_without_shared_tensors_is_loaded_in_place(tmp_path: Path) -> None:
    own = scenario(tmp_path, "Net")
    assert "assign" not in save_trained(whole_model(own)[0].eval(), own, tmp_path)
