"""Predicted peaks are those of real runs, and exact where they are composed."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hybridsplit.profiler.memory import Role, client_memory, homogeneous_runs, peaks_of_run, server_memory
from hybridsplit.profiler.model_profile import profile_model
from hybridsplit.profiler.models import TracedModel, traced_model
from hybridsplit.runtime.noise import NoiseKey
from hybridsplit.runtime.session.client import run_client_round
from hybridsplit.runtime.session.server import ServerSide
from hybridsplit.runtime.split.live_bytes import LiveBytes
from hybridsplit.runtime.split.optimizers import make_optimizer
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.contracts.placement import Placement
from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.testing.families import FAMILIES, family_batch, family_model, family_scenario
from tests.modes import LOCAL_MODES
from tests.tiers import one_of

OPTIMIZERS = [
    {"name": "sgd", "learning_rate": 0.01},
    {"name": "sgd", "learning_rate": 0.01, "momentum": 0.9},
    {"name": "adamw", "learning_rate": 0.01},
]


@pytest.mark.parametrize(
    ("optimizer", "dtype"),
    [
        pytest.param(OPTIMIZERS[0], "float32", id="sgd"),
        pytest.param(OPTIMIZERS[1], "float32", id="momentum", marks=pytest.mark.slow),
        pytest.param(OPTIMIZERS[2], "float32", id="adamw", marks=pytest.mark.slow),
        pytest.param(OPTIMIZERS[2], "bfloat16", id="adamw-bfloat16"),
    ],
)
@pytest.mark.parametrize("family", one_of(3, FAMILIES))
def test_predicted_peak_equals_the_measured_one(family: str, optimizer: dict[str, object], dtype: str) -> None:
    """Shapes against a real run, every mode and cut, within 0.1 % or two scalars."""
    scenario = family_scenario(
        family, dtype=dtype, modes=list(Mode), local_steps=2, optimizer=optimizer, zeroth_order={"directions": 3}
    )
    traced, model = traced_model(scenario), family_model(scenario)
    start = model.whole.snapshot()
    for cut, mode in itertools.product(range(1, model.num_blocks + 1), Mode):
        if cut == model.num_blocks and mode not in LOCAL_MODES:
            continue
        assignment = Assignment(
            "pi-0", Placement(cut=cut, mode=mode, batch_size=scenario.training.batch_size), 1.0, 1 << 40
        )
        outcome = run_client_round(
            model, start, assignment, lambda step: family_batch(scenario, seed=step), scenario, 0, measure_memory=True
        )
        assert outcome.report.peak_bytes is not None
        predicted = client_memory(traced, scenario, cut, mode).peak_bytes
        assert predicted == pytest.approx(outcome.report.peak_bytes, rel=0.001, abs=8), f"cut {cut}, {mode}"


ADAMW = OPTIMIZERS[2]
SETTINGS: list[tuple[Mode, dict[str, Any]]] = [
    (Mode.ZO_LOSS, {"zeroth_order": {"loss_sides": "one"}}),
    (Mode.ZO_LOSS, {"zeroth_order": {"anchor": "all-plus", "distribution": "sphere"}}),
    (Mode.ZO_LOSS, {"zeroth_order": {"distribution": "rademacher", "optimizer": OPTIMIZERS[1]}}),
    (Mode.ZO_PROJECTION, {"zeroth_order": {"projection_sides": "two", "optimizer": ADAMW}}),
    (Mode.ZO_PROJECTION, {"zeroth_order": {"derivative": "forward-mode"}}),
    (Mode.FO, {"modes": ["fo"], "gradient_clip": {"norm": 1.0}}),
    (Mode.FO_RECOMPUTE, {"gradient_clip": {"norm": 1.0, "over": "parameter"}, "optimizer": ADAMW}),
    *((mode, {"trainable": {"method": "biases-and-norms"}}) for mode in (Mode.FO, Mode.FO_RECOMPUTE, Mode.ZO_LOSS)),
]


@pytest.mark.parametrize(("mode", "training"), SETTINGS)
@pytest.mark.parametrize("family", one_of(2, ["opt-causal", "bert", "resnet", "llama"]))
def test_predicted_peak_follows_the_settings(family: str, mode: Mode, training: dict[str, Any]) -> None:
    """As above, for the ways to estimate, to clip and to step."""
    settings = {**training, "zeroth_order": {"directions": 3, **training.get("zeroth_order", {})}}
    scenario = family_scenario(family, local_steps=2, **settings)
    traced, model = traced_model(scenario), family_model(scenario)
    start = model.whole.snapshot()
    for cut in (1, 3, model.num_blocks):
        if cut == model.num_blocks and mode not in LOCAL_MODES:
            continue
        assignment = Assignment(
            "pi-0", Placement(cut=cut, mode=mode, batch_size=scenario.training.batch_size), 1.0, 1 << 40
        )
        outcome = run_client_round(
            model, start, assignment, lambda step: family_batch(scenario, seed=step), scenario, 0, measure_memory=True
        )
        predicted = client_memory(traced, scenario, cut, mode).peak_bytes
        assert predicted == pytest.approx(outcome.report.peak_bytes, rel=0.001, abs=8), f"cut {cut}"


PURE = {"modes": ["zo-loss", "frozen"], "server_gradient": "zeroth-order"}
ON_SERVER: list[tuple[str, tuple[Mode, ...], dict[str, Any]]] = [
    *((str(o["name"]), (Mode.FO, Mode.ZO_LOSS, Mode.FROZEN), {"optimizer": o}) for o in OPTIMIZERS),
    ("server-adamw", (Mode.FO,), {"server_optimizer": ADAMW}),
    ("clipped", (Mode.FO,), {"modes": ["fo"], "gradient_clip": {"norm": 1.0}}),
    ("all-plus", (Mode.ZO_LOSS,), {"zeroth_order": {"directions": 3, "anchor": "all-plus"}}),
    ("pure", (Mode.ZO_LOSS, Mode.FROZEN), {**PURE, "zeroth_order": {"directions": 2}}),
    ("pure-adamw", (Mode.ZO_LOSS,), {**PURE, "zeroth_order": {"optimizer": ADAMW, "loss_sides": "one"}}),
]  # fmt: skip


@pytest.mark.parametrize(("modes", "training"), [pytest.param(*one[1:], id=one[0]) for one in ON_SERVER])
@pytest.mark.parametrize("family", one_of(4, FAMILIES))
def test_predicted_server_peak_equals_the_measured_one(
    family: str, modes: tuple[Mode, ...], training: dict[str, Any]
) -> None:
    """The server copy of a real run, counted while it works, within 1 % and 256 bytes."""
    scenario = family_scenario(family, local_steps=2, **training)
    traced, model = traced_model(scenario), family_model(scenario)
    cuts = range(1, model.num_blocks) if "optimizer" in training else (2,)
    for cut, mode in itertools.product(cuts, modes):
        batch = family_batch(scenario)
        with torch.no_grad():
            smashed = model.client_part(cut)(batch.inputs, batch.mask_BS)
        part = model.server_part(cut)
        server = ServerSide(part, scenario.training, scenario.model.task)
        meter = LiveBytes()
        meter.track([*part.parameters(), *part.buffers(), smashed, batch.labels])
        all_plus = scenario.training.zeroth_order.anchor == "all-plus"
        for step in range(2):
            server.begin_step(NoiseKey(0, "client", "pi-0", 0, step))
            with meter:
                if mode == Mode.ZO_LOSS:
                    server.probe(smashed, batch, keep=True)
                    for _ in range(2 if all_plus else 0):
                        server.probe(smashed.clone(), batch, keep=True)
                    server.exact_kept(batch)
                else:
                    server.exact(smashed, batch, wants_gradient=mode == Mode.FO)
        predicted = server_memory(traced, scenario, cut, mode).peak_bytes
        assert predicted == pytest.approx(meter.peak_bytes, rel=0.001, abs=8), f"cut {cut}, {mode}"
    assert server_memory(traced, scenario, model.num_blocks, modes[0]).peak_bytes == 0


def test_a_peak_is_the_sum_of_what_it_is_for() -> None:
    """Each role against what it must be where weights, not activations, decide the peak."""
    adamw = {"name": "adamw", "learning_rate": 0.01}
    scenario = family_scenario("opt-causal", local_steps=2, optimizer=adamw, batch_size=1, sequence_length=2)
    traced = traced_model(scenario)
    part = traced.model.client_part(3)
    weights = sum(p.numel() * p.element_size() for p in part.parameters())
    exact = client_memory(traced, scenario, 3, Mode.FO)
    assert exact.parameters == weights
    assert exact.gradients == weights
    assert exact.optimizer_state == pytest.approx(2 * weights, rel=0.01)
    lean = client_memory(traced, scenario, 3, Mode.FO_RECOMPUTE)
    assert lean.gradients < 0.5 * weights
    estimated = client_memory(traced, scenario, 3, Mode.ZO_PROJECTION)
    assert estimated.gradients == estimated.optimizer_state == 0
    assert estimated.activations > 0
    for breakdown in (exact, lean, estimated):
        assert breakdown.peak_bytes == sum(getattr(breakdown, role) for role in Role)


@pytest.mark.parametrize("family", ["opt-causal", "vit", "resnet"])
def test_live_bytes_agree_with_the_allocator(family: str) -> None:
    """The counter against torch.profiler's allocation events over a training step of the whole model."""
    scenario = family_scenario(family)
    model, batch = family_model(scenario).whole, family_batch(scenario)
    optimizer = make_optimizer(scenario.training.optimizer, list(model.parameters()))

    def step() -> None:
        model(batch.inputs, None).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    step()
    meter = LiveBytes()
    meter.track([*model.parameters(), *model.buffers(), batch.inputs])
    standing_bytes = meter.live_bytes
    with meter:
        step()
    counted = meter.peak_bytes - standing_bytes
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        step()
    live = peak = 0
    for event in sorted(
        (e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"), key=lambda e: e.start_ns()
    ):
        live += event.nbytes()
        peak = max(peak, live)
    # Kernel workspace is the allocator's alone; a convolution's is large beside these tiny activations.
    assert 0.6 * peak <= counted <= 1.01 * peak
    if family != "resnet":
        assert counted == pytest.approx(peak, rel=0.03)


def test_recomputing_saves_memory_and_estimating_saves_more() -> None:
    adamw = {"name": "adamw", "learning_rate": 0.01}
    scenario = family_scenario("opt-causal", modes=list(Mode), optimizer=adamw, local_steps=2)
    traced = traced_model(scenario)
    peak = {mode: client_memory(traced, scenario, 4, mode).peak_bytes for mode in Mode}
    assert peak[Mode.FROZEN] <= peak[Mode.ZO_PROJECTION] < peak[Mode.FO_RECOMPUTE] < peak[Mode.FO]


def test_a_meter_forgets_what_is_freed_and_leaves_out_what_is_paused() -> None:
    meter = LiveBytes()
    with meter:
        kept = torch.zeros(256)
        torch.zeros(1024)
        view = kept[:10]
        with meter.paused():
            elsewhere = torch.zeros(4096)
    assert meter.live_bytes == 1024
    assert meter.peak_bytes == 1024 + 4096
    del view, elsewhere
    meter.track([kept])
    assert meter.live_bytes == 1024
    del kept
    assert meter.live_bytes == 0


@pytest.mark.parametrize("mode", [Mode.FO, Mode.FO_RECOMPUTE, Mode.ZO_LOSS])
def test_composed_peaks_equal_full_traces(mode: Mode) -> None:
    """A deep homogeneous model: a few traces and convexity against a trace of every cut."""
    from hybridsplit.testing.families import OPT

    scenario = family_scenario("opt-causal", optimizer={"name": "adamw", "learning_rate": 0.01}, local_steps=2)
    deep = scenario.model.model_copy(update={"config": {**OPT, "num_hidden_layers": 10}})
    scenario = scenario.model_copy(update={"model": deep})
    traced = traced_model(scenario)
    run = list(range(2, 12))
    full = {cut: client_memory(traced, scenario, cut, mode).peak_bytes for cut in run}
    traces: list[int] = []

    def peak(cut: int) -> int:
        traces.append(cut)
        return full[cut]

    assert peaks_of_run(run, peak) == full
    assert len(traces) < len(run)


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 50)), min_size=1, max_size=4), st.integers(1, 40))
def test_composition_is_exact_for_any_maximum_of_affine_functions(lines: list[tuple[int, int]], length: int) -> None:
    run = list(range(3, 3 + length))
    full = {cut: max(a + b * cut for a, b in lines) for cut in run}
    traced: set[int] = set()

    def peak(cut: int) -> int:
        traced.add(cut)
        return full[cut]

    assert peaks_of_run(run, peak) == full
    if length >= 5 and len(set(lines)) == 1:
        assert len(traced) == 3
    if length >= 6 and len(set(lines)) == 2:
        assert len(traced) <= 6


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30))
def test_composition_ends_where_peaks_are_not_convex(peaks: list[int]) -> None:
    """Every cut has a peak, and those at the ends are their own, whatever a mode of somebody else's does."""
    found = peaks_of_run(range(len(peaks)), peaks.__getitem__)
    assert list(found) == list(range(len(peaks)))
    assert [found[0], found[len(peaks) - 1]] == [peaks[0], peaks[-1]]


