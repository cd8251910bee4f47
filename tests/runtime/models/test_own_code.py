"""Python code that comes with a checkpoint is run only where a scenario says so, and nobody is asked."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from hybridsplit.runtime.data.sources import load_dataset
from hybridsplit.runtime.models.build import build_blocks
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.testing.families import family_scenario
from tests.structure import ROOT

FOLDERS = ("scenarios", "solver", "profiler", "runtime", "orchestrator", "src", "benchmarks", "tests")
LOADERS = {"from_pretrained", "from_config"}


def leaves_a_mark(folder: Path) -> Path:
    """Write a module that, when imported, leaves a file; return where."""
    mark = folder / "was-run"
    (folder / "own.py").write_text(f"open({str(mark)!r}, 'w').close()\n", encoding="utf-8")
    return mark


def write(folder: Path, name: str, stated: dict[str, Any]) -> None:
    (folder / name).write_text(json.dumps(stated), encoding="utf-8")


@pytest.mark.parametrize("meta", [True, False])
@pytest.mark.parametrize(
    "stated",
    [
        {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}},
        {"model_type": "llama", "auto_map": {"AutoModelForCausalLM": "own.Model"}},
        {"model_type": "gemma3", "text_config": {"auto_map": {"AutoModel": "own.Model"}}},
        {"auto_map": {"AutoConfig": "somebody/elsewhere--own.Config"}},
    ],
    ids=["unknown type", "known type", "nested", "of another repository"],
)
def test_a_checkpoint_with_code_is_refused(stated: dict[str, Any], meta: bool, tmp_path: Path) -> None:
    mark = leaves_a_mark(tmp_path)
    write(tmp_path, "config.json", stated)
    scenario = family_scenario("llama")
    section = scenario.model.model_copy(update={"config": None, "checkpoint": str(tmp_path)})
    with pytest.raises(ScenarioError, match=r"model\.checkpoint.*auto_map.*own\..*never run"):
        build_blocks(scenario.model_copy(update={"model": section}), meta=meta)
    assert not mark.exists()


@pytest.mark.parametrize("name", ["tokenizer_config.json", "config.json"])
def test_a_tokenizer_with_code_is_refused(name: str, tmp_path: Path) -> None:
    mark = leaves_a_mark(tmp_path)
    write(tmp_path, name, {"model_type": "own", "auto_map": {"AutoTokenizer": ["own.Tokenizer", None]}})
    (tmp_path / "table.csv").write_text("sentence,label\n" + "fine,0\nnot fine,1\n" * 20, encoding="utf-8")
    document = family_scenario("bert").model_dump(mode="json", exclude_defaults=True)
    document["data"] = {"source": "text-table", "path": str(tmp_path / "table.csv"), "tokenizer": str(tmp_path)}
    with pytest.raises(ScenarioError, match=r"data\.tokenizer.*auto_map.*never run"):
        load_dataset(validate_scenario(document, "own code"))
    assert not mark.exists()


def loads(tree: ast.AST) -> list[ast.Call]:
    """Calls that make transformers load or build something."""
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LOADERS
    ]


def test_every_load_states_whether_code_is_trusted() -> None:
    """No, or what the scenario says."""
    found = 0
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            for call in loads(ast.parse(path.read_text(encoding="utf-8"))):
                trust = {keyword.arg: keyword.value for keyword in call.keywords}.get("trust_remote_code")
                assert trust is not None, f"{path}:{call.lineno}"
                stated = ast.unparse(trust)
                assert stated in ("False", "model.trust_remote_code", "trusts_code"), f"{path}:{call.lineno}"
                found += 1
    assert found >= 5


CODE = """
import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

class Config(PreTrainedConfig):
    model_type = "own-mixer"
    vocab_size = 96
    hidden_size = 8

class Model(PreTrainedModel):
    config_class = Config
    base_model_prefix = "body"
    def __init__(self, config):
        super().__init__(config)
        self.body = nn.Sequential(nn.Embedding(config.vocab_size, 8), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
        self.classifier = nn.Linear(8, config.num_labels)
        self.post_init()
    def _init_weights(self, module):
        pass
    def forward(self, input_ids, attention_mask=None, **words):
        return SequenceClassifierOutput(logits=self.classifier(self.body(input_ids).mean(1)))
"""


def test_code_that_the_scenario_trusts_is_run_and_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors.torch import save_file

    monkeypatch.setattr("builtins.input", lambda *words: pytest.fail("nobody is asked"))
    (tmp_path / "own.py").write_text(CODE, encoding="utf-8")
    stated = {"auto_map": {"AutoConfig": "own.Config", "AutoModelForSequenceClassification": "own.Model"}}
    write(tmp_path, "config.json", {"model_type": "own-mixer", "num_labels": 8, "architectures": ["Model"], **stated})
    generator = torch.Generator().manual_seed(3)
    shapes = {"body.0.weight": (96, 8), "body.1.weight": (8, 8), "body.3.weight": (8, 8), "classifier.weight": (8, 8)}
    shapes |= {"body.1.bias": (8,), "body.3.bias": (8,), "classifier.bias": (8,)}
    weights = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    scenario = family_scenario("bert")
    section = {"config": None, "checkpoint": str(tmp_path), "trust_remote_code": True}
    scenario = scenario.model_copy(update={"model": scenario.model.model_copy(update=section)})
    blocks = build_blocks(scenario, num_labels=8)
    tokens = torch.arange(24).view(3, 8)
    h = nn.functional.linear(weights["body.0.weight"][tokens], weights["body.1.weight"], weights["body.1.bias"]).relu()
    h = nn.functional.linear(h, weights["body.3.weight"], weights["body.3.bias"]).mean(1)
    expected = nn.functional.linear(h, weights["classifier.weight"], weights["classifier.bias"])
    x = tokens
    for block in blocks:
        x = block(x, None)
    assert torch.allclose(x, expected, atol=1e-6)
    assert len(blocks) >= 3
