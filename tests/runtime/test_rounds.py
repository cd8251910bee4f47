"""The training loop: executors agree to the bit, runs resume to the same bits, budgets are enforced."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from hybridsplit.runtime.executors.base import Executor, RoundTask
from hybridsplit.runtime.executors.inline import InlineExecutor, InlineState
from hybridsplit.runtime.executors.ray import RayExecutor
from hybridsplit.runtime.executors.state_files import load_states
from hybridsplit.runtime.run.assignments import plan_fingerprint
from hybridsplit.runtime.run.checkpoint import load_checkpoint
from hybridsplit.runtime.run.rounds import TrainingResult, train
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.contracts.ledger import Ledger
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.contracts.placement import Placement
from hybridsplit.scenarios.contracts.sealed import DIGEST, sealed
from hybridsplit.scenarios.errors import (
    BudgetExceededError,
    ContractError,
    HybridSplitError,
    Notice,
    RunError,
    ScenarioError,
    UsageError,
)
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.scenarios.schema import Scenario
from tests.tiers import one_of

OPTIONS = [
    (1, Mode.FO),
    (2, Mode.ZO_PROJECTION),
    (3, Mode.FO_RECOMPUTE),
    (4, Mode.ZO_LOSS),
    (2, Mode.FROZEN),
    (7, Mode.FO),
]


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return load_scenario("quickstart", ["training.local_steps=2", "training.zeroth_order.directions=2"])


@pytest.fixture(scope="module")
def assignments(scenario: Scenario) -> list[Assignment]:
    clients = scenario.expanded_clients()
    return [
        Assignment(c.id, Placement(cut=cut, mode=mode, batch_size=scenario.training.batch_size), c.data_weight, 1 << 30)
        for c, (cut, mode) in zip(clients, OPTIONS, strict=True)
    ]


@pytest.fixture(scope="module")
def reference(scenario: Scenario, assignments: list[Assignment]) -> TrainingResult:
    with InlineExecutor(scenario) as executor:
        return train(scenario, assignments, executor, 3)


def assert_same(one: TrainingResult, other: TrainingResult) -> None:
    assert one.records == other.records
    assert one.peak_bytes == other.peak_bytes
    for name, tensor in one.state.items():
        assert torch.equal(tensor, other.state[name]), name
    columns = ["client", "round", "phase", "bytes"]
    assert one.measured.table[columns].equals(other.measured.table[columns])


def test_inline_repeats_to_the_bit(
    scenario: Scenario, assignments: list[Assignment], reference: TrainingResult
) -> None:
    threads = torch.get_num_threads()
    with InlineExecutor(scenario) as executor:
        again = train(scenario, assignments, executor, 3)
    assert_same(reference, again)
    assert torch.get_num_threads() == threads


@pytest.mark.ray
@pytest.mark.parametrize("num_workers", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_ray_gives_the_same_bits(
    scenario: Scenario,
    assignments: list[Assignment],
    reference: TrainingResult,
    num_workers: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A user's own module of the same name in the working directory must not replace ours in the workers.
    (tmp_path / "runtime.py").write_text("raise ImportError('the user\\'s own runtime.py')\n")
    monkeypatch.chdir(tmp_path)
    with RayExecutor(scenario, num_workers) as executor:
        result = train(scenario, assignments, executor, 3)
    assert Path.cwd() == tmp_path
    assert_same(reference, result)


@pytest.mark.slow
@pytest.mark.ray
def test_errors_of_workers_keep_their_type(scenario: Scenario, assignments: list[Assignment]) -> None:
    broken = scenario.model_copy(update={"training": scenario.training.model_copy(update={"batch_size": 500})})
    with pytest.raises(ScenarioError, match="needs at least one batch of 500"), RayExecutor(broken, 1) as executor:
        train(broken, assignments, executor, 1)


def test_one_executor_serves_several_runs(
    scenario: Scenario, assignments: list[Assignment], reference: TrainingResult
) -> None:
    """The control starts from the same weights as the run before it."""
    with InlineExecutor(scenario) as executor:
        train(scenario, assignments, executor, 1)
        assert_same(reference, train(scenario, assignments, executor, 3))


def test_training_improves_and_measures(reference: TrainingResult, assignments: list[Assignment]) -> None:
    losses = [record.train_loss for record in reference.records]
    assert losses[-1] < losses[0]
    assert [record.simulated_s for record in reference.records] == [1.0, 2.0, 3.0]
    assert set(reference.peak_bytes) == {a.client for a in assignments}
    assert all(size > 0 for size in reference.peak_bytes.values())


class Stops(Exception):
    """A kill, as far as the training loop can tell."""


def killed_at(round_index: int, executor: Executor[Any]) -> Executor[Any]:
    original = executor.train_round

    def train_round(handle: Any, task: RoundTask) -> Any:
        if task.round == round_index:
            raise Stops
        return original(handle, task)

    executor.train_round = train_round  # type: ignore[method-assign]
    return executor


@pytest.mark.parametrize("killed", [1, 2])
def test_resume_continues_to_the_same_bits(
    scenario: Scenario, assignments: list[Assignment], reference: TrainingResult, tmp_path: Path, killed: int
) -> None:
    with InlineExecutor(scenario) as executor, pytest.raises(Stops):
        train(scenario, assignments, killed_at(killed, executor), 3, checkpoint_folder=tmp_path)
    with InlineExecutor(scenario) as executor:
        resumed = train(scenario, assignments, executor, 3, checkpoint_folder=tmp_path, resume=True)
    assert_same(reference, resumed)
    with InlineExecutor(scenario) as executor:
        finished = train(scenario, assignments, executor, 3, checkpoint_folder=tmp_path, resume=True)
    assert finished.records == reference.records


class Eventful(InlineExecutor):
    """Something happens to it in every evaluation."""

    _happened: tuple[str, ...] = ()

    def evaluate(self, handle: InlineState) -> float:
        self._happened += ("evaluated",)
        return super().evaluate(handle)

    def take_events(self) -> tuple[str, ...]:
        events, self._happened = self._happened, ()
        return events


def test_what_happened_is_kept_over_a_resume(scenario: Scenario, assignments: list[Assignment], tmp_path: Path) -> None:
    for rounds in (1, 3):
        with Eventful(scenario) as executor:
            result = train(scenario, assignments, executor, rounds, checkpoint_folder=tmp_path, resume=rounds > 1)
        assert result.events == ("evaluated",) * rounds


def test_a_new_run_in_an_old_folder_keeps_its_own_checkpoints(
    scenario: Scenario, assignments: list[Assignment], tmp_path: Path
) -> None:
    with InlineExecutor(scenario) as executor:
        for rounds in (3, 1):
            train(scenario, assignments, executor, rounds, checkpoint_folder=tmp_path)
        result = train(scenario, assignments, executor, 2, checkpoint_folder=tmp_path, resume=True)
    assert len(result.records) == 2
    assert sorted(path.name for path in tmp_path.glob("round-*")) == ["round-000001", "round-000002"]


def test_fewer_rounds_than_done_are_refused(
    checkpointed: Path, scenario: Scenario, assignments: list[Assignment]
) -> None:
    with InlineExecutor(scenario) as executor, pytest.raises(UsageError, match="has 1 round already"):
        train(scenario, assignments, executor, 0, checkpoint_folder=checkpointed, resume=True)


@pytest.fixture
def checkpointed(scenario: Scenario, assignments: list[Assignment], tmp_path: Path) -> Iterator[Path]:
    with InlineExecutor(scenario) as executor:
        train(scenario, assignments, executor, 1, checkpoint_folder=tmp_path)
    return tmp_path


def test_another_plan_is_refused(checkpointed: Path, scenario: Scenario, assignments: list[Assignment]) -> None:
    other = [assignments[0], *assignments[2:]]
    with pytest.raises(ContractError, match="another scenario or plan"):
        load_checkpoint(checkpointed, plan_fingerprint(scenario, other), load_states)


@pytest.mark.parametrize(
    "victim",
    ["round-000001/checkpoint.json", "round-000001/state.safetensors", "round-000001/measured.parquet"],
)
@pytest.mark.parametrize("damage", one_of(3, ["garbage", "truncate", "remove"]))
def test_damaged_checkpoints_are_refused_with_the_reason(
    checkpointed: Path, scenario: Scenario, assignments: list[Assignment], victim: str, damage: str
) -> None:
    path = checkpointed / victim
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:20] if damage == "truncate" else b"\x80\x04garbage")
    fingerprint = plan_fingerprint(scenario, assignments)
    with pytest.raises(ContractError, match="damaged"):
        load_checkpoint(checkpointed, fingerprint, load_states)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"averaged": None}, "averaged"),
        ({"averaged": [{"round": "0", "coefficients": [[0.5]]}]}, r"averaged\.0\.round"),
        (
            {"faults": [{"client": "pi4-0", "round": 0, "kind": "hangs", "observed": "", "leaves": 1}]},
            r"faults\.0\.leaves",
        ),
        ({"peak_bytes": {"pi4-0": "much"}}, r"peak_bytes\.pi4-0"),
        ({"records": [{"round": 5, "simulated_s": 1.0, "train_loss": 1.0, "test_score": 0.5}]}, "rounds 0, 1"),
        ({"faults": [{"client": "pi4-0", "round": 0, "kind": "tired", "observed": ""}]}, r"faults\.0\.kind"),
        ({"last_round": {}}, "last_round"),
        ({"schema_version": 2}, "schema version 2, written by .*; needs version 7"),
    ],
)
def test_wrong_entries_of_a_checkpoint_are_named(
    checkpointed: Path, scenario: Scenario, assignments: list[Assignment], change: dict[str, Any], said: str
) -> None:
    path = checkpointed / "round-000001" / "checkpoint.json"
    facts = {key: value for key, value in json.loads(path.read_text()).items() if key != "digest"}
    path.write_text(json.dumps(sealed(facts | change)))
    with InlineExecutor(scenario) as executor, pytest.raises(ContractError, match=f"damaged.*{said}"):
        train(scenario, assignments, executor, 2, checkpoint_folder=checkpointed, resume=True)


@pytest.mark.parametrize("name", ["state.safetensors", "optimizers.safetensors"])
def test_states_of_another_run_are_refused(
    checkpointed: Path, scenario: Scenario, assignments: list[Assignment], name: str
) -> None:
    save_file({"blocks.0.weight": torch.zeros(1)}, checkpointed / "round-000001" / name)
    with pytest.raises(ContractError, match=f"damaged.*{name}: not as this checkpoint was written"):
        load_checkpoint(checkpointed, plan_fingerprint(scenario, assignments), load_states)


def test_a_pointer_cannot_leave_the_folder(
    checkpointed: Path, scenario: Scenario, assignments: list[Assignment]
) -> None:
    (checkpointed / "latest.json").write_text(json.dumps({"latest": "../elsewhere"}))
    with pytest.warns(Notice, match="latest.json: it names no round"):
        found = load_checkpoint(checkpointed, plan_fingerprint(scenario, assignments), load_states)
    assert found is not None
    assert len(found[0].records) == 1


@pytest.mark.parametrize("number", [-1, 10**400])
def test_a_count_of_bytes_that_is_none_is_damage(
    tmp_path: Path, scenario: Scenario, assignments: list[Assignment], number: int
) -> None:
    with InlineExecutor(scenario) as executor:
        train(scenario, assignments, executor, 2, checkpoint_folder=tmp_path)
        file = tmp_path / "round-000002" / "checkpoint.json"
        document = json.loads(file.read_text(encoding="utf-8"))
        document["peak_bytes"] = dict.fromkeys(document["peak_bytes"], number)
        file.write_text(json.dumps(sealed({k: v for k, v in document.items() if k != DIGEST})), encoding="utf-8")
        with pytest.warns(Notice, match=r"newest intact checkpoint \(round-000002: "):
            train(scenario, assignments, executor, 2, checkpoint_folder=tmp_path, resume=True)


def damage_of(path: Path, kind: str) -> None:
    content = path.read_bytes()
    if kind == "remove":
        path.unlink()
    elif kind == "bit":
        path.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    else:
        path.write_bytes(content[:20])


@pytest.mark.parametrize("name", ["checkpoint.json", "state.safetensors", "measured.parquet"])
@pytest.mark.parametrize("kind", ["remove", "bit", pytest.param("truncate", marks=pytest.mark.slow)])
def test_where_the_newest_checkpoint_is_damaged_the_one_before_it_is_used(
    tmp_path: Path, scenario: Scenario, assignments: list[Assignment], reference: TrainingResult, name: str, kind: str
) -> None:
    with InlineExecutor(scenario) as executor:
        train(scenario, assignments, executor, 2, checkpoint_folder=tmp_path)
        damage_of(tmp_path / "round-000002" / name, kind)
        with pytest.warns(Notice, match=r"resumed from round-000001, the newest intact checkpoint \(round-000002: "):
            resumed = train(
                scenario, assignments, executor, len(reference.records), checkpoint_folder=tmp_path, resume=True
            )
    assert resumed.records == reference.records
    assert all(torch.equal(tensor, resumed.state[key]) for key, tensor in reference.state.items())
    assert any("round-000002" in event for event in resumed.events)


def test_records_of_an_earlier_round_do_not_go_on_from_later_weights(
    tmp_path: Path, scenario: Scenario, assignments: list[Assignment], reference: TrainingResult
) -> None:
    """With the last record cut out and the digest taken again, the round is not trained twice."""
    with InlineExecutor(scenario) as executor:
        train(scenario, assignments, executor, 2, checkpoint_folder=tmp_path)
        path = tmp_path / "round-000002" / "checkpoint.json"
        document = json.loads(path.read_text())
        fewer = {name: [one for one in document[name] if one["round"] == 0] for name in ("records", "clients")}
        path.write_text(json.dumps(sealed(document | fewer)))
        with pytest.warns(Notice, match="its records are not those"):
            resumed = train(
                scenario, assignments, executor, len(reference.records), checkpoint_folder=tmp_path, resume=True
            )
    assert resumed.records == reference.records


def test_unwritable_checkpoints_say_so(scenario: Scenario, assignments: list[Assignment], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with InlineExecutor(scenario) as executor, pytest.raises(RunError, match="cannot write the checkpoint"):
        train(scenario, assignments, executor, 1, checkpoint_folder=tmp_path / "file")


def test_a_client_over_budget_stops_the_run_by_name(scenario: Scenario, assignments: list[Assignment]) -> None:
    tight = [
        Assignment(a.client, a.placement, a.data_weight, 100_000 if a.client == "pi5-0" else 1 << 30)
        for a in assignments
    ]
    with InlineExecutor(scenario) as executor, pytest.raises(BudgetExceededError) as caught:
        train(scenario, tight, executor, 1)
    assert "client pi5-0: fo-recompute at cut 3" in str(caught.value)
    assert "97.66 KiB" in str(caught.value)
    assert isinstance(caught.value, HybridSplitError)


def test_measured_ledger_marks_seconds_as_emulated(reference: TrainingResult) -> None:
    table = reference.measured.table
    assert isinstance(reference.measured, Ledger)
    assert table["emulated"].all()
    assert table["round"].nunique() == 3
