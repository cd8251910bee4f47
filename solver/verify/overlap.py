"""How long a round takes whose work overlaps, walked job by job in plain Python.

Every job of a batch starts when the one before it of the same batch is done, and has arrived, and the same job of the
batch before has ended. The device goes forward with batch ``t + D`` before it goes backward with batch ``t``. Likewise
with the micro-batches of a step, of which the device runs all forward, and then all backward.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hybridsplit.scenarios.contracts.jobs import Job, Resource, round_jobs
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
    if planned.micro_batches > 1:
        return _divided_latency_s(planned, by_phase, delays_s, local_steps)
    seconds: dict[tuple[Phase, int], list[float]] = {}
    delay_s: dict[tuple[Phase, int], float] = {}
    for job, job_s, on_its_way_s in _timed(planned, by_phase, delays_s, local_steps):
        seconds.setdefault((job.phase, job.step), []).append(job_s)
        delay_s[job.phase, job.step] = on_its_way_s

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


def _timed(
    planned: ClientPlan, by_phase: Mapping[Phase, float], delays_s: tuple[float, float], local_steps: int
) -> Iterator[tuple[Job, float, float]]:
    """Yield the jobs of a round, what each takes, and how long what it sends is on its way."""
    whole = {Resource.DEVICE: planned.client_compute_s, Resource.SERVER: planned.server_compute_s}
    for job in round_jobs(planned, local_steps):
        amount = whole.get(job.resource, float(planned.phase_bytes(job.phase)))
        delay_s = 0.0 if job.resource in whole else delays_s[0] if job.resource.is_up else delays_s[1]
        yield job, by_phase[job.phase] * job.amount / amount, delay_s


def _divided_latency_s(
    planned: ClientPlan, by_phase: Mapping[Phase, float], delays_s: tuple[float, float], local_steps: int
) -> float:
    """Walk a round of micro-batches, step by step: the device's clock, and when each other resource is free."""
    exchange_s = dict.fromkeys((Phase.MODEL_DOWNLOAD, Phase.MODEL_UPLOAD), 0.0)
    steps: list[list[list[tuple[Phase, float, float]]]] = [
        [[] for _ in range(planned.micro_batches)] for _ in range(local_steps)
    ]
    for job, job_s, delay_s in _timed(planned, by_phase, delays_s, local_steps):
        if job.phase in exchange_s:
            exchange_s[job.phase] = job_s + delay_s
        else:
            steps[job.step][job.micro_batch].append((job.phase, job_s, delay_s))
    now_s = exchange_s[Phase.MODEL_DOWNLOAD]
    free_s = dict.fromkeys(_ORDER, 0.0)
    for parts in steps:
        answered_s: list[float] = []
        for jobs in parts:
            now_s += sum(job_s for phase, job_s, _ in jobs[:1] if phase is Phase.CLIENT_COMPUTE)
            here_s = now_s
            for phase, job_s, delay_s in jobs:
                if phase in free_s:
                    free_s[phase] = max(here_s, free_s[phase]) + job_s
                    here_s = free_s[phase] + delay_s
            answered_s.append(here_s)
        for jobs, answer_s in zip(parts, answered_s, strict=True):
            now_s = max(now_s, answer_s) + sum(s for phase, s, _ in jobs[1:] if phase is Phase.CLIENT_COMPUTE)
    return now_s + exchange_s[Phase.MODEL_UPLOAD]


def overlap_violations(plan: Plan, training: Training) -> Iterator[str]:
    """Yield the clients whose work overlaps where it must not.

    Parameters
    ----------
    plan, training
        The plan, and the training section of its scenario.
    """
    for client in plan.clients:
        if client.micro_batches not in {1, *training.overlap.micro_batches_of_mode(client.mode)}:
            yield (
                f"{client.id}: {client.mode} with {client.micro_batches} micro-batches is not on offer in "
                "training.overlap"
            )
        if client.micro_batches == 1 and (client.client_update_s or client.server_update_s):
            yield f"{client.id}: has costs of updates apart, and no micro-batches"
        if not client.overlaps:
            continue
        if client.staleness not in training.overlap.of_mode(client.mode):
            yield f"{client.id}: {client.mode} {client.staleness} ahead is not on offer in training.overlap"
        how = f"goes {client.staleness} ahead" if client.staleness else f"has {client.micro_batches} micro-batches"
        if plan.schedule.kind != "simultaneous" or training.server_model != "per-client":
            yield f"{client.id}: {how}, and does not have shares and a server part of its own"
        if client.phase_bytes(Phase.UPLINK) == 0:
            yield f"{client.id}: {how}, and there is no server that it sends anything to"
        if client.micro_batches > 1 and (client.staleness or client.head_blocks or client.upload_every > 1):
            yield f"{client.id}: {how}, and is ahead of gradients, has a head or sends seldom too"
        if client.batch_size % client.micro_batches:
            yield f"{client.id}: {how} of batches of {client.batch_size} samples"