def test_runs_break_where_blocks_differ() -> None:
    assert homogeneous_runs([1, 2, 3, 4, 5], ["e", "l", "l", "l", "h"]) == [[1], [2, 3, 4], [5]]
    assert homogeneous_runs([1, 3, 4], ["l", "l", "l"]) == [[1], [3, 4]]


def test_layers_that_are_pairs_of_blocks_give_two_runs() -> None:
    signatures = ["e", *("a", "f") * 6, "h"]
    runs = homogeneous_runs(list(range(1, 15)), signatures)
    assert runs == [[1], [2, 4, 6, 8, 10, 12], [3, 5, 7, 9, 11, 13], [14]]


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=40), st.sets(st.integers(1, 40)))
def test_runs_hold_every_cut_once_and_step_over_the_same_blocks(blocks: list[str], missing: set[int]) -> None:
    cuts = [cut for cut in range(1, len(blocks) + 1) if cut not in missing]
    runs = homogeneous_runs(cuts, [blocks[cut - 1] for cut in cuts])
    assert sorted(cut for run in runs for cut in run) == cuts
    for run in runs:
        steps = {tuple(blocks[a:b]) for a, b in itertools.pairwise(run)}
        assert len(steps) <= 1, run


@pytest.mark.slow
def test_composed_peaks_of_paired_blocks_equal_full_traces() -> None:
    """A model found in its graph whose layers fall into attention and feed-forward."""
    config = {"model_type": "gpt2", "n_embd": 16, "n_layer": 8, "n_head": 2, "vocab_size": 96, "n_positions": 32}
    document = family_scenario("opt-causal", local_steps=2).resolved()
    document["model"] = {"task": "causal-lm", "config": config}
    scenario = validate_scenario(document, "gpt2")
    (profile,) = profile_model(scenario).by_batch_size.values()
    traced = traced_model(scenario)
    assert any(len(run) >= 5 for run in homogeneous_runs(profile.cuts, _kinds(traced)))
    for (cut, mode, recompute, *_), peak in profile.client_peak_bytes.items():
        if mode in (Mode.FO, Mode.FO_RECOMPUTE, Mode.ZO_PROJECTION) and cut % 6 == 0:
            assert peak == client_memory(traced, scenario, cut, mode, recompute).peak_bytes, (cut, mode)


def _kinds(traced: TracedModel) -> list[str]:
    return [block.kind for block in traced.model.whole.ordered()]
