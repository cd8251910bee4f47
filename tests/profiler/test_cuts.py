"""Cuts found in traced forward passes: complete, exact, counted, and carried out in every mode."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
import yaml
from typer.testing import CliRunner

from hybridsplit.orchestrator.cli import app
from hybridsplit.profiler.memory import client_memory
from hybridsplit.profiler.models import block_graph, smashed_bytes, traced_model, valid_cuts, with_batch_size
from hybridsplit.runtime.models.blocks import MODEL_FAMILIES
from hybridsplit.runtime.models.build import build_blocks, build_model
from hybridsplit.runtime.models.configuration import model_config
from hybridsplit.runtime.models.traced.block import TracedBlock
from hybridsplit.runtime.models.traced.decompose import blocks_between, trace
from hybridsplit.runtime.models.traced.scenario import trace_blocks
from hybridsplit.runtime.models.untied import untie_tables
from hybridsplit.runtime.session.client import run_client_round
from hybridsplit.runtime.split.link import Batch
from hybridsplit.runtime.split.parts import Part, SplitModel, task_loss
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.contracts.placement import Placement
from hybridsplit.scenarios.errors import ProfileError, ScenarioError
from hybridsplit.scenarios.loader import builtin_text, load_scenario
from hybridsplit.scenarios.schema import Model, Scenario, TextTable
from hybridsplit.testing.families import (
    BATCH_SIZE,
    FAMILIES,
    LENGTH,
    TRACED,
    family_batch,
    family_model,
    family_scenario,
)
from tests.modes import LOCAL_MODES, MODEL_LOSS_MODES, ZEROTH_ORDER_MODES
from tests.runtime import test_derivatives, test_optimizers

DECLARED = ["opt-causal", "opt-projected", "bert", "vit", "resnet", "resnet-bottleneck", "llama"]


def transformers_model(scenario: Scenario, *, meta: bool = False) -> Any:
    """The model a scenario names, whole, its tied tables untied."""
    model = build_model(scenario, model_config(scenario.model), meta=meta)
    untie_tables(model)
    return model


def padded(scenario: Scenario) -> Scenario:
    """The scenario as if its texts had different lengths."""
    table = TextTable(source="text-table", path="texts.csv", tokenizer="tokenizer")
    return scenario.model_copy(update={"data": table})


def reference(model: Any, batch: Batch, task: str) -> torch.Tensor:
    if task == "image-classification":
        logits: torch.Tensor = model(pixel_values=batch.inputs).logits
        return logits
    mask = None if batch.mask_BS is None else batch.mask_BS.long()
    logits = model(input_ids=batch.inputs, attention_mask=mask).logits
    assert isinstance(logits, torch.Tensor)
    return logits


@pytest.mark.parametrize("with_mask", [False, True])
@pytest.mark.parametrize("name", TRACED)
def test_any_cut_gives_the_output_and_gradients_of_the_whole(name: str, with_mask: bool) -> None:
    """With a detached tensor at every cut, as over the air: each block sees what crosses and nothing else."""
    scenario = family_scenario(name)
    task = scenario.model.task
    if with_mask and task == "image-classification":
        pytest.skip("images are not padded")
    batch = family_batch(scenario, padded=with_mask)
    uncut = transformers_model(scenario)
    recorded = padded(scenario) if with_mask else scenario
    twin = transformers_model(scenario)
    model = SplitModel(trace_blocks(recorded, twin, transformers_model(scenario, meta=True)))
    assert model.num_blocks > 2
    for part in (uncut, model.whole):
        part.eval()
    with torch.no_grad():
        torch.testing.assert_close(
            model.whole(batch.inputs, batch.mask_BS), reference(uncut, batch, task), rtol=1e-5, atol=1e-6
        )
    for part in (uncut, model.whole):
        part.train()
    logits = reference(uncut, batch, task)
    task_loss(logits, batch.labels, task).backward()
    expected = {name: p.grad for name, p in uncut.named_parameters()}
    inputs, outputs = [], []
    h = batch.inputs
    for block in model.whole.ordered():
        inputs.append(h.detach().requires_grad_(h.is_floating_point() and block is not model.whole.ordered()[0]))
        h = block(inputs[-1], batch.mask_BS)
        outputs.append(h)
    torch.testing.assert_close(h, logits, rtol=1e-5, atol=1e-6)
    h = task_loss(h, batch.labels, task)
    h.backward()
    for output, received in zip(outputs[-2::-1], inputs[:0:-1], strict=True):
        if output.requires_grad:
            output.backward(received.grad)
    # The blocks hold the twin's own parameters.
    held = {id(p) for p in model.whole.parameters()}
    for name, parameter in twin.named_parameters():
        if expected[name] is None:
            assert parameter.grad is None or not parameter.grad.any(), name
        else:
            assert id(parameter) in held, name
            torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("name", DECLARED)
def test_found_cuts_contain_the_declared_ones(name: str) -> None:
    """Same parameters below, same values, and never more bytes."""
    scenario = family_scenario(name)
    batch = family_batch(scenario)
    declared, twin = family_model(scenario), transformers_model(scenario)
    found = SplitModel(trace_blocks(scenario, twin, transformers_model(scenario, meta=True))).whole
    declared.whole.eval()
    found.eval()
    torch.testing.assert_close(found(batch.inputs), declared.whole(batch.inputs), rtol=1e-5, atol=1e-6)

    def below(part: Part, cut: int) -> tuple[int, int]:
        """Number of scalars in the parameters below a cut, and bytes that cross it."""
        x = batch.inputs
        for block in part.ordered()[:cut]:
            x = block(x, None)
        return sum(p.numel() for b in part.ordered()[:cut] for p in b.parameters()), x.numel() * x.element_size()

    offered = dict(below(found, cut) for cut in range(1, len(found.blocks)))
    for cut in range(1, declared.num_blocks):
        scalars, size_bytes = below(declared.whole, cut)
        assert offered[scalars] <= size_bytes, f"declared cut {cut}"


@pytest.mark.parametrize("name", ["gpt2-classes", "deberta", "swin"])
def test_bytes_at_a_cut_are_those_of_the_tensors_that_cross(name: str) -> None:
    traced = traced_model(family_scenario(name))
    graph = block_graph(traced)
    assert valid_cuts(graph) == list(range(1, traced.model.num_blocks + 1))
    counted = []
    for cut, block in enumerate(traced.model.whole.ordered()[:-1], start=1):
        assert isinstance(block, TracedBlock)
        shapes = [
            [size if isinstance(size, int) else size.at(BATCH_SIZE) for size in shape] for shape in block.above.shapes
        ]
        counted.append(len(shapes))
        width = block.above.wire_dtype.itemsize
        assert smashed_bytes(graph, cut) == sum(torch.Size(shape).numel() * width for shape in shapes)
    expected = {"gpt2-classes": [2, 2, 2], "deberta": [1, 1, 2, 1, 1, 1]}
    assert counted == expected.get(name, [1] * len(counted))


def test_what_crosses_together_is_what_the_model_needs() -> None:
    """A classifier on GPT-2 needs, beside the hidden state, where each text ends: 4 bytes a sample."""
    traced = traced_model(family_scenario("gpt2-classes"))
    hidden_bytes = BATCH_SIZE * LENGTH * 16 * 4
    assert smashed_bytes(block_graph(traced), 2) == hidden_bytes + 4 * BATCH_SIZE


def test_position_biases_of_t5_cross_with_the_hidden_state() -> None:
    """The first layer makes them from its parameters, all layers use them: they are counted, and take gradients."""
    config = transformers.T5Config(
        d_model=16, d_kv=8, d_ff=32, num_layers=3, num_heads=2, vocab_size=96, dropout_rate=0.0, use_cache=False
    )
    model = transformers.T5ForTokenClassification(config)
    with torch.device("meta"):
        shapes = transformers.T5ForTokenClassification(config)
    for either in (model, shapes):
        untie_tables(either)

    def example(batch_size: int) -> tuple[torch.Tensor, None]:
        return torch.empty(batch_size, LENGTH, dtype=torch.long, device="meta"), None

    traced = trace(shapes, lambda x, mask: shapes(input_ids=x).logits, example)
    blocks = blocks_between(traced, traced.cuts, model)
    assert [len(cut.crossing) for cut in traced.cuts] == [1, 2, 2, 1, 1]
    tokens = torch.randint(0, 96, (5, LENGTH))
    h, crossed = tokens, []
    for block in blocks:
        h = block(h, None)
        crossed.append(h.numel())
    assert crossed[1] == 5 * LENGTH * 16 + 2 * LENGTH * LENGTH
    expected = model(input_ids=tokens).logits
    torch.testing.assert_close(h, expected)
    table = model.transformer.encoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight
    (found,) = torch.autograd.grad(h.square().sum(), table)
    (reference_gradient,) = torch.autograd.grad(expected.square().sum(), table)
    torch.testing.assert_close(found, reference_gradient)


def test_cuts_between_calls_of_shared_layers_do_not_exist() -> None:
    """ALBERT runs one layer twice: it stays ALBERT, with one copy of that layer."""
    scenario = family_scenario("albert")
    model = family_model(scenario)
    assert sum(p.numel() for p in model.whole.parameters()) == sum(
        p.numel() for p in transformers_model(scenario).parameters()
    )
    counted = [name for name, _ in model.whole.named_parameters() if name.endswith("ffn.weight")]
    assert len(counted) == 1


def test_a_tied_checkpoint_is_untied_before_tracing(tmp_path: Path) -> None:
    """It stores one copy of the table; the head gets its own, on either side of every cut."""
    scenario = family_scenario("gpt2")
    config = transformers.GPT2Config(**{k: v for k, v in TRACED["gpt2"]["config"].items() if k != "model_type"})
    tied = transformers.GPT2LMHeadModel(config).eval()
    assert tied.lm_head.weight is tied.transformer.wte.weight
    tied.save_pretrained(tmp_path)
    section = Model(task="causal-lm", checkpoint=str(tmp_path))
    from_checkpoint = scenario.model_copy(update={"model": section})
    model = family_model(from_checkpoint).whole.eval()
    tables = [p for p in model.parameters() if p.shape == (96, 16)]
    assert len(tables) == 2
    assert torch.equal(*tables)
    tokens = family_batch(scenario).inputs
    torch.testing.assert_close(model(tokens), tied(input_ids=tokens).logits)
    shapes = traced_model(from_checkpoint).model.whole
    assert [n for n, _ in shapes.named_parameters()] == [n for n, _ in model.named_parameters()]


@pytest.mark.parametrize("name", ["gpt2-classes", "deberta", "regnet"])
def test_every_mode_trains_as_predicted(name: str) -> None:
    """Peaks within 1 % and 256 bytes of real runs; the two exact modes agree; shapes and weights cut alike."""
    scenario = family_scenario(name, modes=MODEL_LOSS_MODES, local_steps=2, zeroth_order={"directions": 2})
    traced, model = traced_model(scenario), family_model(scenario)
    assert [block.kind for block in traced.model.whole.ordered()] == [block.kind for block in model.whole.ordered()]
    start = model.whole.snapshot()
    for cut in (model.num_blocks // 2, model.num_blocks):
        states = {}
        for mode in MODEL_LOSS_MODES:
            if cut == model.num_blocks and mode not in LOCAL_MODES:
                continue
            placement = Placement(cut=cut, mode=mode, batch_size=scenario.training.batch_size)
            outcome = run_client_round(
                model, start, Assignment("pi-0", placement, 1.0, 1 << 40),
                lambda step: family_batch(scenario, seed=step), scenario, 0, measure_memory=True,
            )  # fmt: skip
            predicted = client_memory(traced, scenario, cut, mode).peak_bytes
            assert predicted == pytest.approx(outcome.report.peak_bytes, rel=0.01, abs=256), f"cut {cut}, {mode}"
            states[mode] = outcome.state
        for parameter, expected in states[Mode.FO].items():
            torch.testing.assert_close(states[Mode.FO_RECOMPUTE][parameter], expected, rtol=2e-5, atol=2e-6)
        names = [n for n in start if int(n.split(".")[1]) < cut]
        moved = [n for n in names if not torch.equal(states[Mode.ZO_LOSS][n], start[n])]
        assert moved, "probes reach the parameters of traced blocks"


@pytest.mark.parametrize("mode", sorted(ZEROTH_ORDER_MODES))
@pytest.mark.parametrize("name", ["gpt2", "convnext", "albert"])
def test_scalars_of_probes_are_directional_derivatives(name: str, mode: Mode) -> None:
    # Some of these compute parts in single precision whatever they are given, which hides the order of the error.
    assert test_derivatives.errors(name, mode, 1e-5).norm() < 1e-3


@pytest.mark.parametrize("mode", sorted(ZEROTH_ORDER_MODES))
@pytest.mark.parametrize("name", ["gpt2-classes", "regnet"])
def test_replayed_scalars_give_the_clients_own_bits(name: str, mode: Mode) -> None:
    test_optimizers.check_replay(name, mode, "adamw", "gaussian")


@pytest.mark.parametrize("target", ["c_attn", "c_fc"])
def test_adapters_are_traced_with_the_model(target: str) -> None:
    lora = {"method": "lora", "rank": 2, "target_modules": [target]}
    model = family_model(family_scenario("gpt2", trainable=lora)).whole
    names = [name for name, _ in model.trainable()]
    assert names
    assert all("lora_" in name for name in names)


def test_a_forward_that_reads_values_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """BART's classifier counts end tokens in Python."""
    scenario = family_scenario("gpt2-classes")
    config = {
        "model_type": "bart", "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
        "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "vocab_size": 96,
        "max_position_embeddings": 32, "num_labels": 3,
    }  # fmt: skip
    bart = scenario.model_copy(update={"model": scenario.model.model_copy(update={"config": config})})
    with pytest.raises(ProfileError) as caught:
        build_blocks(bart, meta=True)
    for needle in ("bart", "cannot be traced", "declared families", "block list"):
        assert needle in str(caught.value)


