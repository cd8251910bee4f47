"""A module of the user's own: the same weights everywhere, exact cuts, and errors that teach."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import hybridsplit as hs
from hybridsplit.profiler.cache import profile_key
from hybridsplit.profiler.models import block_graph, traced_model
from hybridsplit.runtime.data.sources import load_dataset, model_blocks
from hybridsplit.runtime.executors.inline import InlineExecutor
from hybridsplit.runtime.run.rounds import train
from hybridsplit.runtime.split.parts import SplitModel, task_loss
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.contracts.placement import Placement
from hybridsplit.scenarios.errors import HybridSplitError, ScenarioError
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.scenarios.schema import Scenario

CODE = """
import random
import numpy as np
import torch
from torch import nn
from shapes import WIDTH

class Layer(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.inner = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.Dropout(0.5))
        self.drop_rate = 0.5
    def forward(self, x):
        return x + nn.functional.dropout(self.inner(x).relu(), self.drop_rate, self.training)

class Net(nn.Module):
    def __init__(self, width=WIDTH, classes=10):
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1)
        self.layers = nn.ModuleList(Layer(width) for _ in range(2))
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * width, classes))
        nn.init.constant_(self.head[2].bias, random.random() + float(np.random.rand()))
        self.scale = float(torch.ones(1)) * WIDTH / WIDTH   # needs values: cannot be built on the meta device
    def forward(self, images):
        x = self.stem(images) * self.scale
        for layer in self.layers:
            x = layer(x)
        return self.head(x)

class Tokens(nn.Module):
    def __init__(self, rows=80, outputs=10):
        super().__init__()
        self.embed = nn.Embedding(rows, 8)
        self.mix = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.3, batch_first=True)
        self.head = nn.Linear(8, outputs)
    def forward(self, tokens):
        return self.head(self.mix(self.embed(tokens)).mean(1))

def vit(masked=False):
    import transformers
    config = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=8)
    return transformers.ViTForImageClassification(
        transformers.ViTConfig(**config, patch_size=4, num_channels=1, num_labels=10, hidden_dropout_prob=0.4)
    )

NUMBER = 3
def broken(): return {}["colour"]
def list_of_layers(): return [nn.Linear(1, 1)]
def leaves(): raise SystemExit("bye")
def talks():
    print("hello from the model")
    return Net()
