from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from hybridsplit.orchestrator.report.background import option_table
from hybridsplit.orchestrator.report.cells import difference, percent
from hybridsplit.orchestrator.report.data import bunches, group_of
from hybridsplit.orchestrator.report.headline import tiles, what_training_bought
from hybridsplit.orchestrator.report.palette import PHASE_COLOURS
from hybridsplit.orchestrator.report.tables import plan_table
from hybridsplit.orchestrator.report.truth import truth_tables
from hybridsplit.scenarios.contracts.ledger import Ledger
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.errors import ContractError
from hybridsplit.scenarios.modes import MODES


@pytest.mark.parametrize(
    ("fraction", "digits", "text"),
    [
        (0.0, 3, "0 %"), (0.072, 3, "7.20 %"), (0.17, 3, "17.0 %"), (1.0, 3, "100 %"), (0.9999, 3, "100 %"),
        (1.5, 3, "150 %"), (0.00097, 3, "0.0970 %"), (0.68, 2, "68 %"), (0.012, 2, "1.2 %"), (12.5, 3, "1,250 %"),
        (float("nan"), 3, "–"),
    ],
)  # fmt: skip
def test_per_cent(fraction, digits, text):
    assert percent(fraction, digits) == text


@pytest.mark.parametrize(
    ("value", "reference", "text"),
    [(1.1, 1.0, "+10.0 %"), (0.9, 1.0, "−10.0 %"), (5.0, 5.0, "equal"), (0.0, 0.0, ""), (1.0, 0.0, "not planned"),
     (float("nan"), 1.0, "")],
)  # fmt: skip
def test_differences(value, reference, text):
    assert difference(value, reference) == text


def test_phases_and_modes_all_have_a_colour_of_their_own():
    assert set(PHASE_COLOURS) == set(Phase)
    assert len(set(PHASE_COLOURS.values())) == len(Phase)
    assert len({mode.colour for mode in MODES.values()}) == len(MODES)


def test_rows_are_clients_then_groups_then_devices(plan_factory, scenario_factory):
    assert [row.label for row in bunches(plan_factory(scenario_factory(5)))] == [
        "pi4-0",
        "pi4-1",
        "pi5-0",
        "nano-0",
        "xavier-0",
    ]
    assert bunches(plan_factory(scenario_factory(44)))[0].label == "pi4 (× 11)"
    plan = plan_factory(scenario_factory(100))
    alone = [client.model_copy(update={"id": f"c{i}"}) for i, client in enumerate(plan.clients)]
    by_device = bunches(plan.model_copy(update={"clients": tuple(alone)}))
    assert by_device[0].label == "rpi4b_8gb (× 25)"
    assert sum(len(row.clients) for row in by_device) == 100
    assert group_of("living-room-pi-07") == "living-room-pi"


def test_a_group_with_two_choices_has_two_rows(report_data):
    data = report_data(100, is_run=False)
    clients = list(data.plan.clients)
    clients[0] = clients[0].model_copy(update={"cut": 7, "reason": "another reason"})
    data = report_data(100, is_run=False, plan=data.plan.model_copy(update={"clients": tuple(clients)}))
    rows = plan_table(data).rows
    assert len(rows) == 5
    assert [row[0].note for row in rows[:2]] == ["1 of them", "24 of them"]


def test_options_name_the_deepest_cut_and_what_is_missing(report_data):
    table = option_table(report_data(4, is_run=False))
    pi4 = {column.label: cell for column, cell in zip(table.columns, table.rows[0], strict=True)}
    assert pi4["Options"].value == 48
    assert (pi4["fo"].text, pi4["fo"].note) == ("none", "needs 288.00 MiB")
    assert (pi4["fo-recompute"].value, pi4["fo-recompute"].note) == (2, "of 12")
    assert pi4["zo-projection"].value == 6
    assert pi4["Chosen"].text == "cut 3 zo-projection"


def test_one_byte_too_many_is_shown(report_data):
    run = report_data(4)
    table = run.ledger.table.copy()
    first = table.index[(table["source"] == "measured") & (table["phase"] == "uplink")]
    table.loc[first, "bytes"] += 1
    overall, details = truth_tables(report_data(4, ledger=Ledger(table)))
    uplink = next(row for row in overall.rows if row[0].text == "Uplink")
    assert [cell.note for cell in uplink[4:]] == ["", "equal", "+4 B"]
    assert [label for label, _ in details] == ["pi4-0", "pi5-0", "nano-0", "xavier-0"]


def run_of(accuracies):
    index = np.arange(len(accuracies))
    return pd.DataFrame({"round": index, "simulated_s": index * 10.0, "train_loss": 1.0, "test_accuracy": accuracies})


@pytest.mark.parametrize(
    ("mine", "frozen", "says"),
    [
        ([0.5, 0.80, 0.80, 0.80], [0.5, 0.70, 0.70, 0.70], "10.0 points above the frozen control"),
        ([0.5, 0.60, 0.60, 0.60, 0.60, 0.60], [0.5, 0.70, 0.70, 0.70, 0.70, 0.70], "10.0 points below"),
        ([0.78, 0.75, 0.79, 0.76, 0.78], [0.77, 0.78, 0.76, 0.78, 0.77], "it shows no difference"),
    ],
)
def test_what_training_bought_is_set_against_the_spread(mine, frozen, says, report_data):
    if "above" in says or "below" in says:
        mine, frozen = mine[1:] * 2, frozen[1:] * 2
    assert says in what_training_bought(report_data(4, is_run=False, rounds=run_of(mine), control=run_of(frozen)))


def test_the_last_evaluated_round_counts(report_data):
    data = report_data(4, is_run=False, rounds=run_of([0.5, 0.6, np.nan]))
    assert next(tile for tile in tiles(data) if tile.label == "Final accuracy").value == 0.6


def test_a_replay_without_training_shows_its_clock(report_data):
    run = report_data(4)
    data = report_data(4, is_run=False, ledger=run.ledger)
    tile = next(tile for tile in tiles(data) if tile.label == "Simulated time")
    assert "rounds replayed, not trained" in tile.note
    assert tile.value > 0


@pytest.mark.parametrize("name", ["rounds", "memory", "control"])
def test_a_table_without_its_columns_is_refused(name, report_data):
    with pytest.raises(ContractError, match=f"{name} table lacks the columns"):
        report_data(4, **{name: pd.DataFrame({"something": [1]})})


def test_a_plan_without_clients_is_refused(report_data):
    plan = report_data(4).plan.model_copy(update={"clients": ()})
    with pytest.raises(ContractError, match="no clients"):
        report_data(4, plan=plan)


def test_a_plan_for_a_target_is_headed_by_its_time_to_the_target(report_data):
    data = report_data()
    seconds = data.plan.round_latency_s * 20
    update = {"objective": "time-to-target", "objective_s": seconds, "gain": 0.05}
    target = replace(data, plan=data.plan.model_copy(update=update))
    (tile,) = [one for one in tiles(target) if one.label == "Time to target"]
    assert tile.value == seconds
    assert tile.note == "20 rounds, as the pilots predict"
    assert "Time to progress" not in {one.label for one in tiles(target)}
    assert "Time to progress" in {one.label for one in tiles(data)}
