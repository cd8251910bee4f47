"""A trained model leaves the run: it loads without anything of ours, and computes the same bits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import peft
import pytest
import safetensors.torch
import torch
import transformers
from typer.testing import CliRunner

import hybridsplit as hs
from hybridsplit.orchestrator.cli import app
from hybridsplit.runtime.data.sources import whole_model
from hybridsplit.runtime.models.build import build_whole
from hybridsplit.runtime.models.saved import save_trained
from hybridsplit.runtime.run.checkpoint import best_round, kept_rounds
from hybridsplit.runtime.run.records import RoundRecord
from hybridsplit.runtime.split.parts import SplitModel
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.testing.families import FAMILIES, family_batch, family_scenario

CLASSIFY_ALL_TOKENS = ("opt-classes", "qwen3-classes")
"""Their classes of transformers multiply every token by the head, and ours the last one: sums in another order."""
LINEAR = {"method": "lora", "rank": 2, "target_modules": "all-linear"}


def changed(scenario: Scenario, **sections: Any) -> Scenario:
    """The scenario with some keys of its sections set."""
    overrides = {key.replace("__", "."): value for key, value in sections.items()}
    return hs.load(scenario.resolved(), **overrides)


def trained(scenario: Scenario) -> tuple[Any, SplitModel]:
    """The scenario's model after steps that no initial value survives."""
    model, blocks = build_whole(scenario)
    split = SplitModel(blocks)
    generator = torch.Generator().manual_seed(11)
    state = {n: t + 0.1 * torch.rand(t.shape, generator=generator) for n, t in split.whole.exchanged().items()}
    split.whole.load(state)
    split.whole.eval()
    return model.eval(), split


def outputs(model: Any, batch: Any) -> torch.Tensor:
    words = {"pixel_values": batch.inputs} if batch.inputs.is_floating_point() else {"input_ids": batch.inputs}
    if batch.mask_BS is not None:
        words["attention_mask"] = batch.mask_BS.long()
    with torch.no_grad():
        return model.eval()(**words).logits


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("trainable", [{"method": "all"}, LINEAR, {"method": "biases-and-norms"}])
def test_logits_are_equal_to_the_last_bit(name: str, trainable: dict[str, Any], tmp_path: Path) -> None:
    scenario = family_scenario(name)
    if trainable is LINEAR and "resnet" in name:
        trainable = LINEAR | {"target_modules": ["convolution"]}
    scenario = changed(scenario, training__trainable=trainable)
    model, split = trained(scenario)
    batch = family_batch(scenario)
    with torch.no_grad():
        of_blocks = split.whole(batch.inputs, batch.mask_BS)
    expected = outputs(model, batch)
    loads_with = save_trained(model, scenario, tmp_path)
    names = {"transformers": transformers, "peft": peft, "folder": str(tmp_path)}
    found = outputs(eval(loads_with, names), batch)
    assert torch.equal(found, expected)
    if name in CLASSIFY_ALL_TOKENS:
        assert torch.allclose(found, of_blocks, atol=1e-6)
    else:
        assert torch.equal(found, of_blocks)
    files = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert not [file for file in files if file.endswith((".bin", ".pt", ".pkl"))], "nothing pickled"


def test_half_precision_is_saved_as_it_computes(tmp_path: Path) -> None:
    scenario = changed(family_scenario("llama"), model__dtype="bfloat16")
    model, split = trained(scenario)
    batch = family_batch(scenario)
    with torch.no_grad():
        expected = split.whole(batch.inputs, batch.mask_BS)
    loads_with = save_trained(model, scenario, tmp_path)
    found = eval(loads_with, {"transformers": transformers, "folder": str(tmp_path)})
    assert found.dtype == torch.bfloat16
    assert torch.equal(outputs(found, batch), expected)


