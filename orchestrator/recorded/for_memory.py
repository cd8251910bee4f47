"""Whether clients whose memory moves should take options that they sometimes have to wait for, chosen by replays.

The option table has the expected wait of one client. A round waits for the slowest of all, and where several wait at
times of their own, their mean says too little. So the plan is held against one in which nobody ever waits for memory.
"""

from __future__ import annotations

from collections.abc import Callable

from hybridsplit.runtime.replay import replay
from hybridsplit.runtime.replay.memory_files import scenario_memory
from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.contracts.recompute import LADDER
from hybridsplit.scenarios.errors import InfeasibleError
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.units import format_seconds

_ROUNDS = 40


def plan_for_memory(scenario: Scenario, table: OptionTable, plan: Plan, make: Callable[[OptionTable], Plan]) -> Plan:
    """Return a plan, or the one without waits for memory where that is faster over windows of the recorded memory.

    Parameters
    ----------
    scenario, table
        What is planned.
    plan
        Its plan.
    make
        Makes a plan from a table.
    """
    least_bytes = {client: memory.least_bytes for client, memory in scenario_memory(scenario).items()}
    may_wait = [one for one in plan.clients if one.levels and one.client_peak_bytes > least_bytes[one.id]]
    if not may_wait or plan.objective == "energy":
        return plan
    rows = table.table
    waits = (rows["recompute"] == LADDER) & (rows["client_peak_bytes"] > rows["client"].map(least_bytes))
    try:
        steady = make(OptionTable(rows.assign(fits=rows["fits"] & ~waits)))
    except InfeasibleError:
        return plan
    value_s, steady_s = _value_s(plan, scenario), _value_s(steady, scenario)
    chosen, other = (plan, steady_s) if value_s <= steady_s else (steady, value_s)
    word = "may wait" if chosen is plan else "never wait"
    note = (
        f"Clients {word} for memory: over {_ROUNDS} replayed rounds {plan.objective.replace('-', ' ')} is "
        f"{format_seconds(min(value_s, steady_s))}, and otherwise {format_seconds(other)}."
    )
    return chosen.model_copy(update={"notes": (*chosen.notes, note)})


def _value_s(plan: Plan, scenario: Scenario) -> float:
    """Return the mean objective of replayed rounds: it is proportional to latency and the price of who is left out."""
    mean_s = replay(plan, scenario, num_rounds=_ROUNDS, samples_windows=True).total_s / _ROUNDS
    planned_s = plan.round_latency_s + plan.drop_price_s
    return (mean_s + plan.drop_price_s) * (plan.objective_s / planned_s)
