"""Whole runs with heads on the clients: the bits of two parts, of any executor, after a kill and after a stop."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from hybridsplit.profiler.options import profile_scenario
from hybridsplit.runtime.executors.inline import InlineExecutor
from hybridsplit.runtime.executors.ray import RayExecutor
from hybridsplit.runtime.run.rounds import TrainingResult, train
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.contracts.phases import HEAD_PHASES, Phase
from hybridsplit.scenarios.contracts.placement import Placement
from hybridsplit.scenarios.errors import ContractError
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.scenarios.schema import Scenario
from tests.runtime.faulty_workers import Fails

PLACES = [(1, "fo", 1), (2, "frozen", 2), (3, "fo-recompute", 1), (2, "fo", 0), (4, "fo", 2), (7, "fo", 0)]
MOMENTUM = '{"name": "sgd", "learning_rate": 0.05, "momentum": 0.9}'


def case(*more: str, heads: bool = True) -> tuple[Scenario, list[Assignment]]:
    """Six clients, most of them with the last one or two blocks."""
    modes = "training.modes=[fo,fo-recompute,frozen]"
    scenario = load_scenario("quickstart", ["training.head_blocks=[0,1,2]", "training.local_steps=2", modes, *more])
    size = scenario.training.batch_size
    return scenario, [
        Assignment(
            c.id, Placement(cut=cut, mode=mode, batch_size=size, head_blocks=head if heads else 0), c.data_weight,
            1 << 30,
        )
        for c, (cut, mode, head) in zip(scenario.expanded_clients(), PLACES, strict=True)
    ]  # fmt: skip


def assert_same_weights(one: TrainingResult, other: TrainingResult) -> None:
    assert one.state.keys() == other.state.keys()
    assert [name for name, tensor in one.state.items() if not torch.equal(tensor, other.state[name])] == []


def assert_same(one: TrainingResult, other: TrainingResult) -> None:
    assert_same_weights(one, other)
    assert one.records == other.records
    assert one.peak_bytes == other.peak_bytes
    columns = ["client", "round", "phase", "bytes"]
    assert one.measured.table[columns].equals(other.measured.table[columns])


@pytest.mark.parametrize("settings", [(), ("training.optimizer_state=keep", f"training.optimizer={MOMENTUM}")])
def test_a_run_has_the_bits_of_one_in_two_parts(settings: tuple[str, ...]) -> None:
    """Aggregation included: heads are averaged as the server copies of the same blocks are, by those who trained
    them."""
    results = []
    for heads in (True, False):
        scenario, assignments = case(*settings, heads=heads)
        with InlineExecutor(scenario) as executor:
            results.append(train(scenario, assignments, executor, 3))
    three, two = results
    assert_same_weights(three, two)
    assert [(r.train_loss, r.test_accuracy) for r in three.records] == [
        (r.train_loss, r.test_accuracy) for r in two.records
    ]
    assert three.records[-1].train_loss < three.records[0].train_loss


def test_measured_bytes_and_peaks_are_those_of_the_option_table() -> None:
    """Every phase of every client, to the byte, and no label among them; peaks within 0.3 %."""
    scenario, assignments = case()
    table = profile_scenario(scenario).table
    assert (table.loc[table["head_blocks"] > 0, "mode"]).isin(["fo", "fo-recompute", "frozen"]).all()
    with InlineExecutor(scenario) as executor:
        result = train(scenario, assignments, executor, 1)
    measured = result.measured.table
    for one in assignments:
        placed = one.placement
        rows = table[
            (table["client"] == one.client) & (table["cut"] == placed.cut) & (table["mode"] == placed.mode)
            & (table["head_blocks"] == placed.head_blocks)
        ]  # fmt: skip
        sizes = measured[measured["client"] == one.client].set_index("phase")["bytes"]
        assert set(HEAD_PHASES) <= set(sizes.index) if placed.head_blocks else not set(HEAD_PHASES) & set(sizes.index)
        if rows.empty:  # fo-recompute at a cut where it is no less than fo
            continue
        row = rows.iloc[0]
        head_up, head_down = row["head_gradient_bytes"], row["head_features_bytes"]
        assert sizes[Phase.MODEL_UPLOAD] == row["model_upload_bytes"]
        assert sizes[Phase.MODEL_DOWNLOAD] == row["model_download_bytes"]
        assert sizes[Phase.UPLINK] == row["uplink_bytes"] - row["model_upload_bytes"] - head_up
        assert sizes[Phase.DOWNLINK] == row["downlink_bytes"] - row["model_download_bytes"] - head_down
        if placed.head_blocks:
            assert sizes[Phase.HEAD_UPLINK] == head_up
            assert sizes[Phase.HEAD_DOWNLINK] == head_down > 0
        recompute = rows[rows["recompute"] == ""]
        if not recompute.empty:
            predicted = int(recompute.iloc[0]["client_peak_bytes"])
            assert result.peak_bytes[one.client] == pytest.approx(predicted, rel=0.003)


@pytest.mark.ray
@pytest.mark.slow
def test_ray_gives_the_bits_of_one_process_also_when_a_worker_dies(tmp_path: Path) -> None:
    scenario, assignments = case()
    with InlineExecutor(scenario) as executor:
        inline = train(scenario, assignments, executor, 2)
    with RayExecutor(scenario, 2) as cluster:
        assert_same(inline, train(scenario, assignments, cluster, 2))
    fails = Fails("killed", assignments[0].client, once=tmp_path / "killed")
    with RayExecutor(scenario, 2, make_worker=fails) as cluster:
        disturbed = train(scenario, assignments, cluster, 2)
    assert (tmp_path / "killed").exists()
    assert_same_weights(disturbed, inline)
    assert "a worker died" in disturbed.events[0]


def test_a_run_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    """With momentum that is kept, of client part, middle and head."""
    scenario, assignments = case("training.optimizer_state=keep", f"training.optimizer={MOMENTUM}")
    with InlineExecutor(scenario) as executor:
        whole = train(scenario, assignments, executor, 3)
    with InlineExecutor(scenario) as executor:
        train(scenario, assignments, executor, 1, checkpoint_folder=tmp_path)
    with InlineExecutor(scenario) as executor:
        resumed = train(scenario, assignments, executor, 3, checkpoint_folder=tmp_path, resume=True)
    assert resumed.records == whole.records
    assert_same_weights(resumed, whole)


def test_another_head_is_another_run(tmp_path: Path) -> None:
    """Head blocks are part of the placement, and of what a checkpoint must agree with."""
    scenario, (first, *others) = case()
    with InlineExecutor(scenario) as executor:
        train(scenario, [first, *others], executor, 1, checkpoint_folder=tmp_path)
    other = dataclasses.replace(first, placement=first.placement.model_copy(update={"head_blocks": 2}))
    with InlineExecutor(scenario) as executor, pytest.raises(ContractError, match="another scenario or plan"):
        train(scenario, [other, *others], executor, 2, checkpoint_folder=tmp_path, resume=True)