def test_traced_and_tied_models_load_as_trained(tmp_path: Path) -> None:
    """GPT-2 ties its embedding to its head; copies are trained apart, and both are saved."""
    config = {"model_type": "gpt2", "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32, "vocab_size": 96}
    scenario = changed(family_scenario("llama"), model__config=config)
    model, split = trained(scenario)
    batch = family_batch(scenario)
    with torch.no_grad():
        expected = split.whole(batch.inputs, batch.mask_BS)
    found = eval(save_trained(model, scenario, tmp_path), {"transformers": transformers, "folder": str(tmp_path)})
    assert not torch.equal(found.lm_head.weight, found.transformer.wte.weight)
    assert torch.equal(outputs(found, batch), expected)


@pytest.mark.parametrize("with_head", [True, False])
def test_adapters_name_the_checkpoint_they_belong_to(tmp_path: Path, with_head: bool) -> None:
    """Its weights are not saved again, and what a base model lacks is."""
    auto = transformers.AutoModelForSequenceClassification if with_head else transformers.AutoModel
    config = transformers.BertConfig(**{k: v for k, v in FAMILIES["bert"]["config"].items() if k != "model_type"})
    auto.from_config(config, trust_remote_code=False).save_pretrained(tmp_path / "start")
    scenario = changed(family_scenario("bert"), training__trainable=LINEAR)
    scenario = changed(scenario, model={"task": "sequence-classification", "checkpoint": str(tmp_path / "start")})
    (tmp_path / "out").mkdir()
    model, blocks = whole_model(scenario)
    split = SplitModel(blocks)
    split.whole.load({name: t + 0.1 for name, t in split.whole.exchanged().items()})
    batch = family_batch(scenario)
    with torch.no_grad():
        expected = split.whole.eval()(batch.inputs, batch.mask_BS)
    loads_with = save_trained(model.eval(), scenario, tmp_path / "out")
    assert not (tmp_path / "out" / "base").exists()
    stated = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert stated["base_model_name_or_path"] == str(tmp_path / "start")
    names = {"transformers": transformers, "peft": peft, "folder": str(tmp_path / "out")}
    loads_with = loads_with.replace("from_pretrained('", f"from_pretrained(num_labels={len(expected[0])}, "
                                    "pretrained_model_name_or_path='", 1)  # fmt: skip
    found = eval(loads_with, names)
    assert torch.equal(outputs(found, batch), expected)


OWN = """
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU())
        self.norm = nn.BatchNorm1d(16)
        self.head = nn.Linear(16, 10)
    def forward(self, x):
        return self.head(self.norm(self.body(x)))
"""
SETTINGS = [
    "--set", "training.rounds=5", "--set", "training.local_steps=2", "--set", "training.frozen_control=false",
    "--set", "data.image_size=8", "--set", "training.modes=[fo]", "--set", "clients.pi5.memory_budget_bytes=9 MiB",
    "--set", "clients.pi4.min_cut=1",
]  # fmt: skip


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    (folder / "net.py").write_text(OWN)
    text = hs.load("quickstart").resolved()
    text["model"] = {"task": "image-classification", "python": "net.py:Net"}
    import yaml

    (folder / "mine.yaml").write_text(yaml.safe_dump(text))
    words = ["run", str(folder / "mine.yaml"), "--executor", "inline", "--out", str(folder / "run"), *SETTINGS]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    return folder / "run"


def accuracy_of(state: dict[str, torch.Tensor], scenario: Scenario) -> float:
    """Test accuracy of the plain module with a state, without anything of ours but the data."""
    from hybridsplit.runtime.data.sources import load_dataset

    space: dict[str, Any] = {}
    exec(OWN, space)
    model = space["Net"]()
    model.load_state_dict(state)
    test = load_dataset(scenario).test
    with torch.no_grad():
        return float((model.eval()(test.inputs).argmax(1) == test.labels).double().mean())


def test_every_round_that_is_kept_loads_into_the_plain_module(run_folder: Path, tmp_path: Path) -> None:
    rounds = hs.Run(run_folder).rounds["test_accuracy"].tolist()
    scenario = load_scenario(str(run_folder / "scenario.yaml"))
    best = rounds.index(max(rounds)) + 1
    assert kept_rounds(run_folder / "checkpoints") == sorted({best, 4, 5})
    for which, number in (("best", best), ("last", 5), (4, 4)):
        done = hs.export(run_folder, tmp_path / str(which), round=which)
        assert (done.rounds, done.test_accuracy) == (number, rounds[number - 1])
        state = safetensors.torch.load_file(tmp_path / str(which) / "model.safetensors")
        assert accuracy_of(state, scenario) == pytest.approx(rounds[number - 1], abs=1e-12)


def test_the_command_says_how_to_load_it(run_folder: Path, tmp_path: Path) -> None:
    words = ["export", str(run_folder), "--to", str(tmp_path / "out"), "--round", "last", "--json"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0
    document = json.loads(done.stdout)
    assert document["rounds"] == 5
    assert "load_state_dict" in document["loads_with"]
    assert json.loads((tmp_path / "out" / "export.json").read_text())["rounds"] == 5


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--round", "1000"], 2, "holds no checkpoint after 1000 rounds; there are those after .*5"),
        (["--round", "first"], 2, "found 'first'; needs 'best', 'last' or a number"),
        ([], 2, "holds something already"),
    ],
)
def test_what_cannot_be_exported_is_said(
    run_folder: Path, tmp_path: Path, words: list[str], code: int, says: str
) -> None:
    import re

    if not words:
        (tmp_path / "file").write_text("mine")
    done = CliRunner().invoke(
        app, ["export", str(run_folder), "--to", str(tmp_path if not words else tmp_path / "o"), *words]
    )
    assert done.exit_code == code
    assert re.search(says, " ".join(done.output.split()))
    assert CliRunner().invoke(app, ["export", str(tmp_path), "--to", str(tmp_path / "o2")]).exit_code == 2


def test_a_run_does_not_go_on_with_an_edited_model(run_folder: Path, tmp_path: Path) -> None:
    import shutil

    home = tmp_path / "copy"
    shutil.copytree(run_folder, home)
    code = run_folder.parent / "net.py"
    code.write_text(OWN.replace("nn.ReLU())\n", "nn.Tanh())\n"))
    try:
        done = CliRunner().invoke(app, ["export", str(home), "--to", str(tmp_path / "out")])
        assert done.exit_code == 2
        assert "other code of your own" in " ".join(done.output.split())
    finally:
        code.write_text(OWN)


def test_the_first_of_equal_rounds_is_the_best() -> None:
    records = [RoundRecord(i, 1.0 + i, 0.5, accuracy) for i, accuracy in enumerate([0.1, 0.7, 0.3, 0.7])]
    assert best_round(records) == 2
