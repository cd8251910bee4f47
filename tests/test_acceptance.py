"""What the built-in scenarios promise, from profile to replay and run."""

from __future__ import annotations

from functools import cache

import pytest

from hybridsplit.profiler.options import profile_scenario
from hybridsplit.runtime.executors.inline import InlineExecutor
from hybridsplit.runtime.replay import replay
from hybridsplit.runtime.run.rounds import train
from hybridsplit.scenarios.contracts.assignment import assignments_of, frozen_assignments
from hybridsplit.scenarios.contracts.ledger import Source
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.loader import builtin_names, load_scenario
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.solver.explain.decomposition import decompose
from hybridsplit.solver.planner import make_plan
from hybridsplit.solver.strategies import STRATEGIES
from tests.tiers import one_of, one_row_of

SHRUNKEN = {
    "quickstart": ["training.rounds=1"],
    "smart-home": [
        "model.config.hidden_size=32", "model.config.word_embed_proj_dim=32", "model.config.ffn_dim=64",
        "model.config.num_attention_heads=4", "model.config.num_hidden_layers=4", "model.config.vocab_size=256",
        "training.sequence_length=16", "training.local_steps=2", "data.num_samples=512",
    ],
    "campus": [
        "model.config.hidden_size=32", "model.config.word_embed_proj_dim=32", "model.config.ffn_dim=64",
        "model.config.num_attention_heads=4", "model.config.num_hidden_layers=4", "model.config.vocab_size=256",
        "training.sequence_length=16", "training.local_steps=2", "data.num_samples=2000",
        *(f"clients.{group}.count=2" for group in ("pi", "phone", "old-phone", "kiosk", "laptop", "lab")),
    ],
    "city": [
        "model.config.hidden_size=32", "model.config.num_attention_heads=4", "model.config.intermediate_size=64",
        "model.config.vocab_size=256", "training.sequence_length=16", "training.local_steps=2", "data.num_samples=2000",
        *(f"clients.{group}.count=2" for group in ("phone", "old-phone", "meter", "camera", "kiosk")),
    ],
}  # fmt: skip


@cache
def profiled(name: str, *overrides: str) -> tuple[Scenario, OptionTable]:
    scenario = load_scenario(name, overrides)
    return scenario, profile_scenario(scenario)


@cache
def planned(name: str, *overrides: str) -> tuple[Scenario, OptionTable, Plan]:
    scenario, options = profiled(name, *overrides)
    return scenario, options, make_plan(scenario, options)


def check_replay(plan: Plan, scenario: Scenario) -> None:
    num_rounds = 2
    replayed = replay(plan, scenario, num_rounds=num_rounds)
    for latency_s in replayed.round_latency_s:
        assert latency_s == pytest.approx(plan.round_latency_s, rel=0.01)
    keys = ["client", "round", "phase"]
    expected = plan.ledger(num_rounds).of(Source.PLANNED).set_index(keys)["bytes"]
    found = replayed.ledger.of(Source.REPLAYED).set_index(keys)["bytes"]
    assert (expected - found.reindex(expected.index) == 0).all()
    assert int(found.sum()) == int(expected.sum())


@pytest.mark.parametrize("name", one_of(3, builtin_names()))
def test_replay_agrees_with_the_plan(name: str) -> None:
    scenario, _, plan = planned(name)
    check_replay(plan, scenario)


EVERYWHERE = ("optimal", "splitfed", "fedavg")
OTHERS = [name for name in builtin_names() if name != "quickstart"]


@pytest.mark.parametrize(
    ("name", "strategy"),
    [
        *one_row_of(5, [("quickstart", strategy) for strategy in sorted(STRATEGIES)]),
        *one_row_of(5, [(name, strategy) for name in OTHERS for strategy in EVERYWHERE]),
    ],
)
def test_bytes_agree_between_plan_replay_and_run(name: str, strategy: str) -> None:
    """Plans of every strategy and every scenario, shrunk to train in seconds, budgets lifted for the baselines."""
    lifted = [f"clients.{i}.memory_budget_bytes=3 GiB" for i in range(len(load_scenario(name).clients))]
    modes = "training.modes=[fo, fo-recompute, zo-projection, zo-loss]"
    scenario, options = profiled(name, *SHRUNKEN[name], *lifted, modes)
    plan = make_plan(scenario, options, strategy)
    check_replay(plan, scenario)
    with InlineExecutor(scenario) as executor:
        result = train(scenario, assignments_of(plan, scenario), executor, 1, schedule=plan.schedule)
    expected = plan.ledger(1).table.set_index(["client", "phase"])["bytes"]
    measured = result.measured.table.set_index(["client", "phase"])["bytes"]
    for key, size in measured.items():
        assert size == expected[key], key
    for client in plan.clients:
        assert result.peak_bytes[client.id] == pytest.approx(client.client_peak_bytes, rel=0.01), client.id


