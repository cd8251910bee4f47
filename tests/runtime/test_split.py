"""Any cut is equivalent to the uncut model, for every family, against transformers' own forward."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers
from torch import nn

from hybridsplit.runtime.models.blocks import MODEL_FAMILIES
from hybridsplit.runtime.models.build import build_blocks
from hybridsplit.runtime.models.configuration import model_config
from hybridsplit.runtime.models.untied import untie
from hybridsplit.runtime.session.client import run_client_round
from hybridsplit.runtime.split.parts import SplitModel, block_of, task_loss
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.contracts.placement import Placement
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.scenarios.schema import Model
from hybridsplit.scenarios.streams import stream_seed
from hybridsplit.testing.families import DECODERS, FAMILIES, OPT, family_batch, family_model, family_scenario

AUTO = {
    "causal-lm": transformers.AutoModelForCausalLM,
    "sequence-classification": transformers.AutoModelForSequenceClassification,
    "image-classification": transformers.AutoModelForImageClassification,
}


def test_every_registered_family_is_tested() -> None:
    specs = [*FAMILIES.values(), *DECODERS.values()]
    assert set(MODEL_FAMILIES) == {spec["config"]["model_type"] for spec in specs}


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("family", [*FAMILIES, *DECODERS])
def test_blocks_in_order_equal_the_transformers_model(family: str, padded: bool) -> None:
    scenario = family_scenario(family)
    batch = family_batch(scenario, padded=padded)
    if padded and batch.mask_BS is None:
        pytest.skip("images are not padded")
    with torch.random.fork_rng():
        torch.manual_seed(stream_seed(scenario.seed, "weights"))
        whole = AUTO[scenario.model.task].from_config(model_config(scenario.model), trust_remote_code=False)
    whole.train()
    inputs = {"pixel_values" if scenario.model.task == "image-classification" else "input_ids": batch.inputs}
    if batch.mask_BS is not None:
        inputs["attention_mask"] = batch.mask_BS.long()
    reference = whole(**inputs, labels=batch.labels)
    model = family_model(scenario)
    model.whole.train()
    logits = model.whole(batch.inputs, batch.mask_BS)
    kept = slice(None) if batch.mask_BS is None or logits.ndim == 2 else batch.mask_BS
    torch.testing.assert_close(logits[kept], reference.logits[kept], rtol=1e-5, atol=1e-6)
    loss = task_loss(logits, batch.labels, scenario.model.task)
    torch.testing.assert_close(loss, reference.loss, rtol=1e-5, atol=1e-6)
    loss.backward()
    reference.loss.backward()
    ours = sorted(float(p.grad.norm()) for p in model.whole.parameters() if p.grad is not None)
    theirs = sorted(float(p.grad.norm()) for p in whole.parameters() if p.grad is not None)
    assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("mode", [Mode.FO, Mode.FO_RECOMPUTE])
@pytest.mark.parametrize("family", FAMILIES)
def test_any_cut_equals_the_uncut_model(family: str, mode: Mode) -> None:
    """One client, one step of SGD: the update is the gradient, so equal states mean equal gradients."""
    scenario = family_scenario(family)
    batch = family_batch(scenario)
    model = family_model(scenario)
    start = model.whole.snapshot()
    model.whole.train()
    loss = task_loss(model.whole(batch.inputs, batch.mask_BS), batch.labels, scenario.model.task)
    loss.backward()
    with torch.no_grad():
        for _, parameter in model.whole.trainable():
            if parameter.grad is not None:
                parameter -= 0.1 * parameter.grad
            parameter.grad = None
    reference = model.whole.snapshot()
    for cut in range(1, model.num_blocks + 1):
        assignment = Assignment(
            "pi-0", Placement(cut=cut, mode=mode, batch_size=scenario.training.batch_size), 1.0, 1 << 40
        )
        outcome = run_client_round(model, start, assignment, lambda step: batch, scenario, 0, measure_memory=False)
        assert outcome.report.train_loss == pytest.approx(loss.item(), rel=1e-5)
        for name, expected in reference.items():
            torch.testing.assert_close(
                outcome.state[name], expected, rtol=2e-5, atol=2e-6, msg=f"{family} cut {cut} {name}"
            )


@pytest.mark.parametrize("family", FAMILIES)
def test_a_mode_reaches_every_module_of_a_part_and_no_other(family: str) -> None:
    """Whatever modes overlapping parts had before."""
    model = family_model(family_scenario(family))
    cuts = model.num_blocks - 1
    for part, mode in [
        (model.whole, False), (model.client_part(cuts), True), (model.server_part(1), False), (model.whole, True),
        (model.server_part(cuts), False), (model.client_part(1), False), (model.client_part(2), True),
    ]:  # fmt: skip
        inside = {id(module) for module in part.modules()}
        before = [(module, module.training) for module in model.whole.modules() if id(module) not in inside]
        part.train(mode)
        assert {module.training for module in part.modules()} == {mode}
        assert all(module.training == was for module, was in before)


def test_tied_embeddings_are_untied_for_every_cut_alike() -> None:
    scenario = family_scenario("opt-causal")
    blocks = build_blocks(scenario)
    owners: dict[int, int] = {}
    for index, block in enumerate(blocks):
        for parameter in block.parameters():
            assert owners.setdefault(id(parameter), index) == index


def test_untie_copies_the_values() -> None:
    blocks = build_blocks(family_scenario("opt-causal"))
    blocks[-1].head.weight = blocks[0].embed_tokens.weight  # type: ignore[union-attr]
    assert untie(blocks) == [f"blocks.{len(blocks) - 1}.head.weight"]
    assert blocks[-1].head.weight is not blocks[0].embed_tokens.weight  # type: ignore[union-attr]
    assert torch.equal(blocks[-1].head.weight, blocks[0].embed_tokens.weight)  # type: ignore[union-attr,arg-type]


def test_a_tied_checkpoint_keeps_its_head(tmp_path: Path) -> None:
    """A tied checkpoint stores one copy of the embedding; the head is that copy, not a fresh draw."""
    scenario = family_scenario("opt-causal")
    config = transformers.OPTConfig(**{key: value for key, value in OPT.items() if key != "model_type"})
    tied = transformers.OPTForCausalLM(config)
    tied.save_pretrained(tmp_path)
    section = Model(task="causal-lm", checkpoint=str(tmp_path))
    blocks = build_blocks(scenario.model_copy(update={"model": section}))
    assert torch.equal(blocks[-1].head.weight, tied.model.decoder.embed_tokens.weight)  # type: ignore[union-attr,arg-type]
    assert blocks[-1].head.weight is not blocks[0].embed_tokens.weight  # type: ignore[union-attr]


def test_names_do_not_depend_on_the_cut() -> None:
    model = family_model(family_scenario("bert"))
    whole = {name: id(p) for name, p in model.whole.named_parameters()}
    for cut in range(1, model.num_blocks + 1):
        client = {name: id(p) for name, p in model.client_part(cut).named_parameters()}
        server = {name: id(p) for name, p in model.server_part(cut).named_parameters()}
        assert client | server == whole
        assert all(block_of(name) < cut for name in client)
        assert all(block_of(name) >= cut for name in server)


def test_dropout_is_off() -> None:
    config = model_config(family_scenario("bert").model)
    assert config.hidden_dropout_prob == 0
    assert config.attention_probs_dropout_prob == 0


def test_lora_trains_adapters_and_a_classifier_only() -> None:
    lora = {"method": "lora", "rank": 2, "target_modules": ["query", "value"]}
    names = [name for name, _ in family_model(family_scenario("bert", trainable=lora)).whole.trainable()]
    assert any("lora_A" in name for name in names)
    assert any("classifier" in name for name in names)
    assert all("lora_" in name or "classifier" in name for name in names)


@pytest.mark.parametrize("family", FAMILIES)
def test_biases_and_norms_are_few(family: str) -> None:
    scenario = family_scenario(family, trainable={"method": "biases-and-norms"})
    model = family_model(scenario).whole
    trained = dict(model.trainable())
    norms = (nn.LayerNorm, nn.BatchNorm2d)
    of_norms = {f"{at}.{key}" for at, m in model.named_modules() if isinstance(m, norms) for key in m._parameters}
    biases = {name for name, _ in model.named_parameters() if name.endswith(".bias")}
    assert of_norms | biases <= set(trained)
    last = len(model.blocks) - 1
    assert all(parameter.dim() == 1 for name, parameter in trained.items() if block_of(name) < last)


@pytest.mark.parametrize(
    ("override", "needles"),
    [
        ("model.config.model_type=rasnet", ["'rasnet'", "did you mean 'resnet'"]),
        ("model.config.model_type=convnxt", ["'convnxt'", "did you mean 'convnext'", "supported are"]),
        ("model.config={model_type: llava}", ["llava", "image-classification"]),
        ("model.config.hidden_size=[1]", ["model.config", "hidden_sizes"]),
        ("model.config.layer_type=fancy", ["ResNetConfig", "fancy"]),
        ("training.trainable={method: lora, target_modules: [q_proj]}", ["q_proj", "linear modules"]),
        ("model={task: image-classification, checkpoint: ./nowhere}", ["./nowhere", "local folder"]),
    ],
)
def test_wrong_models_are_explained(override: str, needles: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ScenarioError) as caught:
        SplitModel(build_blocks(load_scenario("quickstart", [override])))
    for needle in needles:
        assert needle in str(caught.value)