"""


@pytest.fixture
def scenario_of(tmp_path: Path) -> Callable[..., Scenario]:
    (tmp_path / "net.py").write_text(textwrap.dedent(CODE))
    (tmp_path / "shapes.py").write_text("WIDTH = 4\n")
    text = hs.load("quickstart").resolved()
    text["model"] = {"task": "image-classification", "python": "net.py:Net"}
    text["training"] |= {"batch_size": 8, "local_steps": 1, "rounds": 2, "frozen_control": False, "modes": ["fo"]}
    text["data"]["image_size"] = 8
    for group in text["clients"]:
        group |= {"count": 1, "memory_budget_bytes": 2**26, "min_cut": 1}
    import yaml

    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(text))

    def load(**changes: Any) -> Scenario:
        return load_scenario(str(tmp_path / "mine.yaml"), {key.replace("__", "."): v for key, v in changes.items()})

    return load


def plain(scenario: Scenario) -> Any:
    from hybridsplit.runtime.models.own import own_model

    return own_model(scenario, meta=False)


@pytest.mark.parametrize("blocks", [None, ["stem", "layers.0", "layers.1", "head"]])
def test_every_cut_computes_what_the_module_does(scenario_of: Callable[..., Scenario], blocks: Any) -> None:
    scenario = scenario_of(model__blocks=blocks)
    model, split = plain(scenario), SplitModel(model_blocks(scenario))
    batch = load_dataset(scenario).train.batch(torch.arange(6))
    assert split.num_blocks == (4 if blocks else split.num_blocks) >= 4
    model.train(), split.whole.train()
    expected = model(batch.inputs)
    task_loss(expected, batch.labels, "image-classification").backward()
    largest = max(float(p.grad.abs().max()) for p in model.parameters())
    for cut in range(1, split.num_blocks):
        split.whole.zero_grad()
        found = split.server_part(cut)(split.client_part(cut)(batch.inputs))
        assert torch.equal(found, expected)
        task_loss(found, batch.labels, "image-classification").backward()
        grads = [p.grad for _, p in split.whole.trainable()]
        assert sum(float(g.double().square().sum()) for g in grads) == pytest.approx(
            sum(float(p.grad.double().square().sum()) for p in model.parameters()), rel=1e-9
        )
    assert largest > 0


def test_all_generators_follow_the_seed_and_are_left_as_they_were(scenario_of: Callable[..., Scenario]) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, again = plain(scenario_of()).state_dict(), plain(scenario_of()).state_dict()
    other = plain(scenario_of(seed=1)).state_dict()
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["stem.weight"], other["stem.weight"])
    assert not torch.equal(one["head.2.bias"], other["head.2.bias"])
    assert torch.equal(before, torch.get_rng_state())


def test_token_models_are_cut_and_their_tables_checked(scenario_of: Callable[..., Scenario]) -> None:
    text = {
        "model__task": "sequence-classification", "model__python": "net.py:Tokens", "training__sequence_length": 6,
        "data": {"source": "synthetic-tokens", "num_samples": 400, "partition": {"scheme": "iid"}},
    }  # fmt: skip
    scenario = scenario_of(**text)
    graph = block_graph(traced_model(scenario))
    assert graph.graph["logits_shape"] == (8, 10)
    batch = load_dataset(scenario).train.batch(torch.arange(4))
    split, model = SplitModel(model_blocks(scenario)), plain(scenario).eval()
    assert torch.equal(split.whole.eval()(batch.inputs), model(batch.inputs))
    with pytest.raises(ScenarioError, match=r"embedding of Tokens has 40 rows; the data have the token \d+"):
        traced_model(scenario_of(**text, model__arguments={"rows": 40}))
    with pytest.raises(ScenarioError, match="gives 3 logits a sample; the data have 8 classes"):
        traced_model(scenario_of(**text, model__arguments={"outputs": 3}))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model__python": "net.py:Nett"}, r"net\.py has no 'Nett'; what it has to call is .*Net"),
        ({"model__python": "net.py:NUMBER"}, "NUMBER of .*net.py is 3, which cannot be called"),
        ({"model__python": "net.py:list_of_layers"}, "of type list; needs a torch.nn.Module"),
        ({"model__python": "net.py:broken"}, r"fails at .*net\.py:\d+: KeyError: 'colour'"),
        ({"model__python": "net.py:leaves"}, r"fails at .*net\.py:\d+: SystemExit: bye"),
        ({"model__python": "absent_package_x.y:make"}, "no module 'absent_package_x.y'.*pip install absent_package_x"),
        ({"model__python": "gone.py:make"}, r"mine\.yaml: model\.python: no such file"),
        ({"model__python": "net.py"}, r"model.*'.*net\.py'; needs 'package.module:function'"),
        ({"model__python": "a\0.py:make"}, "model.python: found .*which is no path of a file"),
        ({"model__python": "~nosuchuser/x.py:make"}, "model.python: found .*which is no path of a file"),
        ({"model__python": f"{'x' * 5000}.py:make"}, "model.python: found .*which is no path of a file"),
        ({"model__python": f"{'x.' * 5000}y:make"}, "model.python: found .*which is no path of a file"),
        ({"model__arguments": {"depth": 3}}, "TypeError: .*unexpected keyword argument 'depth'"),
        ({"model__arguments": {"classes": 4}}, "gives 4 logits a sample; the data have 10 classes: needs at least 10"),
        ({"model__blocks": ["stem", "layers.7", "head"]}, "model.blocks.1: found 'layers.7', which names no module"),
        ({"model__blocks": ["stem", "head"]}, "parameters .layers.0.* are in none of these blocks"),
        ({"model__blocks": ["stem", "layers.0", "layers.0.inner"]}, "shares modules with 'layers.0'"),
        ({"model__task": "causal-lm", "training__sequence_length": 8}, "data.source"),
        ({"model__config": {"model_type": "resnet"}}, "exactly one of"),
        ({"model__trust_remote_code": True}, "trust_remote_code: is about code that comes with a checkpoint"),
    ],
)
def test_what_is_wrong_is_one_sentence(scenario_of: Callable[..., Scenario], changes: Any, says: str) -> None:
    with pytest.raises(HybridSplitError, match=says) as raised:
        traced_model(scenario_of(**changes))
    assert "\n" not in str(raised.value)


def test_blocks_that_leave_something_out_are_refused(scenario_of: Callable[..., Scenario], tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(CODE.replace("x = layer(x)", "x = x + layer(x)"))
    scenario = scenario_of(model__blocks=["stem", "layers.0", "layers.1", "head"])
    with pytest.raises(ScenarioError, match="executed in order, give other logits than the forward pass of Net"):
        hs.profile(scenario)


def test_an_edited_model_has_another_profile(scenario_of: Callable[..., Scenario], tmp_path: Path) -> None:
    before = profile_key(scenario_of(), [])
    assert before == profile_key(scenario_of(), [])
    (tmp_path / "unrelated.py").write_text("a = 1")
    assert before == profile_key(scenario_of(), [])
    first = len(list(plain(scenario_of()).parameters()))
    (tmp_path / "shapes.py").write_text("WIDTH = 6\n")
    after = profile_key(scenario_of(), [])
    assert after != before
    assert plain(scenario_of()).stem.out_channels == 6, "imported anew"
    (tmp_path / "net.py").write_text(CODE.replace("range(2)", "range(3)"))
    assert profile_key(scenario_of(), []) not in (before, after)
    assert len(list(plain(scenario_of()).parameters())) > first


def test_a_file_that_arguments_name_is_part_of_the_key(scenario_of: Callable[..., Scenario], tmp_path: Path) -> None:
    scenario = scenario_of(model__arguments={"weights": "w.bin"})
    (tmp_path / "w.bin").write_bytes(b"1")
    before = profile_key(scenario, [])
    (tmp_path / "w.bin").write_bytes(b"22")
    assert profile_key(scenario, []) != before


def test_a_package_beside_the_scenario_is_found(scenario_of: Callable[..., Scenario], tmp_path: Path) -> None:
    (tmp_path / "own_nets").mkdir()
    (tmp_path / "own_nets" / "__init__.py").write_text("")
    (tmp_path / "own_nets" / "shapes.py").write_text("WIDTH = 5\n")
    (tmp_path / "own_nets" / "net.py").write_text(CODE.replace("from shapes", "from .shapes"))
    scenario = scenario_of(model__python="own_nets.net:Net")
    assert plain(scenario).stem.out_channels == 5
    before = profile_key(scenario, [])
    (tmp_path / "own_nets" / "shapes.py").write_text("WIDTH = 3\n")
    assert profile_key(scenario, []) != before
    assert plain(scenario).stem.out_channels == 3


def test_what_the_code_prints_is_no_result(
    scenario_of: Callable[..., Scenario], capfd: pytest.CaptureFixture[str]
) -> None:
    plain(scenario_of(model__python="net.py:talks"))
    said = capfd.readouterr()
    assert (said.out, "hello from the model" in said.err) == ("", True)


def trained(scenario: Scenario, executor: Any) -> Any:
    modes = ["fo", "fo-recompute", "zo-projection", "fo"]
    who = [c.id for c in scenario.expanded_clients()]
    assignments = [
        Assignment(name, Placement(cut=1 + i % 3, mode=modes[i % 4], batch_size=8), 1 / len(who), 2**26)
        for i, name in enumerate(who)
    ]
    with executor as entered:
        return train(scenario, assignments, entered, 2).state


@pytest.mark.slow
@pytest.mark.ray
def test_ray_gives_the_bits_of_one_process(scenario_of: Callable[..., Scenario]) -> None:
    from hybridsplit.runtime.executors.ray import RayExecutor

    scenario = scenario_of(training__modes=["fo", "fo-recompute", "zo-projection"])
    inline, ray = trained(scenario, InlineExecutor(scenario)), trained(scenario, RayExecutor(scenario, 2))
    assert inline.keys() == ray.keys()
    assert all(torch.equal(inline[name], ray[name]) for name in inline)


def test_a_model_of_transformers_may_be_given_too(scenario_of: Callable[..., Scenario]) -> None:
    scenario = scenario_of(model__python="net.py:vit")
    images = load_dataset(scenario).train.inputs[:3]
    split, model = SplitModel(model_blocks(scenario)), plain(scenario)
    assert split.num_blocks >= 4
    assert torch.equal(split.whole.train()(images), model.eval()(pixel_values=images).logits), "without dropout"


def test_an_installed_package_may_be_named(scenario_of: Callable[..., Scenario], tmp_path: Path) -> None:
    arguments = {"in_features": 3, "out_features": 2, "bias": False}
    scenario = scenario_of(model__python="torch.nn:Linear", model__arguments=arguments)
    assert scenario.model.python == "torch.nn:Linear"
    assert plain(scenario).weight.shape == (2, 3)
    assert profile_key(scenario, []) is not None
    with pytest.raises(
        ScenarioError, match=r"model.python: Linear fails in torch.nn: TypeError|Linear fails at .*TypeError"
    ):
        plain(scenario_of(model__python="torch.nn:Linear", model__arguments={"features": 3}))


def test_low_rank_adapters_and_the_head_of_an_own_model(scenario_of: Callable[..., Scenario]) -> None:
    scenario = scenario_of(training__trainable={"method": "lora", "rank": 2, "target_modules": ["inner.0"]})
    trained_names = {name for name, p in plain(scenario).named_parameters() if p.requires_grad}
    assert {"head.2.weight", "head.2.bias"} < trained_names
    assert all("lora_" in name or name.startswith("head.2.") for name in trained_names)
