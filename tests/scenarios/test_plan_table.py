"""The clients of a large plan are columns beside it: the same plan, in far fewer bytes, and no less guarded."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hybridsplit.orchestrator.plan_file import read_plan
from hybridsplit.scenarios.contracts import plan as plan_module
from hybridsplit.scenarios.contracts.parquet import read_parquet, write_parquet
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.contracts.plan_table import PLAN_CLIENTS_SCHEMA_VERSION, table_beside, write_clients
from hybridsplit.scenarios.contracts.sealed import sealed
from hybridsplit.scenarios.errors import AlteredError, ContractError
from hybridsplit.solver.planner import make_plan
from hybridsplit.testing.instances import random_instance

KIND = "clients of a plan"


@pytest.fixture(autouse=True)
def _every_plan_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_module, "MOST_CLIENTS_IN_JSON", 0)


def planned(seed: int = 3, copies: int = 2, strategy: str = "optimal") -> Plan:
    instance = random_instance(seed, num_clients=6, copies=copies, num_options=6)
    return make_plan(instance.scenario, instance.table, strategy)


@given(seed=st.integers(0, 50), copies=st.sampled_from([1, 3]), strategy=st.sampled_from(["optimal", "time-shared"]))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_read_is_what_was_written(seed: int, copies: int, strategy: str, tmp_path: Path) -> None:
    plan = planned(seed, copies, strategy)
    plan.save(tmp_path / "p.json")
    assert json.loads((tmp_path / "p.json").read_text())["clients"]["number"] == len(plan.clients)
    read, scenario = read_plan(tmp_path / "p.json")
    assert read == plan
    assert read.document() == plan.document()
    assert scenario.num_clients == len(plan.clients)


def test_both_files_are_needed(tmp_path: Path) -> None:
    plan = planned()
    plan.save(tmp_path / "p.json")
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    (tmp_path / "p.json").rename(moved / "p.json")
    with pytest.raises(ContractError, match=r"p\.clients\.parquet: no such file; p\.json keeps its 6 clients in it"):
        Plan.load(moved / "p.json")
    table_beside(tmp_path / "p.json").rename(moved / "p.clients.parquet")
    assert Plan.load(moved / "p.json") == plan


@pytest.mark.parametrize("column", ["latency_s", "memory_budget_bytes", "phases_s.uplink", "id", "reason"])
def test_a_changed_table_is_refused_with_what_differs(column: str, tmp_path: Path) -> None:
    planned().save(tmp_path / "p.json")
    path = table_beside(tmp_path / "p.json")
    frame = read_parquet(path, KIND, PLAN_CLIENTS_SCHEMA_VERSION)
    if column in ("id", "reason"):
        frame[column] = frame[column].astype(object)
        frame.loc[1, column] = "another"
    else:
        frame.loc[1, column] = frame.loc[1, column] * 2 + 1
    write_parquet(frame, path, KIND, PLAN_CLIENTS_SCHEMA_VERSION)
    with pytest.raises(AlteredError, match=r"p\.clients\.parquet: was changed after it was written.*what was changed"):
        read_plan(tmp_path / "p.json")


def test_a_forged_digest_does_not_make_a_plan(tmp_path: Path) -> None:
    plan = planned()
    plan.save(tmp_path / "p.json")
    slower = plan.clients[0].model_copy(update={"latency_s": plan.clients[0].latency_s / 2})
    stated = write_clients((slower, *plan.clients[1:]), table_beside(tmp_path / "p.json"))
    document = json.loads((tmp_path / "p.json").read_text())
    (tmp_path / "p.json").write_text(json.dumps(sealed({**document, "clients": stated})))
    with pytest.raises(ContractError, match="latency_s is"):
        read_plan(tmp_path / "p.json")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"file": "../p.clients.parquet"}, "needs a list, or file, number and sha256"),
        ({"file": 3}, "needs a list, or file, number and sha256"),
        ({"number": 7}, "found 6 clients; needs 7"),
        ({"more": 1}, "needs a list, or file, number and sha256"),
        ({"sha256": "0"}, "was changed after it was written"),
    ],
)
def test_what_stands_for_the_table_is_checked(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    planned().save(tmp_path / "p.json")
    document = json.loads((tmp_path / "p.json").read_text())
    document["clients"] |= changes
    (tmp_path / "p.json").write_text(json.dumps(sealed(document)))
    with pytest.raises(ContractError, match=message):
        read_plan(tmp_path / "p.json")


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"id": ["a"]}),
        pd.DataFrame({"id": [1], "cut": [1]}),
        pd.DataFrame({"id": ["a"], "cut": ["one"], "phases_s.nowhere": [1.0]}),
        pd.DataFrame({"cut": [1]}),
        pd.DataFrame({"id": []}),
        pd.DataFrame({"id": ["a"], "cut": [[1, 2]]}),
    ],
)
def test_a_table_of_something_else_is_no_plan(frame: pd.DataFrame, tmp_path: Path) -> None:
    planned().save(tmp_path / "p.json")
    path = table_beside(tmp_path / "p.json")
    write_parquet(frame, path, KIND, PLAN_CLIENTS_SCHEMA_VERSION)
    document = json.loads((tmp_path / "p.json").read_text())
    for digest in (document["clients"]["sha256"], plan_facts(path)):
        stated = {**document["clients"], "number": len(frame), "sha256": digest}
        (tmp_path / "p.json").write_text(json.dumps(sealed({**document, "clients": stated})))
        with pytest.raises(ContractError):
            read_plan(tmp_path / "p.json")
    path.write_bytes(b"PAR1 is no table PAR1")
    with pytest.raises(ContractError, match="not a readable Parquet file"):
        read_plan(tmp_path / "p.json")


def plan_facts(path: Path) -> str:
    from hybridsplit.scenarios.contracts.manifest import FileFacts

    return FileFacts.of(path).sha256
