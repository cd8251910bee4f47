"""What was measured of a client's round, machine by machine and link by link."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from hybridsplit.runtime.relays.upper import StageOutcome
from hybridsplit.runtime.split.reports import PlaceReport
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.stages import Stages


def reports_by_place(
    stages: Stages, outcomes: Sequence[StageOutcome], *, on_device: bool = False
) -> tuple[PlaceReport, ...]:
    """Return the phases of a round at every machine and link, along the path.

    Parameters
    ----------
    stages
        The client's machines.
    outcomes
        What each of those that work has after the round.
    on_device
        Whether the client is a real device.

    Notes
    -----
    A machine that only forwards passes on what it gets, so that both its links carry the same. Weights of the blocks
    before a link come down before the round and go up after it, since the server averages them.
    """
    of_node: dict[str, list[StageOutcome]] = {}
    for position, one in enumerate(outcomes):
        of_node.setdefault(one.node, []).append(one if position else replace(one, is_real=on_device))
    return tuple(_places(stages, of_node, _carried(stages, of_node)))


def _places(
    stages: Stages, of_node: dict[str, list[StageOutcome]], carried: Sequence[tuple[int, int]]
) -> Iterator[PlaceReport]:
    exchanged_bytes = 0
    for position, stage in enumerate(stages.path):
        phase = Phase.SERVER_COMPUTE if position else Phase.CLIENT_COMPUTE
        for outcome in of_node.get(stage.node, []):
            yield PlaceReport(outcome.machine, phase, outcome.seconds, 0, outcome.peak_bytes, outcome.is_real)
            exchanged_bytes += sum(tensor.nbytes for tensor in outcome.state.values())
        if position + 1 < len(stages.path):
            link = f"{stage.node}>{stages.path[position + 1].node}"
            up, down = carried[position]
            for phase, size_bytes in (
                (Phase.MODEL_DOWNLOAD, exchanged_bytes),
                (Phase.UPLINK, up),
                (Phase.DOWNLINK, down),
                (Phase.MODEL_UPLOAD, exchanged_bytes),
            ):
                # Links are replayed, not emulated: their seconds are not measured, which is not zero.
                yield PlaceReport(link, phase, math.nan, size_bytes)


def _carried(stages: Stages, of_node: dict[str, list[StageOutcome]]) -> list[tuple[int, int]]:
    """Return the bytes of activations and gradients over every link of the path, of all replicas together."""
    positions = {stage.node: position for position, stage in enumerate(stages.path)}
    found = [(0, 0)] * (len(stages.path) - 1)
    for below, above in itertools.pairwise(of_node):
        sent = sum(one.sent_bytes for one in of_node[below])
        returned = sum(one.returned_bytes for one in of_node[above])
        for position in range(positions[below], positions[above]):
            found[position] = sent, returned
    return found
