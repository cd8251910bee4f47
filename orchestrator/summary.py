"""Final figures of a run: ``summary.json``, and the tables it is made from."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pandas as pd

from hybridsplit.orchestrator.run_folder import ROUND_COLUMNS
from hybridsplit.runtime.replay import Replay
from hybridsplit.scenarios.contracts.ledger import Ledger, Source
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.plan import Plan

if TYPE_CHECKING:
    from hybridsplit.runtime.run.checkpoint import RoundRecord


def summarise(
    plan: Plan,
    ledger: Ledger,
    rounds: pd.DataFrame | None,
    control: pd.DataFrame | None,
    peak_bytes: dict[str, int],
    left_out: Collection[tuple[str, int]] = (),
) -> dict[str, Any]:
    """Return the document of ``summary.json``: final (not best) figures, planned beside replayed beside measured.

    Parameters
    ----------
    plan, ledger
        The plan, and the entries of all sources.
    rounds, control
        One row a round, of the run and of the frozen control; None where there was none.
    peak_bytes
        Measured peaks by client.
    left_out
        Clients and rounds whose training did not count.
    """
    replayed = ledger.of(Source.REPLAYED)
    num_rounds = int(replayed["round"].max()) + 1
    first = replayed[(replayed["round"] == 0)]
    elapsed = first["seconds"] + first["waiting_s"]
    replayed_s = float(elapsed.groupby(first["client"]).sum().max())
    totals = bytes_by_source(ledger)
    accuracy = None if rounds is None or rounds.empty else float(rounds["test_accuracy"].iloc[-1])
    frozen = None if control is None else float(control["test_accuracy"].iloc[-1])
    notes = list(plan.notes)
    if accuracy is not None and frozen is not None:
        notes.append(
            f"Training the client parts brought {accuracy:.1%} test accuracy after {num_rounds} rounds; "
            f"with all of them frozen the same rounds bring {frozen:.1%}."
        )
    return {
        "schema_version": 1,
        "scenario": plan.scenario["name"],
        "scenario_hash": plan.scenario_hash,
        "strategy": plan.strategy,
        "status": str(plan.status),
        "gap": plan.gap,
        "num_rounds": num_rounds,
        "round_latency_planned_s": plan.round_latency_s,
        "round_latency_replayed_s": replayed_s,
        "simulated_s": _simulated_s(replayed),
        "test_accuracy": accuracy,
        "frozen_control_accuracy": frozen,
        "bytes": totals,
        "bytes_agree": bytes_agree(ledger, left_out),
        "peak_bytes": peak_bytes,
        "within_budget": all(peak_bytes.get(c.id, 0) <= c.memory_budget_bytes for c in plan.clients),
        "notes": notes,
    }


def bytes_by_source(ledger: Ledger) -> dict[str, dict[str, int]]:
    """Total bytes by source and phase, zero phases left out."""
    totals = ledger.table.groupby(["source", "phase"])["bytes"].sum()
    result: dict[str, dict[str, int]] = {}
    for source, phase, size in totals.reset_index().itertuples(index=False):
        if size and phase != Phase.BARRIER:
            result.setdefault(str(source), {})[str(phase)] = int(size)
    return result


def bytes_agree(ledger: Ledger, left_out: Collection[tuple[str, int]] = ()) -> bool:
    """Whether all sources count the same bytes, by client, round and phase.

    Parameters
    ----------
    ledger
        Of all sources.
    left_out
        Clients and rounds in which their training did not count, so that nothing was measured: they are not compared.
        Those who have left are in no source's later rounds.
    """
    sent = ledger.table[ledger.table["phase"] != str(Phase.BARRIER)]
    sent = sent[~pd.MultiIndex.from_frame(sent[["client", "round"]]).isin(list(left_out))]
    by_source = sent.pivot_table(
        "bytes", ["client", "round", "phase"], "source", aggfunc="sum", fill_value=0, observed=True
    )
    return bool(by_source.nunique(axis=1).le(1).all())


def _simulated_s(replayed: pd.DataFrame) -> float:
    elapsed = (replayed["seconds"] + replayed["waiting_s"]).groupby([replayed["client"], replayed["round"]]).sum()
    return float(elapsed.groupby(level="round").max().sum())


def round_ends_s(replayed: Replay) -> list[float]:
    """Return the replay's clock at the end of every round."""
    ends: list[float] = []
    clock_s = 0.0
    for latency_s in replayed.round_latency_s:
        clock_s += latency_s
        ends.append(clock_s)
    return ends


def rounds_table(records: Iterable[RoundRecord]) -> pd.DataFrame:
    """Return metrics, one row a round."""
    return pd.DataFrame([asdict(record) for record in records], columns=list(ROUND_COLUMNS))
