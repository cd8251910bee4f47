"""Options whose recompute order follows the memory there is: the ladders of clients with a recording of memory.

Of a ladder the table has what a round takes on average: the seconds of the level that each moment's memory allows,
over the whole recording, and the time below the leanest level (docs/methods/costs.md, Memory that moves). Steps that
begin at one moment and end at another are the replay's business.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from hybridsplit.profiler.profiles import BatchProfile, Choice
from hybridsplit.scenarios.contracts.ladder import LADDER, Fall, LadderLevel, ladder_of, ladder_text
from hybridsplit.scenarios.modes import MODES
from hybridsplit.scenarios.modes.passes import BlockSeconds
from hybridsplit.scenarios.schema import Client, Scenario, ZerothOrder
from hybridsplit.scenarios.units import bits

if TYPE_CHECKING:
    from hybridsplit.runtime.replay.memory_trace import MemoryTrace

LEVEL = "level"
"""Column of rows in the making that holds a row's level; None for modes without recompute orders."""


def level_of(
    choice: Choice,
    profile: BatchProfile,
    clock: BlockSeconds,
    zeroth_order: ZerothOrder,
    peak_bytes: int,
    step_s: float,
) -> LadderLevel | None:
    """Return a choice as a level of a ladder; None where it has no recompute order, or the head beside it.

    Parameters
    ----------
    choice, profile
        The choice, and what it costs on no device in particular.
    clock, zeroth_order
        Passes on the device.
    peak_bytes, step_s
        Peak of the choice on the device, and seconds of a step.
    """
    if choice not in profile.forwards or choice.head_blocks:
        return None
    mode = MODES[choice.mode]
    # The profile knows peaks after a drop in live tensor bytes; another count has other peaks, and no falls.
    counts_live_bytes = profile.client_peak_bytes[choice] == peak_bytes
    falls = [
        Fall(
            recompute=fall.recompute,
            peak_bytes=fall.peak_bytes,
            step_s=mode.client_step_s(clock, choice.cut, zeroth_order, fall.forwards),
        )
        for fall in (profile.falls.get(choice, ()) if counts_live_bytes else ())
    ]
    falls.sort(key=lambda fall: (fall.step_s, fall.peak_bytes))
    return LadderLevel(recompute=choice.recompute, peak_bytes=peak_bytes, step_s=step_s, falls=tuple(falls))


def with_ladders(
    own: pd.DataFrame, rows: pd.DataFrame, memory: MemoryTrace, client: Client, num_clients: int, scenario: Scenario
) -> pd.DataFrame:
    """Return the rows of a client with a ladder for each cut and batch size that has levels.

    Parameters
    ----------
    own
        The client's rows without ladders.
    rows
        All rows of its device, which the levels are taken from.
    memory
        Its memory over time.
    client, num_clients
        The client, and how many share radio and server with it.
    scenario
        Steps of a round, and the radio.
    """
    steps = scenario.training.local_steps
    skips = client.memory is not None and client.memory.below_floor == "skip"
    found: list[dict[str, object]] = []
    columns = [name for name in own.columns if name in rows.columns]
    for _, of_cut in rows[rows[LEVEL].notna()].groupby(["cut", "batch_size"], sort=False):
        levels = ladder_of(of_cut[LEVEL].tolist())
        fastest = of_cut.iloc[[level.recompute for level in of_cut[LEVEL]].index(levels[0].recompute)]
        base = {str(name): value for name, value in fastest[columns].items()}
        elsewhere_s = _elsewhere_s(fastest, client, num_clients, scenario)
        found.append(base | _costs(levels, base, memory, steps, elsewhere_s, skips=skips))
    if not found:
        return own
    ladders = pd.DataFrame(found).assign(memory_budget_bytes=own["memory_budget_bytes"].iloc[0])
    return pd.concat([own, ladders], ignore_index=True)


def _elsewhere_s(row: pd.Series, client: Client, num_clients: int, scenario: Scenario) -> float:
    """Return the seconds of a round that are not the device's, at an equal share of everything: before there is a plan.

    They only tell how much of the recording a round meets, and enter no cost.
    """
    from hybridsplit.runtime.replay.links import downlink_rate_bps, uplink_rate_bps  # late: few scenarios come here

    share = 1.0 / num_clients
    up_bps = uplink_rate_bps(client.link, scenario.radio, share)
    down_bps = downlink_rate_bps(client.link, scenario.radio, share)
    return (
        bits(row["uplink_bytes"]) / up_bps
        + bits(row["downlink_bytes"]) / down_bps
        + (num_clients * float(row["server_compute_s"]))
    )


def _costs(
    levels: Sequence[LadderLevel],
    base: dict[str, object],
    memory: MemoryTrace,
    local_steps: int,
    elsewhere_s: float,
    *,
    skips: bool,
) -> dict[str, object]:
    """Return what a ladder costs in other columns than its fastest level."""
    floor_bytes = levels[-1].peak_bytes
    fits = floor_bytes <= memory.most_bytes
    below_s = memory.below_s(floor_bytes) if fits else []
    above_s = memory.duration_s - math.fsum(below_s)
    compute_s = local_steps * (mean_step_s(levels, memory) if fits else levels[-1].step_s)
    wait_s = 0.0
    if not skips:
        wait_s = expected_wait_s(below_s, memory.duration_s, compute_s + elsewhere_s, PARTS_OF_STEP * local_steps)
    fastest_s, energy_j, progress = (float(str(base[name])) for name in _SCALED)
    return {
        "recompute": LADDER,
        "client_compute_s": compute_s + wait_s,
        "client_peak_bytes": floor_bytes,
        "client_energy_j": energy_j * compute_s / fastest_s if fastest_s > 0 else energy_j,
        "progress": progress * (above_s / memory.duration_s if skips and fits else 1.0),
        "fits": fits,
        "levels": ladder_text(levels),
    }


_SCALED = ("client_compute_s", "client_energy_j", "progress")
PARTS_OF_STEP = 2
"""Parts of a step that each need memory: before the exchange and after it."""


def mean_step_s(levels: Sequence[LadderLevel], memory: MemoryTrace) -> float:
    """Return the mean seconds of a step over the times that allow one.

    Parameters
    ----------
    levels
        The fastest first.
    memory
        With enough for the last of them at some time.
    """
    spent = [
        (duration_s, next(level.step_s for level in levels if level.peak_bytes <= size))
        for duration_s, size in zip(memory.durations_s, memory.budget_bytes, strict=True)
        if size >= levels[-1].peak_bytes
    ]
    return math.fsum(seconds * step_s for seconds, step_s in spent) / math.fsum(seconds for seconds, _ in spent)


def expected_wait_s(below_s: Sequence[float], duration_s: float, active_s: float, num_parts: int) -> float:
    """Return how long a round that begins at any time waits for memory, on average.

    Where times of too little are long, it waits half of one if it begins in it, and meets others at the rate at which
    they come while it goes on. Where they are short, each part of a step waits as if it came at any time. The smaller
    figure is the one that holds.

    Parameters
    ----------
    below_s
        Lengths of the times with too little memory in a period.
    duration_s
        The period.
    active_s
        Seconds of the round itself.
    num_parts
        Parts of its steps that need memory.
    """
    total_s = math.fsum(below_s)
    if total_s == 0:
        return 0.0
    at_any_time_s = math.fsum(seconds * seconds for seconds in below_s) / (2 * duration_s)
    return min(num_parts * at_any_time_s, at_any_time_s + active_s * total_s / (duration_s - total_s))
