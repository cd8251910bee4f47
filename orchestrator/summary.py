"""Final figures of a run: ``summary.json``, and the tables it is made from."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from hybridsplit.orchestrator.ledger_sums import LedgerSums
from hybridsplit.orchestrator.recordings import latencies_line, spread
from hybridsplit.orchestrator.run_folder import ROUND_COLUMNS
from hybridsplit.runtime.replay import Replay
from hybridsplit.scenarios.contracts.disciplines import Disciplines
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.contracts.summary import Summary, scores_of
from hybridsplit.scenarios.scores import score_in
from hybridsplit.scenarios.units import counted, format_seconds

if TYPE_CHECKING:
    import pandas as pd

    from hybridsplit.runtime.replay.changing import PlanSequence
    from hybridsplit.runtime.run.records import RoundRecord


def summarise(
    plan: Plan,
    sums: LedgerSums,
    rounds: pd.DataFrame | None,
    control: pd.DataFrame | None,
    peak_bytes: dict[str, int],
    distinct_windows: int | None = None,
    memory: str = "",
    disciplines: Disciplines | None = None,
) -> Summary:
    """Return the final (not best) figures, planned beside replayed beside measured.

    Parameters
    ----------
    plan, sums
        The plan, and the ledger of all sources.
    rounds, control
        One row a round, of the run and of the frozen control; None where there was none.
    peak_bytes
        Measured peaks by client.
    distinct_windows
        Rounds that the shortest recording holds without overlap; None where links are constant.
    memory
        What there is to say of clients whose memory moved; empty where it did not.
    disciplines
        By what was served; None where all was by the plan.

    Raises
    ------
    ValueError
        If no round was replayed.
    """
    in_order_s = list(sums.latencies_s)
    num_rounds = len(in_order_s)
    if num_rounds == 0:
        raise ValueError("found no replayed rounds; needs at least one")
    simulated_s = math.fsum(in_order_s)
    score = score_in(plan.scenario)
    reached = None if rounds is None or rounds.empty else float(rounds[score.column].iloc[-1])
    frozen = None if control is None else float(control[score.column].iloc[-1])
    notes = list(plan.notes)
    if reached is not None and frozen is not None:
        notes.append(
            f"Training the client parts brought {score.text(reached)} test {score.label} after "
            f"{counted(num_rounds, 'round')}; with all of them frozen the same rounds bring {score.text(frozen)}."
        )
    seen, words = _data_seen(plan, sums)
    notes += [*words, memory] if memory else words
    if disciplines is not None:
        notes.append(f"{discipline_line(disciplines)}.")
    latencies = None if distinct_windows is None else spread(in_order_s, distinct_windows, _seed_of(plan))
    if latencies is not None:
        line = latencies_line(latencies, num_rounds)
        notes.append(f"{line[0].upper()}{line[1:]}.")
    return Summary(
        scenario=plan.scenario["name"],
        scenario_hash=plan.scenario_hash,
        strategy=plan.strategy,
        status=str(plan.status),
        gap=plan.gap,
        num_rounds=num_rounds,
        round_latency_planned_s=plan.round_latency_s,
        round_latency_replayed_s=simulated_s / num_rounds,
        round_latencies=latencies,
        disciplines=disciplines,
        data_seen=seen,
        simulated_s=simulated_s,
        **scores_of(score, reached, frozen),
        bytes=bytes_by_source(sums),
        bytes_agree=sums.bytes_agree,
        peak_bytes=peak_bytes,
        within_budget=all(peak_bytes.get(c.id, 0) <= c.memory_budget_bytes for c in plan.clients),
        notes=tuple(notes),
    )


def discipline_line(disciplines: Disciplines) -> str:
    """Return in one line what was not served by the plan, and what waiting then is.

    Parameters
    ----------
    disciplines
        By what was served.
    """
    return (
        f"Replayed with {disciplines}: seconds of a phase are those of the whole resource that were used, and what it "
        "took beyond them is waiting"
    )


_NAMED = 3


def _data_seen(plan: Plan, sums: LedgerSums) -> tuple[float | None, list[str]]:
    """Return the share of the data that was in time, mean over rounds, and words; None where nobody can be late."""
    if plan.deadline_s is None and not sums.late:
        return None, []
    weight = {client.id: client.data_weight for client in plan.clients}
    lost = math.fsum(weight[name] * count for name, count in sums.late.items())
    seen = 1.0 - lost / math.fsum(weight[name] * count for name, count in sums.rounds_of.items())
    if plan.deadline_s is not None and not sums.late:
        return seen, [f"Nobody was late: every client was done within {format_seconds(plan.deadline_s)}."]
    most = sorted(sums.late.items(), key=lambda one: (-one[1], one[0]))
    named = ", ".join(f"{name} in {counted(count, 'round')}" for name, count in most[:_NAMED])
    more = f" and {len(most) - _NAMED:,} others" if len(most) > _NAMED else ""
    times = counted(sum(sums.late.values()), "time")
    if plan.deadline_s is None:
        return seen, [f"Left {times} for want of memory ({named}{more}): {seen:.1%} of the data was seen."]
    text = (
        f"Late {times} ({named}{more}): rounds went on after {format_seconds(plan.deadline_s)}, and {seen:.1%} of the "
        "data was seen."
    )
    return seen, [text]


def _seed_of(plan: Plan) -> int:
    return int(plan.scenario.get("seed", 0))


def bytes_by_source(sums: LedgerSums) -> dict[str, dict[str, int]]:
    """Total bytes by source and phase, zero phases left out."""
    result: dict[str, dict[str, int]] = {}
    for (source, phase), found in sorted(sums.of.items()):
        if found.bytes and phase is not Phase.BARRIER:
            result.setdefault(str(source), {})[str(phase)] = found.bytes
    return result


def round_ends_s(replayed: Replay) -> list[float]:
    """Return the replay's clock at the end of every round."""
    ends: list[float] = []
    clock_s = 0.0
    for latency_s in replayed.round_latency_s:
        clock_s += latency_s
        ends.append(clock_s)
    return ends


def rounds_table(records: Iterable[RoundRecord], followed: PlanSequence | None = None) -> pd.DataFrame:
    """Return metrics, one row a round; with the number of its plan, from 0, where the plan could change."""
    import pandas as pd

    rows = [record.row() for record in records]
    table = pd.DataFrame(rows, columns=list(rows[0] if rows else ROUND_COLUMNS))
    return table if followed is None else table.assign(plan=list(followed.of_round))
