"""Peaks composed from recordings of single blocks equal full traces to the byte."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridsplit.profiler.memory import client_memory, server_memory
from hybridsplit.profiler.memory.composed import ComposedPeaks
from hybridsplit.profiler.models import TracedModel, traced_model
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.testing.families import FAMILIES, family_scenario
from tests.profiler.memory.odd_blocks import BODIES, chain_of
from tests.tiers import one_of

SGD = {"name": "sgd", "learning_rate": 0.01}
DECAYED = {**SGD, "weight_decay": 0.1}
MOMENTUM = {**SGD, "momentum": 0.9, "weight_decay": 0.1}
ADAMW = {"name": "adamw", "learning_rate": 0.01}
OPTIMIZERS = [SGD, DECAYED, MOMENTUM, ADAMW]
MODES = (Mode.FO, Mode.ZO_PROJECTION, Mode.ZO_LOSS, Mode.FROZEN)
NOT_ON_DEVICE = (Mode.ZO_PROJECTION, Mode.FROZEN)

# "is a view" and others that only hand memory on share it with what no block can see; then the whole is traced.
SEEN_BY_THEMSELVES = sorted(set(BODIES) - {"passes its gradient to a parameter", "gives a parameter's gradient back"})


def compared(
    traced: TracedModel, scenario: Scenario, modes: Iterable[str] = MODES, cuts: Iterable[int] = ()
) -> tuple[int, int]:
    """Compare every peak that can be composed with its full trace; return how many could be, and how many not."""
    composed = ComposedPeaks(traced, scenario)
    num_blocks = traced.model.num_blocks
    num_found = num_left = 0
    for cut, mode in itertools.product(list(cuts) or range(1, num_blocks + 1), modes):
        if cut == num_blocks and mode in NOT_ON_DEVICE:
            continue
        for peak, memory in ((composed.client_peak_bytes, client_memory), (composed.server_peak_bytes, server_memory)):
            found = peak(cut, mode)
            if found is None:
                num_left += 1
                continue
            num_found += 1
            assert found == memory(traced, scenario, cut, mode).peak_bytes, (cut, mode, memory.__name__)
    return num_found, num_left


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from(sorted(BODIES)), st.booleans()), min_size=1, max_size=5),
    st.sampled_from(OPTIMIZERS),
    st.sampled_from([1, 2]),
)
def test_chains_of_odd_blocks(blocks: list[tuple[str, bool]], optimizer: dict[str, Any], local_steps: int) -> None:
    """Whatever is composed is right; what shares memory in a way that blocks cannot show is left to a full trace."""
    scenario = family_scenario("resnet", optimizer=optimizer, local_steps=local_steps)
    compared(chain_of([name for name, _ in blocks], [frozen for _, frozen in blocks]), scenario)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=["sgd", "decayed", "momentum", "adamw"])
@pytest.mark.parametrize("name", SEEN_BY_THEMSELVES)
def test_odd_blocks_between_plain_ones_are_composed(name: str, optimizer: dict[str, Any]) -> None:
    scenario = family_scenario("resnet", optimizer=optimizer, local_steps=2)
    traced = chain_of(["linear", name, "adds to its input", name], [False] * 4)
    assert compared(traced, scenario, (Mode.FO, Mode.ZO_LOSS))[1] == 0


SETTINGS: dict[str, dict[str, Any]] = {
    "adamw": {"optimizer": ADAMW},
    "momentum": {"optimizer": MOMENTUM},
    "one-step": {"optimizer": ADAMW, "local_steps": 1},
    "bfloat16": {"optimizer": ADAMW, "dtype": "bfloat16"},
    "clipped": {"optimizer": ADAMW, "gradient_clip": {"norm": 1.0, "over": "parameter"}},
    "server-adamw": {"optimizer": SGD, "server_optimizer": ADAMW},
    "biases": {"trainable": {"method": "biases-and-norms"}},
    "one-sided": {"zeroth_order": {"loss_sides": "one", "projection_sides": "two"}},
    "on-sphere": {"zeroth_order": {"distribution": "sphere", "directions": 3, "optimizer": MOMENTUM}},
    "first-plus": {"zeroth_order": {"anchor": "first-plus", "distribution": "rademacher", "directions": 2}},
    "zo-adamw": {"zeroth_order": {"optimizer": ADAMW}},
}


@pytest.mark.parametrize("name", one_of(4, SETTINGS))
@pytest.mark.parametrize("family", one_of(5, FAMILIES))
def test_families_are_composed_whole(family: str, name: str) -> None:
    scenario = family_scenario(family, **{"local_steps": 2, **SETTINGS[name]})
    assert compared(traced_model(scenario), scenario)[1] == 0


@pytest.mark.parametrize(
    ("mode", "training"),
    [
        (Mode.ZO_PROJECTION, {"zeroth_order": {"derivative": "forward-mode"}}),
        (Mode.ZO_LOSS, {"zeroth_order": {"anchor": "all-plus", "directions": 2}}),
        (Mode.ZO_LOSS, {"modes": ["zo-loss", "frozen"], "server_gradient": "zeroth-order"}),
    ],
)
def test_what_is_not_composed_is_left_to_a_full_trace(mode: Mode, training: dict[str, Any]) -> None:
    scenario = family_scenario("opt-causal", local_steps=2, **training)
    assert compared(traced_model(scenario), scenario, (mode,))[1] > 0


def test_blocks_that_share_a_parameter_are_not_composed() -> None:
    traced = chain_of(["linear", "linear"], [False, False])
    first, second, _ = traced.model.whole.ordered()
    second.linear = first.linear
    assert compared(traced, family_scenario("resnet"))[0] == 2  # nothing is left to a server at the last cut


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenetv3_small_075", "edgenext_x_small", "ghostnetv2_100", "efficientformer_l1"])
def test_networks_of_unlike_blocks(name: str, tmp_path: Path) -> None:
    pytest.importorskip("timm", reason="needs pip install 'hybridsplit[timm]'")
    from benchmarks.timm_networks import of_timm, scenario_of

    scenario = scenario_of(*of_timm(name), tmp_path)
    traced = traced_model(scenario)
    assert compared(traced, scenario, cuts=range(2, traced.model.num_blocks + 1, 5))[1] == 0
