"""The clients of a scenario, one by one: groups state how many alike ones there are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hybridsplit.scenarios.sections.memory import MemoryOverTime, memory_over_time
from hybridsplit.scenarios.sections.network import AnyLink, ClientGroup


@dataclass(frozen=True)
class Client:
    """One client of an expanded scenario; ``data_weight`` sums to 1 over clients."""

    id: str
    group: str
    device: str
    memory_budget_bytes: int
    link: AnyLink
    data_weight: float
    min_cut: int
    energy_cap_j: float | None = None
    drop_price_s: float | None = None
    ray_resource: str | None = None
    memory: MemoryOverTime | None = None

    def named(self, client_id: str) -> Client:
        """Return another client of the group; of a hundred thousand, ``replace`` would set every field anew."""
        found = object.__new__(Client)
        vars(found).update(vars(self), id=client_id)
        return found


def expanded(groups: Sequence[ClientGroup]) -> Iterator[Client]:
    """Yield every client of every group, in order."""
    total = math.fsum(group.count * group.data_share for group in groups)
    for group in groups:
        digits = len(str(group.count - 1))
        first = Client(
            id=f"{group.group}-{0:0{digits}d}",
            group=group.group,
            device=group.device,
            memory_budget_bytes=group.memory_budget_bytes,
            link=group.link,
            data_weight=group.data_share / total,
            min_cut=group.min_cut,
            energy_cap_j=group.energy_cap_j,
            drop_price_s=group.drop_price_s,
            ray_resource=group.ray_resource,
            memory=None if group.memory_trace is None else memory_over_time(group.memory_trace),
        )
        yield first
        for index in range(1, group.count):
            yield first.named(f"{group.group}-{index:0{digits}d}")