def test_another_mask_than_recorded_is_refused() -> None:
    model = family_model(family_scenario("gpt2")).whole
    with pytest.raises(ValueError, match="recorded without one"):
        model(torch.zeros(2, LENGTH, dtype=torch.long), torch.ones(2, LENGTH, dtype=torch.bool))


def test_traced_types_are_not_declared_ones() -> None:
    assert not {spec["config"]["model_type"] for spec in TRACED.values()} & set(MODEL_FAMILIES)
    assert {spec["config"]["model_type"] for spec in FAMILIES.values()} <= set(MODEL_FAMILIES)


def test_half_precision_is_traced_as_such() -> None:
    """Rounded weights, tables that are not saved in full precision, and half the bytes."""
    scenario = family_scenario("gpt-neox", dtype="bfloat16")
    alone = scenario.model.model_copy(update={"master_weights": "none"})
    scenario = scenario.model_copy(update={"model": alone})
    model, batch = family_model(scenario), family_batch(scenario)
    assert {p.dtype for p in model.whole.parameters()} == {torch.bfloat16}
    tables = {n: b.dtype for n, b in model.whole.named_buffers() if n.endswith("inv_freq")}
    assert set(tables.values()) == {torch.float32}
    uncut = transformers_model(scenario)
    assert torch.equal(model.whole(batch.inputs), reference(uncut, batch, "causal-lm"))
    assert smashed_bytes(block_graph(traced_model(scenario)), 1) == BATCH_SIZE * LENGTH * 16 * 2


