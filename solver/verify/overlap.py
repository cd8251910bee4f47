"""How long a round takes whose steps overlap, walked job by job in plain Python.

Every job of a batch starts when the one before it of the same batch is done, and has arrived, and the same job of the
batch before has ended. The device goes forward with batch ``t + D`` before it goes backward with batch ``t``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hybridsplit.scenarios.contracts.jobs import Resource, round_jobs
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.plan import ClientPlan, Plan
from hybridsplit.scenarios.schema import Training

_ORDER = (Phase.UPLINK, Phase.SERVER_COMPUTE, Phase.DOWNLINK)


def overlapped_latency_s(
    planned: ClientPlan, by_phase: Mapping[Phase, float], delays_s: tuple[float, float], local_steps: int
) -> float:
    """Walk a client's round.

    Parameters
    ----------
    planned
        The client's part of the plan.
    by_phase
        Seconds of each phase in the whole round.
    delays_s
        How long what is sent is on its way, up and down.
    local_steps
        Steps of the round.
    """
    seconds: dict[tuple[Phase, int], list[float]] = {}
    delay_s: dict[tuple[Phase, int], float] = {}
    for job in round_jobs(planned, local_steps):
        whole = {Resource.DEVICE: planned.client_compute_s, Resource.SERVER: planned.server_compute_s}
        amount = whole.get(job.resource, float(planned.phase_bytes(job.phase)))
        seconds.setdefault((job.phase, job.step), []).append(by_phase[job.phase] * job.amount / amount)
        if job.resource not in whole:
            delay_s[job.phase, job.step] = delays_s[0] if job.resource.is_up else delays_s[1]

    def length_s(phase: Phase, step: int, which: int = 0) -> float:
        found = seconds.get((phase, step), [])
        return found[which] if which < len(found) else 0.0

    last = local_steps - 1
    begins_s = length_s(Phase.MODEL_DOWNLOAD, 0) + delay_s.get((Phase.MODEL_DOWNLOAD, 0), 0.0)
    ends: dict[tuple[str, int], float] = {}

    def device_s(what: str, step: int) -> float:
        """End of what the device does before this."""
        if what == "backward":
            ahead, before = step + planned.staleness, ("backward", step - 1)
            return ends["forward", ahead] if ahead <= last else max(ends["forward", last], ends.get(before, 0.0))
        done = step - planned.staleness - 1
        if done >= 0:
            return ends["backward", done]
        return ends["forward", step - 1] if step else begins_s

    def finish(step: int) -> None:
        ends["backward", step] = max(device_s("backward", step), ends["answer", step]) + length_s(
            Phase.CLIENT_COMPUTE, step, 1
        )

    for step in range(local_steps):
        if step > planned.staleness:
            finish(step - planned.staleness - 1)
        here_s = ends["forward", step] = device_s("forward", step) + length_s(Phase.CLIENT_COMPUTE, step)
        for phase in _ORDER:
            here_s = max(here_s, ends.get((phase, step - 1), 0.0)) + length_s(phase, step)
            ends[phase, step] = here_s
            here_s += delay_s.get((phase, step), 0.0)
        ends["answer", step] = here_s
    for step in range(max(0, local_steps - planned.staleness - 1), local_steps):
        finish(step)
    upload_s = length_s(Phase.MODEL_UPLOAD, last) + delay_s.get((Phase.MODEL_UPLOAD, last), 0.0)
    return ends["backward", last] + upload_s


def overlap_violations(plan: Plan, training: Training) -> Iterator[str]:
    """Yield the clients whose steps overlap where they must not.

    Parameters
    ----------
    plan, training
        The plan, and the training section of its scenario.
    """
    for client in plan.clients:
        if client.staleness == 0:
            continue
        if client.staleness not in training.overlap.of_mode(client.mode):
            yield f"{client.id}: {client.mode} {client.staleness} ahead is not on offer in training.overlap"
        if plan.schedule.kind != "simultaneous" or training.server_model != "per-client":
            yield f"{client.id}: goes {client.staleness} ahead, and does not have shares and a server part of its own"
        if client.phase_bytes(Phase.UPLINK) == 0:
            yield f"{client.id}: goes {client.staleness} ahead of a server that it sends nothing to"
