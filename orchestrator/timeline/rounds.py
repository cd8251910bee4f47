"""The rounds of a replay as a table: how long, what was used, whom they waited for and what that client did."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hybridsplit.orchestrator.timeline.use import RESOURCES
from hybridsplit.scenarios.contracts.ledger import Ledger, Source
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

    from hybridsplit.runtime.replay.changing import PlanSequence

REPLAYED_ROUND_COLUMNS = (
    "round", "latency_s", "ends_s", "uplink_utilisation", "downlink_utilisation", "server_utilisation",
    "critical_client", "critical_phase", "critical_phase_s", "critical_is_waiting", "critical_waiting_s",
    "mean_barrier_wait_s", "late",
)  # fmt: skip
"""Of ``replay.parquet``. The critical client is the one that others wait for; its longest part follows."""


def replayed_rounds(plan: Plan, ledger: Ledger, followed: PlanSequence | None = None) -> pd.DataFrame:
    """Return one row a round of the replay, columns as in :data:`REPLAYED_ROUND_COLUMNS`.

    Where the plan could change, ``plan`` is the number of each round's plan, from 0.

    Parameters
    ----------
    plan, ledger
        The plan, and the ledger of its replay.
    followed
        The plans that rounds went by; the plan alone when None.
    """
    import numpy as np
    import pandas as pd

    replayed = ledger.of(Source.REPLAYED)
    rows = []
    clock_s = 0.0
    for number, of_round in replayed.groupby("round", sort=True):
        sign = np.where(of_round["phase"] == str(Phase.OVERLAPPED), -1.0, 1.0)
        elapsed_s = (sign * of_round["seconds"] + of_round["waiting_s"]).groupby(of_round["client"], sort=False).sum()
        latency_s = float(elapsed_s.max())
        clock_s += latency_s
        use = []
        in_use = plan if followed is None else followed.plan_of(int(str(number)))
        shares = {client.id: client for client in in_use.clients}
        for resource, phases in RESOURCES.items():
            served = of_round[of_round["phase"].isin([str(phase) for phase in phases])]
            share = served["client"].map({name: getattr(one, f"{resource}_share") for name, one in shares.items()})
            use.append(float((share * served["seconds"]).sum()) / latency_s if latency_s > 0 else 0.0)
        barrier = of_round[of_round["phase"] == str(Phase.BARRIER)].set_index("client")["waiting_s"]
        client = str(barrier.idxmin()) if len(barrier) else str(elapsed_s.idxmax())
        parts = sorted(_parts(of_round[of_round["client"] == client]), key=lambda part: -part[2])
        phase, is_waiting, seconds = parts[0] if parts else ("", False, 0.0)
        waits_s = sum(part[2] for part in parts if part[1])
        barrier_s = float(barrier.mean()) if len(barrier) else 0.0
        late = ", ".join(sorted(of_round.loc[of_round["phase"] == str(Phase.ABANDONED), "client"]))
        rows.append(
            (int(str(number)), latency_s, clock_s, *use, client, phase, seconds, is_waiting, waits_s, barrier_s, late)
        )
    table = pd.DataFrame(rows, columns=list(REPLAYED_ROUND_COLUMNS))
    return table if followed is None else table.assign(plan=list(followed.of_round))


def _parts(of_client: pd.DataFrame) -> Iterator[tuple[str, bool, float]]:
    """Yield what a client's round is made of but for the barrier: phase, whether it waited, seconds."""
    for phase, seconds, waiting_s in zip(of_client["phase"], of_client["seconds"], of_client["waiting_s"], strict=True):
        if phase not in (str(Phase.BARRIER), str(Phase.OVERLAPPED)):
            yield str(phase), False, float(seconds)
            yield str(phase), True, float(waiting_s)


def latency_of(rounds: pd.DataFrame, number: int) -> float:
    """Return the latency of a round, s.

    Parameters
    ----------
    rounds
        As :func:`replayed_rounds` gives them.
    number
        The round, from 0.
    """
    return float(rounds.loc[rounds["round"] == number, "latency_s"].iloc[0])


def typical_round(rounds: pd.DataFrame) -> int:
    """Return the round whose latency is the median one.

    Parameters
    ----------
    rounds
        As :func:`replayed_rounds` gives them; at least one.
    """
    ordered = rounds.sort_values("latency_s", kind="stable")["round"].tolist()
    return int(ordered[(len(ordered) - 1) // 2])


def chosen_round(rounds: pd.DataFrame, wanted: int | None) -> int:
    """Return the round to be shown.

    Parameters
    ----------
    rounds
        As :func:`replayed_rounds` gives them; at least one.
    wanted
        The round that was asked for, from 0; the typical one when None.

    Raises
    ------
    UsageError
        If there is no such round.
    """
    if wanted is None:
        return typical_round(rounds)
    numbers = rounds["round"].tolist()
    if wanted not in numbers:
        raise UsageError(f"--round {wanted}: no such round; needs one from {min(numbers)} to {max(numbers)}")
    return wanted
