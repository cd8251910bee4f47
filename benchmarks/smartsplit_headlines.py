"""SmartSplit's headlines on our ground: how much memory and how much of the slowest client's latency a split saves.

Run: ``python -m benchmarks.smartsplit_headlines``. The paper (Wu et al., arXiv 2410.11577) states up to 94 % lower peak
latency and 100 times less memory; against what, on which devices, models and data is not known to us. So nothing here
reproduces these figures: each line prints a ratio with its definition, on quickstart and smart-home with exact modes
and twice the scenarios' budgets, so that exact gradients fit every client.

* memory, with AdamW: the peak of training the whole model on the device with ``fo``, over that of what is named, one
  change after another, so that the share of each is seen;
* latency, with the scenario's optimizer: how much shorter the round of ``optimal`` is than that of another plan, the
  slowest client's latency in both; memory that moves falls to 62 % of the budget for half of the time, and is replayed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.memory_ladder import moving

SCENARIOS = ("quickstart", "smart-home")
ROUNDS = 40
LEAST = 0.62
ADAMW = "training.optimizer={name: adamw, learning_rate: 0.001}"
EXACT = "training.modes=[fo, fo-recompute]"


def with_budgets(name: str, times: float, *changes: str) -> Any:
    """Return the scenario with exact modes and so many times its budgets."""
    from hybridsplit.scenarios.loader import load_scenario

    plain = load_scenario(name)
    budgets = {one.group: int(one.memory_budget_bytes * times) for one in plain.clients}
    settings = [f"clients.{group}.memory_budget_bytes={size}" for group, size in budgets.items()]
    return load_scenario(name, [EXACT, *changes, *settings])


def peaks(table: Any, shallowest: int) -> Iterator[tuple[str, int]]:
    """Yield peaks, one change after another."""
    rows = table.table
    last = int(rows["cut"].max())
    at = {cut: rows[rows["cut"] == cut] for cut in (last, shallowest)}
    yield "the whole model on the device, fo", _least(at[last], "fo")
    yield "the same, leanest recomputation", _least(at[last], "fo-recompute")
    yield f"cut {shallowest}, fo", _least(at[shallowest], "fo")
    yield f"cut {shallowest}, leanest recomputation", _least(at[shallowest], "fo-recompute")


def _least(rows: Any, mode: str) -> int:
    of_mode = rows[rows["mode"] == mode]
    # Where recomputation is needless it is not offered beside fo; where nothing is trained there is one row.
    return int((of_mode if len(of_mode) else rows)["client_peak_bytes"].min())


def latencies(scenario: Any, table: Any) -> Iterator[tuple[str, float | None]]:
    """Yield round latencies of other plans; None where a strategy has none within the budgets."""
    from hybridsplit.scenarios.errors import InfeasibleError
    from hybridsplit.solver.planner import make_plan

    for strategy, what in (
        ("fedavg", "the whole model on every device (fedavg)"),
        ("splitfed", "the best cut for all, equal shares (splitfed)"),
        ("split-sequential", "one client after another (split-sequential)"),
        ("smartsplit", "our reconstruction of SmartSplit's choice (smartsplit)"),
    ):
        try:
            yield what, make_plan(scenario, table, strategy).round_latency_s
        except InfeasibleError:
            yield what, None


def show(name: str, folder: Path) -> None:
    """Print one scenario."""
    from hybridsplit.orchestrator.planned import plan_as_asked
    from hybridsplit.profiler.options import profile_scenario
    from hybridsplit.runtime.replay import replay
    from hybridsplit.solver.planner import make_plan

    scenario = with_budgets(name, 2.0)
    table = profile_scenario(scenario)
    plan = make_plan(scenario, table, "optimal")
    training, model = scenario.training, scenario.model.config["model_type"]
    print(f"{name}: {model}, {scenario.model.dtype}, batch {training.batch_size}")
    whole_bytes = None
    with_adamw = profile_scenario(with_budgets(name, 2.0, ADAMW))
    for what, size in peaks(with_adamw, int(table.table["cut"].min())):
        whole_bytes = whole_bytes or size
        print(f"  memory   {what:45} {size / 2**20:10.3f} MiB  {whole_bytes / size:6.1f}x less")
    for what, seconds in latencies(scenario, table):
        shown = (
            "does not fit" if seconds is None else f"{seconds:10.4g} s  {1 - plan.round_latency_s / seconds:6.1%} less"
        )
        print(f"  latency  {what:60} {shown}")
    lean = with_budgets(name, 2.0 * LEAST)
    static = make_plan(lean, profile_scenario(lean), "optimal")
    moved = moving(name, folder, 5 * static.round_latency_s, 1 / LEAST, [EXACT, *_budgets(lean)])
    ladder = plan_as_asked(moved, profile_scenario(moved), "optimal")
    ladder_s = replay(ladder, moved, num_rounds=ROUNDS, samples_windows=True).total_s / ROUNDS
    print(
        f"  latency  {'the best plan for the least memory, where memory moves':60} {static.round_latency_s:10.4g} s  "
        f"{1 - ladder_s / static.round_latency_s:6.1%} less"
    )


def _budgets(scenario: Any) -> list[str]:
    return [f"clients.{one.group}.memory_budget_bytes={one.memory_budget_bytes}" for one in scenario.clients]


def main() -> None:
    """Print all."""
    with tempfile.TemporaryDirectory() as scratch:
        for name in SCENARIOS:
            show(name, Path(scratch))


if __name__ == "__main__":
    main()
