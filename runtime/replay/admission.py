"""Who may start when: turns on shared resources, as events of the simulation.

A resource that serves in turns has the sequence of its jobs of a round from the plan's schedule; a client waits until
all jobs before its own have ended. Without turns no client waits.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import simpy

from hybridsplit.runtime.replay.sequences import Turn


class JobSequence:
    """Jobs that start one after another."""

    def __init__(self, environment: simpy.Environment, jobs: Iterable[Turn]) -> None:
        ordered = list(jobs)
        self._may_start = {job: environment.event() for job in ordered}
        self._next = dict(itertools.pairwise(ordered))
        if ordered:
            self._may_start[ordered[0]].succeed()

    def may_start(self, job: Turn) -> simpy.Event:
        """Return the event that all jobs before this one have ended."""
        return self._may_start[job]

    def ended(self, job: Turn) -> None:
        """Say that a job has ended, so that the next may start."""
        following = self._next.get(job)
        if following is not None:
            self._may_start[following].succeed()


class RoundTurns:
    """The turns of one round, shared by all clients.

    Parameters
    ----------
    environment
        The simulation.
    sequences
        The turns that follow one another.
    """

    def __init__(self, environment: simpy.Environment, sequences: Iterable[Iterable[Turn]]) -> None:
        self._sequence_of: dict[Turn, JobSequence] = {}
        for turns in sequences:
            self._sequence_of |= dict.fromkeys(turns, JobSequence(environment, turns))

    def wait_for(self, job: Turn) -> simpy.Event | None:
        """Return what to wait for before a job; None where it has no turn."""
        sequence = self._sequence_of.get(job)
        return sequence.may_start(job) if sequence is not None else None

    def ended(self, job: Turn) -> None:
        """Say that a job has ended."""
        sequence = self._sequence_of.get(job)
        if sequence is not None:
            sequence.ended(job)
