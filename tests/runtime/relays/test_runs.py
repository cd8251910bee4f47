"""Whole runs over relays in one process: bits, bytes, memory and time, beside plan, replay and one cut."""

from __future__ import annotations

from pathlib import Path

import pytest

from hybridsplit.orchestrator.ledger_sums import bytes_agree
from hybridsplit.orchestrator.relays.ledger import planned_entries, replayed_entries
from hybridsplit.runtime.executors.inline import InlineExecutor
from hybridsplit.runtime.run.rounds import train
from hybridsplit.scenarios.contracts.assignment import Assignment, relay_assignments_of
from hybridsplit.scenarios.contracts.ledger import Ledger, LedgerEntry, Source
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.placement import Placement
from hybridsplit.scenarios.errors import BudgetExceededError, ContractError, RunError
from hybridsplit.scenarios.relays.loading import single_cut, validate_relays
from tests.runtime.relays.chains import assert_same_bits
from tests.runtime.relays.runs import ROUNDS, run_inline, small_document, small_plan, small_scenario

ADAMW = {"name": "adamw", "learning_rate": 0.01}


def test_whole_batches_over_three_cuts_train_the_bits_of_one_cut() -> None:
    """Data, averaging and evaluation are those of training over one cut."""
    scenario = small_scenario(micro_batches=[1])
    plan = small_plan(scenario)
    assert {client.num_cuts for client in plan.clients} == {3}
    several = run_inline(scenario, plan).result
    single = single_cut(scenario)
    for cut in (1, 4):
        assignments = [
            Assignment(c.id, Placement(cut=cut, mode="fo", batch_size=32), c.data_weight, 1 << 40)
            for c in single.expanded_clients()
        ]
        with InlineExecutor(single) as executor:
            once = train(single, assignments, executor, ROUNDS)
        assert_same_bits(several.state, once.state)
        assert [record.train_loss for record in several.records] == [record.train_loss for record in once.records]
        assert [r.test_accuracy for r in several.records] == [r.test_accuracy for r in once.records]


def test_plan_replay_and_run_count_the_same_bytes_and_the_plan_bounds_memory() -> None:
    scenario = small_scenario()
    for strategy in ("even-split", "optimal"):
        plan = small_plan(scenario, strategy)
        trained = run_inline(scenario, plan)
        ids = [client.id for client in plan.clients]
        entries = list(trained.result.measured.entries())
        for number, played in enumerate(trained.played):
            entries += [*planned_entries(plan, scenario, number, ids), *replayed_entries(played, number)]
        assert bytes_agree(entries)
        assert not bytes_agree([*entries, entries[3]._replace(bytes=1)])
        for client in plan.clients:
            for part in client.placement:
                peaks = trained.result.node_peak_bytes[client.id] | {client.id: trained.result.peak_bytes[client.id]}
                assert peaks[part.node] <= part.peak_bytes <= 1.6 * peaks[part.node]
        planned, replayed = (_seconds(entries, source) for source in (Source.PLANNED, Source.REPLAYED))
        assert planned.keys() == replayed.keys()
        assert replayed == {place: pytest.approx(seconds, rel=1e-9) for place, seconds in planned.items()}
        ends_s = [record.simulated_s for record in trained.result.records]
        assert ends_s == pytest.approx([plan.value_s * (number + 1) for number in range(ROUNDS)], rel=1e-9)


def _seconds(entries: list[LedgerEntry], source: Source) -> dict[tuple[str, str, Phase], float]:
    """Of the second round, where there are any."""
    of_round = [entry for entry in entries if entry.source is source and entry.round == 1 and entry.seconds]
    return {(entry.client, entry.node, entry.phase): entry.seconds for entry in of_round}


def test_a_ledger_keeps_its_nodes(tmp_path: Path) -> None:
    scenario = small_scenario()
    measured = run_inline(scenario, small_plan(scenario), 1).result.measured
    measured.save(tmp_path / "ledger.parquet")
    again = Ledger.load(tmp_path / "ledger.parquet")
    assert {entry.node for entry in again.entries()} >= {
        "hall-0-0",
        "hall-0-0>ap-0",
        "ap-0>edge",
        "edge>cloud",
        "cloud",
    }
    assert len(list(again.entries())) == len(list(measured.entries()))


def test_optimizer_states_are_kept_machine_by_machine_and_a_run_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    scenario = small_scenario(optimizer=ADAMW, optimizer_state="keep")
    plan = small_plan(scenario)
    whole = run_inline(scenario, plan).result
    run_inline(scenario, plan, 1, checkpoints=tmp_path / "checkpoints")
    resumed = run_inline(scenario, plan, checkpoints=tmp_path / "checkpoints", resume=True).result
    assert_same_bits(resumed.state, whole.state)
    assert resumed.records == whole.records
    assert resumed.node_peak_bytes == whole.node_peak_bytes
    reset = run_inline(small_scenario(optimizer=ADAMW), small_plan(small_scenario(optimizer=ADAMW))).result
    assert any(not reset.state[name].equal(tensor) for name, tensor in whole.state.items())


def test_a_run_does_not_go_on_with_another_number_of_micro_batches(tmp_path: Path) -> None:
    scenario = small_scenario(micro_batches=[1, 4])
    four, one = small_plan(scenario, "optimal"), small_plan(scenario, "client-only")
    assert {c.micro_batches for c in four.clients} == {4}
    run_inline(scenario, four, 1, checkpoints=tmp_path / "checkpoints")
    with pytest.raises(ContractError, match="belongs to another scenario or plan"):
        run_inline(scenario, one, checkpoints=tmp_path / "checkpoints", resume=True)


def test_a_machine_with_too_little_memory_stops_the_run_by_name() -> None:
    scenario = small_scenario()
    plan = small_plan(scenario)
    document = small_document()
    document["network"]["nodes"][2]["memory_bytes"] = 3 << 20
    tight = validate_relays(document, "tight")
    with pytest.raises(BudgetExceededError, match=r"node edge: the blocks of all clients used .* of its 3.00 MiB"):
        run_inline(tight, plan)


def test_a_client_over_its_budget_stops_the_run_or_leaves_by_the_policy() -> None:
    scenario = small_scenario()
    plan = small_plan(scenario)
    document = small_document() | {"faults": {"policy": "drop-client"}}
    document["clients"][1]["memory_budget_bytes"] = 1 << 16
    going_on = validate_relays(document, "going on")
    trained = run_inline(going_on, plan)
    assert [(fault.client, str(fault.kind)) for fault in trained.result.faults] == [("hall-1-0", "over-budget")]
    assert set(trained.played[-1].ends_s) == {"hall-0-0", "hall-0-1"}
    document["faults"] = {"policy": "fail"}
    with pytest.raises(RunError, match="client hall-1-0"):
        run_inline(validate_relays(document, "stopping"), plan)


def test_assignments_state_the_machines() -> None:
    scenario = small_scenario()
    plan = small_plan(scenario)
    first = relay_assignments_of(plan, single_cut(scenario))[0]
    assert first.stages is not None
    assert [stage.node for stage in first.stages.path] == list(plan.clients[0].path)
    assert first.stages.micro_batches == 4
    assert first.data_weight == pytest.approx(1 / 3)