def test_a_type_without_block_list_goes_all_the_way(tmp_path: Path) -> None:
    """Profile, plan and a round of training through the command line, as for a declared family."""
    convnext = dict(TRACED["convnext"]["config"])
    scenario = yaml.safe_load(builtin_text("quickstart"))
    scenario["model"]["config"] = convnext
    scenario["training"] |= {"rounds": 1, "local_steps": 1, "frozen_control": False}
    for group in scenario["clients"]:
        group["memory_budget_bytes"] = "64 MiB"
    path = tmp_path / "convnext.yaml"
    path.write_text(yaml.safe_dump(scenario), encoding="utf-8")

    def done(*arguments: str) -> Any:
        result = CliRunner().invoke(app, [*arguments, "--json"])
        assert result.exit_code == 0, f"{result.stdout}\n{result.stderr}\n{result.exception!r}"
        return json.loads(result.stdout)

    done("profile", str(path))
    done("plan", str(path), "--out", str(tmp_path / "plan.json"))
    plan = json.loads((tmp_path / "plan.json").read_text(encoding="utf-8"))
    done("run", str(path), "--executor", "inline", "--out", str(tmp_path / "run"))
    assert (tmp_path / "run" / "summary.json").exists()
    assert len(plan["clients"]) == 6
    assert min(client["cut"] for client in plan["clients"]) >= 1


@pytest.mark.parametrize("sizes", ["batch_size=1", "batch_sizes=[1]"])
def test_a_batch_too_small_for_batch_norm_names_block_and_key(sizes: str) -> None:
    small = load_scenario("quickstart", [f"training.{sizes}", "training.modes=[fo]"])
    smallest = with_batch_size(traced_model(small), small, min(small.training.candidate_batch_sizes))
    with pytest.raises(ScenarioError, match=r"training\.batch_size.*found 1.*BatchNorm of block 6 .*at least 2"):
        block_graph(smallest)
    # Four values a channel are enough, whichever of batch and image they come from.
    larger = load_scenario("quickstart", [f"training.{sizes}", "data.image_size=32"])
    block_graph(with_batch_size(traced_model(larger), larger, 1))
