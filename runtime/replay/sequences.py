"""In which order clients have their turns: plain data, of simulation and walk alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hybridsplit.runtime.replay.work import ClientWork
from hybridsplit.scenarios.contracts.jobs import SHARED, Resource
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.schedule import Chain, Turns

Turn = tuple[str, Phase, int]
"""Client, phase and step; the model comes down in the first step and goes up in the last."""


def turn_sequences(
    schedule: Chain | Turns, work: Sequence[ClientWork], present: Mapping[str, int], *, step_by_step: bool = False
) -> dict[Resource | None, list[Turn]]:
    """Return the turns of a round: those of a chain under None, and else those of each shared resource.

    Parameters
    ----------
    schedule
        Whose turn is when.
    work
        One item a client.
    present
        Who takes part, and the bytes each downloads beyond its work: those with nothing to do take no turn.
    step_by_step
        Whether a chain's turn is one step of a client instead of its whole round.
    """
    local_steps = work[0].local_steps if work else 1
    if isinstance(schedule, Chain):
        chain_steps = range(local_steps if step_by_step else 1)
        return {None: [(name, Phase.BARRIER, step) for step in chain_steps for name in schedule.order]}
    has = {turn for item in work for turn in _turns(item, present)}

    def of_steps(*phases: Phase) -> list[Turn]:
        """Return the turns of all steps: in each the first phase of all clients, then the second."""
        return [(name, phase, step) for step in range(local_steps) for phase in phases for name in schedule.order]

    sequences = {
        Resource.DOWNLINK: [
            *((name, Phase.MODEL_DOWNLOAD, 0) for name in schedule.order),
            *of_steps(Phase.HEAD_DOWNLINK, Phase.DOWNLINK),
        ],
        Resource.SERVER: of_steps(Phase.SERVER_COMPUTE, Phase.SERVER_BACKWARD),
        Resource.UPLINK: [
            *of_steps(Phase.UPLINK, Phase.HEAD_UPLINK),
            *((name, Phase.MODEL_UPLOAD, local_steps - 1) for name in schedule.order),
        ],
    }
    return {resource: [turn for turn in turns if turn in has] for resource, turns in sequences.items()}


def _turns(item: ClientWork, present: Mapping[str, int]) -> list[Turn]:
    """List the jobs on shared resources that a client really has in a round."""
    if item.client_id not in present:
        return []
    steps = item.steps(present[item.client_id])
    return [(item.client_id, job.phase, job.step) for jobs in steps for job in jobs if job.resource in SHARED]
