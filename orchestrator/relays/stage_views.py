"""The stages of a plan over relays as Rich tables: which blocks where, memory, period and idle time."""

from __future__ import annotations

from collections.abc import Iterator

from rich.markup import escape
from rich.table import Table

from hybridsplit.orchestrator.relays.views import relay_table
from hybridsplit.scenarios.contracts.relay_plan import RelayClientPlan, RelayPlan
from hybridsplit.scenarios.relays.loading import validate_relays
from hybridsplit.scenarios.relays.schema import RelayScenario
from hybridsplit.scenarios.units import counted, format_bytes, format_seconds
from hybridsplit.solver.relays.pipelines import PipelineOrder, period_s, pipeline_orders

MOST_SHOWN = 4


def stage_tables(plan: RelayPlan) -> Iterator[Table]:
    """Yield two tables for the first client of every placement with several stages: its stages, and their orders.

    Parameters
    ----------
    plan
        A plan; nothing is yielded where it trains nothing.
    """
    scenario = validate_relays(plan.scenario, "the plan's scenario")
    if not scenario.trains:
        return
    seen: set[object] = set()
    for client in plan.clients:
        key = tuple((part.device, part.first_block, part.warm_up, part.replicas) for part in client.placement)
        if len(client.placement) < 2 or (client.group, client.micro_batches, key) in seen or len(seen) == MOST_SHOWN:
            continue
        seen.add((client.group, client.micro_batches, key))
        orders = pipeline_orders(client, scenario)
        yield _stages_table(client, scenario, orders[0])
        yield _orders_table(client, orders)


def _stages_table(client: RelayClientPlan, scenario: RelayScenario, planned: PipelineOrder) -> Table:
    period = format_seconds(period_s(client, scenario))
    table = relay_table(
        f"Stages of {escape(client.id)}: {counted(client.micro_batches, 'micro-batch').replace('batchs', 'batches')}, "
        f"one in {period} when all are filled",
        "stage", "machines", "blocks", "in flight", "memory each", "a micro-batch", "sums and update", "idle",
    )  # fmt: skip
    for part, depth, idle in zip(client.placement, planned.warm_ups, planned.idle_shares, strict=True):
        table.add_row(
            "itself" if part.node == client.id else escape(part.node), str(part.replicas),
            f"{part.first_block}-{part.last_block}", str(depth), format_bytes(part.peak_bytes),
            format_seconds(part.forward_s + part.backward_s), format_seconds(part.update_s + part.reduce_s),
            f"{idle:.0%}",
        )  # fmt: skip
    return table


def _orders_table(client: RelayClientPlan, orders: tuple[PipelineOrder, ...]) -> Table:
    table = relay_table(
        f"Orders of the micro-batches of {escape(client.id)}, alone",
        "order", "a step", "idle (bubble)", "in flight", "most memory of a machine",
    )  # fmt: skip
    for one in orders:
        table.add_row(
            one.order, format_seconds(one.step_s), f"{one.idle_share:.1%}", " ".join(map(str, one.warm_ups)),
            format_bytes(max(one.peak_bytes)),
        )  # fmt: skip
    return table