@pytest.mark.parametrize("mode", sorted(Mode))
@pytest.mark.parametrize("name", one_of(len(builtin_names()), ["quickstart", *OTHERS]))
def test_bytes_agree_in_every_mode(name: str, mode: Mode) -> None:
    lifted = [f"clients.{i}.memory_budget_bytes=3 GiB" for i in range(len(load_scenario(name).clients))]
    scenario, options = profiled(name, *SHRUNKEN[name], *lifted, f"training.modes=[{mode}]")
    plan = make_plan(scenario, options, "splitfed")
    with InlineExecutor(scenario) as executor:
        result = train(scenario, assignments_of(plan, scenario), executor, 1, schedule=plan.schedule)
    expected = plan.ledger(1).table.set_index(["client", "phase"])["bytes"]
    for key, size in result.measured.table.set_index(["client", "phase"])["bytes"].items():
        assert size == expected[key], key


def test_quickstart_uses_several_cuts_and_modes_for_named_reasons() -> None:
    _, _, plan = planned("quickstart")
    assert len({client.cut for client in plan.clients}) >= 3
    assert len({client.mode for client in plan.clients}) >= 2
    assert all(client.reason for client in plan.clients)
    assert plan.gap <= 0.03


def test_quickstart_beats_the_best_uniform_cut() -> None:
    scenario, options, _ = planned("quickstart")
    steps = decompose(scenario, options)
    assert steps.splitfed_s / steps.modes_s >= 1.3
    assert steps.shares_ratio * steps.cuts_ratio * steps.modes_ratio == pytest.approx(steps.total_ratio)


def option_of(client: str, *overrides: str) -> tuple[int, Mode]:
    found = planned("quickstart", *overrides)[2].client(client)
    return found.cut, found.mode


def test_shrinking_a_budget_forces_the_mode_that_fits() -> None:
    assert option_of("orin-0")[1] == Mode.FO
    assert option_of("orin-0", "clients.orin.memory_budget_bytes=400 KiB")[1] == Mode.ZO_PROJECTION


def test_enlarging_a_budget_brings_exact_gradients() -> None:
    assert option_of("pi5-0")[1] == Mode.ZO_PROJECTION
    assert option_of("pi5-0", "clients.pi5.memory_budget_bytes=4 MiB")[1] in (Mode.FO, Mode.FO_RECOMPUTE)
    assert option_of("phone-0")[1] == Mode.FO_RECOMPUTE
    assert option_of("phone-0", "clients.phone.memory_budget_bytes=4 MiB")[1] == Mode.FO


def test_lifting_the_radio_limit_moves_cuts() -> None:
    cuts = [client.cut for client in planned("quickstart")[2].clients]
    lifted = planned("quickstart", "radio.uplink_hz=80 GHz", "radio.downlink_hz=80 GHz")[2]
    assert [client.cut for client in lifted.clients] != cuts
    assert lifted.round_latency_s < planned("quickstart")[2].round_latency_s


def test_quickstart_learns_under_budget_and_beats_the_frozen_control() -> None:
    """One seed here; ``python benchmarks/quickstart_accuracy.py`` runs three."""
    scenario, options, plan = planned("quickstart")
    rounds = scenario.training.rounds
    with InlineExecutor(scenario) as executor:
        trained = train(
            scenario, assignments_of(plan, scenario), executor, rounds, options=options, schedule=plan.schedule
        )
        frozen = train(scenario, frozen_assignments(assignments_of(plan, scenario)), executor, rounds)
    assert trained.records[-1].test_accuracy >= 0.97
    assert frozen.records[-1].test_accuracy < trained.records[-1].test_accuracy
    for client in plan.clients:
        assert trained.peak_bytes[client.id] <= client.memory_budget_bytes
