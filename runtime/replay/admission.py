"""Who may start when: turns on shared resources, as events of the simulation.

A resource that serves in turns has the sequence of its jobs of a round from the plan's schedule; a client waits until
all jobs before its own have ended. Without turns no client waits.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import simpy

from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.schedule import Chain, Schedule, Turns

Job = tuple[str, Phase, int]
"""Client, phase and step; the model comes down in the first step and goes up in the last."""


@dataclass(frozen=True)
class ClientJobs:
    """Which jobs of a round a client really has: those with nothing to do take no turn.

    Parameters
    ----------
    client_id
        Its id.
    jobs
        Its jobs on shared resources.
    """

    client_id: str
    jobs: frozenset[Job]


class JobSequence:
    """Jobs that start one after another."""

    def __init__(self, environment: simpy.Environment, jobs: Iterable[Job]) -> None:
        ordered = list(jobs)
        self._may_start = {job: environment.event() for job in ordered}
        self._next = dict(itertools.pairwise(ordered))
        if ordered:
            self._may_start[ordered[0]].succeed()

    def may_start(self, job: Job) -> simpy.Event:
        """Return the event that all jobs before this one have ended."""
        return self._may_start[job]

    def ended(self, job: Job) -> None:
        """Say that a job has ended, so that the next may start."""
        following = self._next.get(job)
        if following is not None:
            self._may_start[following].succeed()


class RoundTurns:
    """The turns of one round, shared by all clients.

    A chain's turn is a client's whole round or, step by step, one step of it.
    """

    def __init__(
        self,
        environment: simpy.Environment,
        schedule: Schedule,
        clients: Sequence[ClientJobs],
        local_steps: int,
        *,
        step_by_step: bool = False,
    ) -> None:
        self._sequence_of: dict[Job, JobSequence] = {}
        if isinstance(schedule, Chain):
            chain_steps = range(local_steps if step_by_step else 1)
            starts = [(name, Phase.BARRIER, step) for step in chain_steps for name in schedule.order]
            self._add(JobSequence(environment, starts), starts)
        if isinstance(schedule, Turns):
            has = {client.client_id: client.jobs for client in clients}

            def of_steps(*phases: Phase) -> list[Job]:
                """Return the jobs of all steps: in each the first phase of all clients, then the second."""
                return [
                    (name, phase, step) for step in range(local_steps) for phase in phases for name in schedule.order
                ]

            sequences: tuple[list[Job], ...] = (
                [
                    *((name, Phase.MODEL_DOWNLOAD, 0) for name in schedule.order),
                    *of_steps(Phase.HEAD_DOWNLINK, Phase.DOWNLINK),
                ],
                of_steps(Phase.SERVER_COMPUTE, Phase.SERVER_BACKWARD),
                [
                    *of_steps(Phase.UPLINK, Phase.HEAD_UPLINK),
                    *((name, Phase.MODEL_UPLOAD, local_steps - 1) for name in schedule.order),
                ],
            )
            for jobs in sequences:
                real = [job for job in jobs if job in has[job[0]]]
                self._add(JobSequence(environment, real), real)

    def _add(self, sequence: JobSequence, jobs: Iterable[Job]) -> None:
        for job in jobs:
            self._sequence_of[job] = sequence

    def wait_for(self, job: Job) -> simpy.Event | None:
        """Return what to wait for before a job; None where it has no turn."""
        sequence = self._sequence_of.get(job)
        return sequence.may_start(job) if sequence is not None else None

    def ended(self, job: Job) -> None:
        """Say that a job has ended."""
        sequence = self._sequence_of.get(job)
        if sequence is not None:
            sequence.ended(job)
