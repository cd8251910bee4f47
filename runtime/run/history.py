"""What a run has gathered, round by round: metrics, measured ledger, faults, and who takes part next."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hybridsplit.runtime.aggregation.scalar_log import ScalarLog
from hybridsplit.runtime.data.participation import draw_attendance
from hybridsplit.runtime.executors.base import RoundOutcome, RoundTask
from hybridsplit.runtime.run.assignments import groups_by
from hybridsplit.runtime.run.records import Checkpoint, ClientRecord, RoundDone, RoundRecord
from hybridsplit.runtime.split.reports import ClientReport
from hybridsplit.runtime.worker.faults import ClientFault
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.contracts.attendance import Absence, Attendance
from hybridsplit.scenarios.contracts.ladder import StepMemory
from hybridsplit.scenarios.contracts.ledger import Ledger, LedgerEntry, Source
from hybridsplit.scenarios.contracts.phases import (
    DOWNLINK_PHASES,
    HEAD_PHASES,
    MOVING_PHASES,
    OCCASIONAL_PHASES,
    UPLINK_PHASES,
    Phase,
)
from hybridsplit.scenarios.contracts.placement import Placement
from hybridsplit.scenarios.contracts.schedule import Schedule
from hybridsplit.scenarios.errors import ContractError
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.scores import score_for


@dataclass
class History:
    """What the rounds so far came to, and what follows from it for the next one.

    Attributes
    ----------
    records, clients
        Metrics by round, and by round and client.
    measured
        Ledger of bytes, and of the emulating machine's seconds.
    peak_bytes
        Largest measured peak of every client part.
    faults
        Clients that failed, when, and whether they have left for that.
    excluded
        Clients that sit out rounds of this run, since their training did not count in the run it is compared with.
    log
        Averaged scalars that some client has yet to catch up with.
    events
        What happened to workers, in words.
    late
        Clients that rounds went on without.
    node_peak_bytes
        By client, the peak of its blocks on every other machine, where a model is cut several times.
    steps
        By client and round, how the steps of clients on ladders are taken.
    measured_orders
        By client, the recompute orders whose peak was measured since this process began.
    plans
        By round, what identifies its plan, where the plan may change; empty elsewhere.
    placed
        By client, how it was placed when it last trained.
    """

    records: list[RoundRecord] = field(default_factory=list)
    clients: list[ClientRecord] = field(default_factory=list)
    measured: Ledger = field(default_factory=lambda: Ledger.from_entries([]))
    peak_bytes: dict[str, int] = field(default_factory=dict)
    faults: list[ClientFault] = field(default_factory=list)
    excluded: tuple[Absence, ...] = ()
    log: ScalarLog = field(default_factory=lambda: ScalarLog(()))
    events: list[str] = field(default_factory=list)
    late: tuple[Absence, ...] = ()
    node_peak_bytes: dict[str, dict[str, int]] = field(default_factory=dict)
    steps: Mapping[tuple[str, int], tuple[StepMemory, ...]] = field(default_factory=dict)
    measured_orders: dict[str, set[str]] = field(default_factory=dict)
    plans: list[str] = field(default_factory=list)
    placed: dict[str, Placement] = field(default_factory=dict)

    @classmethod
    def after(
        cls, checkpoint: Checkpoint, assignments: Sequence[Assignment], excluded: Sequence[Absence] = ()
    ) -> History:
        """Go on from a checkpoint.

        Raises
        ------
        ContractError
            If the checkpoint does not keep the scalars of the clients that are still there.
        """
        history = cls(
            list(checkpoint.records),
            list(checkpoint.clients),
            checkpoint.measured,
            dict(checkpoint.peak_bytes),
            list(checkpoint.faults),
            tuple(excluded),
            ScalarLog((), checkpoint.averaged, checkpoint.last_round),
            list(checkpoint.events),
            node_peak_bytes=dict(checkpoint.node_peak_bytes),
            plans=list(checkpoint.plans),
            placed=dict(checkpoint.placed),
        )
        expected = {a.client for a in history.present(assignments)}
        if set(checkpoint.last_round) != expected:
            raise ContractError(
                f"the checkpoint is damaged: last_round names {len(checkpoint.last_round)} clients, needs the "
                f"{len(expected)} of the plan that have not left; remove the folder of checkpoints to start again"
            )
        return history

    def checkpoint(self, fingerprint: str, computed_on: str) -> Checkpoint:
        """Return what is to be kept of it, and which devices computed it."""
        return Checkpoint(
            fingerprint,
            tuple(self.records),
            tuple(self.clients),
            self.measured,
            self.peak_bytes,
            tuple(self.faults),
            self.log.rounds,
            self.log.last_round,
            tuple(self.events),
            self.node_peak_bytes,
            tuple(self.plans),
            self.placed if self.plans else {},
            computed_on,
        )

    def present(self, assignments: Sequence[Assignment]) -> list[Assignment]:
        """Return those who have not left by the next round."""
        left = {one.client for one in self._absences if one.for_good and one.round < len(self.records)}
        return [a for a in assignments if a.client not in left]

    def attendance(self, scenario: Scenario, assignments: Sequence[Assignment], num_rounds: int) -> Attendance:
        """Return who takes part in each round, as far as is known by now."""
        return draw_attendance(scenario, [a.client for a in assignments], num_rounds, self._absences)

    @property
    def _absences(self) -> list[Absence]:
        return [*self.excluded, *self.late, *(fault.absence for fault in self.faults)]

    def task(
        self, scenario: Scenario, assignments: Sequence[Assignment], schedule: Schedule, attendance: Attendance
    ) -> RoundTask:
        """Return what is to be done in the next round.

        A client's peak is measured in the first round it takes part in, again where it was over its budget, where its
        steps have orders of which none was measured yet, and where a new plan has placed it otherwise.

        Parameters
        ----------
        scenario
            Participation, seed and server model.
        assignments
            All clients of the plan, in the order of the scenario.
        schedule
            The plan's.
        """
        round_index = len(self.records)
        sits_out = {one.client for one in (*self.excluded, *self.late) if one.round == round_index}
        chosen = attendance.rounds[round_index].keys() - sits_out
        taking_part = [self._with_steps(a, round_index) for a in assignments if a.client in chosen]
        over = {fault.client for fault in self.faults if fault.peak_bytes is not None}
        measure = frozenset(
            a.client
            for a in taking_part
            if a.client not in self.peak_bytes or a.client in over or self._has_new_orders(a) or a.before is not None
        )
        return RoundTask(round_index, groups_by(schedule, taking_part, scenario.training), measure)

    def _with_steps(self, assignment: Assignment, round_index: int) -> Assignment:
        steps = self.steps.get((assignment.client, round_index))
        before = self.placed.get(assignment.client)
        if before is not None and before.key != assignment.placement.key:
            assignment = replace(assignment, before=before)
        return replace(assignment, steps=steps) if assignment.steps and steps else assignment

    def _has_new_orders(self, assignment: Assignment) -> bool:
        known = self.measured_orders.get(assignment.client, set())
        return any(step.recompute not in known for step in assignment.steps)

    def done(self, record: RoundRecord) -> RoundDone:
        """Return what is told of a round that was added."""
        table = self.measured.table
        of_round = table[table["round"] == record.round]
        up, down = (
            int(of_round.loc[of_round["phase"].isin([str(phase) for phase in phases]), "bytes"].sum())
            for phases in (UPLINK_PHASES, DOWNLINK_PHASES)
        )
        return RoundDone(
            record.round, record.simulated_s, record.train_loss, record.test_score, up, down,
            max(self.peak_bytes.values(), default=None), self._peaks_by_node(), score=record.score,
        )  # fmt: skip

    def _peaks_by_node(self) -> dict[str, int]:
        """Return the peaks of all clients together on every machine that is no client."""
        found: Counter[str] = Counter()
        for peaks in self.node_peak_bytes.values():
            found.update(peaks)
        return dict(found)

    def add(self, outcome: RoundOutcome[Any], scenario: Scenario, end_s: float, test_score: float) -> RoundRecord:
        """Add a round.

        Parameters
        ----------
        outcome
            What the executor returned.
        scenario
            Says what becomes of clients that failed.
        end_s
            The simulated clock at the end of the round, seconds.
        test_score
            Of the test data.
        """
        reports, round_index = outcome.reports, len(self.records)
        weight = math.fsum(report.assignment.data_weight for report in reports)
        loss = math.fsum(r.assignment.data_weight * r.train_loss for r in reports) / weight if reports else None
        for report in reports:
            client, peak_bytes = report.assignment.client, report.peak_bytes
            if peak_bytes is not None:
                orders = {step.recompute for step in report.assignment.steps}
                self.measured_orders.setdefault(client, set()).update(orders)
                # Of several orders or plans the largest peak counts; of others the newest, after a fault.
                keeps_largest = orders or report.assignment.before is not None
                before_bytes = self.peak_bytes.get(client, 0) if keeps_largest else 0
                self.peak_bytes[client] = max(before_bytes, peak_bytes)
        self.peak_bytes |= {f.client: f.peak_bytes for f in outcome.faults if f.peak_bytes is not None}
        self.placed |= {r.assignment.client: r.assignment.placement.placement for r in reports}
        self.node_peak_bytes |= {r.assignment.client: peaks for r in reports if (peaks := r.peaks_above)}
        caught_up = {
            r.assignment.client: sum(m.num_bytes for m in self.log.missed(r.assignment.client)) for r in reports
        }
        self.measured = Ledger.concat([self.measured, _measured(reports, round_index, caught_up)])
        self.log.add(outcome.averaged, round_index, caught_up)
        self.clients += [ClientRecord(round_index, r.assignment.client, r.train_loss) for r in reports]
        self.clients += [ClientRecord(round_index, f.client, None, str(f.kind)) for f in outcome.faults]
        leaves = scenario.faults.policy == "drop-client"
        self.faults += [replace(fault, leaves=leaves) for fault in outcome.faults]
        self.events += outcome.events
        score = score_for(scenario.model.problem_type).name
        record = RoundRecord(round_index, end_s, loss, test_score, score=score)
        self.records.append(record)
        self.log.forget(one.client for one in self._absences if one.for_good and one.round <= round_index)
        return record


def _measured(reports: Sequence[ClientReport], round_index: int, caught_up_bytes: Mapping[str, int]) -> Ledger:
    """Return the ledger of a round; what a client caught up with came down before its round began."""
    placed = [
        LedgerEntry(
            Source.MEASURED, report.assignment.client, round_index, place.phase, place.seconds, 0.0, place.num_bytes,
            emulated=not place.is_real, node=place.node,
        )
        for report in reports
        for place in report.places
    ]  # fmt: skip
    entries = [
        LedgerEntry(
            Source.MEASURED,
            report.assignment.client,
            round_index,
            phase,
            # The air is replayed, not emulated: its seconds are not measured, which is not zero.
            report.seconds_by_phase.get(phase, float("nan")),
            0.0,
            report.bytes_by_phase.get(phase, 0)
            + (caught_up_bytes[report.assignment.client] if phase is Phase.MODEL_DOWNLOAD else 0),
            # On a real device the seconds are the device's.
            emulated=report.assignment.resource is None,
        )
        for report in reports
        if not report.places
        for phase in Phase
        if phase not in (Phase.BARRIER, *OCCASIONAL_PHASES)
        or (phase in MOVING_PHASES and report.bytes_by_phase.get(phase, 0) > 0)
        or (phase in HEAD_PHASES and report.assignment.placement.head_blocks > 0)
    ]
    return Ledger.from_entries([*entries, *placed])
