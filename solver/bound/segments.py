"""What options do between two meetings of all clients: seconds on each resource, and before and after."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hybridsplit.scenarios.contracts.jobs import SHARED
from hybridsplit.solver.dispatch.sequences import Segment
from hybridsplit.solver.problem.arrays import FloatArray


@dataclass(frozen=True)
class Segments:
    """What rows [K] do in one of M unlike segments.

    Parameters
    ----------
    alone_s
        [K] seconds that it takes alone.
    work_s, head_s, tail_s
        [K, 3] seconds on each resource, and before its first and after its last use; infinite where it is not used.
    """

    alone_s: FloatArray
    work_s: FloatArray
    head_s: FloatArray
    tail_s: FloatArray

    @property
    def key(self) -> bytes:
        """Equal for alike segments."""
        return b"".join(part.tobytes() for part in (self.alone_s, self.work_s, self.head_s, self.tail_s))

    def with_work(self, resource: int, work_s: FloatArray) -> Segments:
        """Return the same with other seconds [K] on a resource."""
        changed = self.work_s.copy()
        changed[:, resource] = work_s
        return replace(self, work_s=changed)

    @classmethod
    def of(cls, segments: list[Segment]) -> Segments:
        """Collect a segment of every row."""
        num = len(segments)
        alone_s, work_s = np.zeros(num), np.zeros((num, len(SHARED)))
        head_s, tail_s = np.full((num, len(SHARED)), np.inf), np.full((num, len(SHARED)), np.inf)
        for row, (jobs, end_lag_s) in enumerate(segments):
            now_s = 0.0
            used_until: dict[int, float] = {}
            for job in jobs:
                now_s += job.lag_s
                head_s[row, job.resource] = min(head_s[row, job.resource], now_s)
                work_s[row, job.resource] += job.duration_s
                now_s += job.duration_s
                used_until[job.resource] = now_s
            alone_s[row] = now_s + end_lag_s
            for resource, end_s in used_until.items():
                tail_s[row, resource] = alone_s[row] - end_s
        return cls(alone_s, work_s, head_s, tail_s)
