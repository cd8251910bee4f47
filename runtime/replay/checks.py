"""What must hold of a plan before it is played, and of what was played."""

from __future__ import annotations

import math
from collections.abc import Mapping
from operator import attrgetter

from hybridsplit.runtime.replay.totals import RoundTotals, Timeline, is_late
from hybridsplit.scenarios.contracts.attendance import Attendance
from hybridsplit.scenarios.contracts.phases import Phase, elapsed_s
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.contracts.schedule import Chain, Dispatch, Simultaneous, Turns
from hybridsplit.scenarios.errors import ContractError, RunError, UsageError

_SHARE_TOLERANCE = 1e-6
_CLOCK_TOLERANCE = 1e-9
_BYTES = attrgetter("uplink_bytes", "downlink_bytes", "model_upload_bytes", "model_download_bytes", "head")


def check_plan(plan: Plan) -> None:
    """Refuse a plan that cannot be played.

    Raises
    ------
    ContractError
        If it has no clients, its schedule does not name them, or its shares are more than there is.
    """
    if not plan.clients:
        raise ContractError("the plan has no clients; needs at least one to replay: make the plan again")
    known = {client.id for client in plan.clients}
    order = tuple(known) if isinstance(plan.schedule, Simultaneous) else plan.schedule.order
    strangers = len(set(order)) != len(order) or not set(order) <= known
    if strangers or (isinstance(plan.schedule, Turns | Dispatch) and set(order) != known):
        raise ContractError("the plan's schedule does not name its clients once each: make the plan again")
    if not isinstance(plan.schedule, Simultaneous) and any(client.overlaps for client in plan.clients):
        raise ContractError("the plan has work that overlaps and a schedule without shares: make the plan again")
    for name in ("uplink_share", "downlink_share", "server_share"):
        total = _most_at_once(plan, name)
        if total > 1 + _SHARE_TOLERANCE:
            raise ContractError(
                f"the plan's {name} sums to {total:.6g} over clients; needs at most 1, since a replay would otherwise "
                "be faster than the radio or the server allows: make the plan again"
            )


def _most_at_once(plan: Plan, name: str) -> float:
    """Return the sum of a share over the clients that can use it at the same time."""
    if isinstance(plan.schedule, Turns | Dispatch):
        return float(max(getattr(client, name) for client in plan.clients))
    chain = set(plan.schedule.order) if isinstance(plan.schedule, Chain) else set()
    together = math.fsum(getattr(client, name) for client in plan.clients if client.id not in chain)
    return together + max((getattr(client, name) for client in plan.clients if client.id in chain), default=0.0)


def check_arguments(
    known: set[str], traces: Mapping[str, object], scales: Mapping[str, float], offsets_s: Mapping[str, float]
) -> None:
    """Refuse arguments that name strangers or hold values out of range.

    Raises
    ------
    UsageError
        If they do.
    """
    for what, named in (("traces", traces), ("compute_scale", scales), ("start_offsets_s", offsets_s)):
        if unknown := sorted(set(named) - known):
            raise UsageError(f"{what} names the clients {', '.join(unknown[:5])}, which the plan does not have")
    for client_id, scale in scales.items():
        if not 0 < scale < math.inf:
            raise UsageError(f"compute_scale of {client_id} is {scale}; needs a finite number above zero")
    for client_id, offset_s in offsets_s.items():
        if not 0 <= offset_s < math.inf:
            raise UsageError(
                f"start_offsets_s of {client_id} is {offset_s}; needs a finite number that is not negative"
            )


def check_attendance(known: set[str], attendance: Attendance, num_rounds: int) -> None:
    """Refuse an attendance of other rounds or clients.

    Raises
    ------
    UsageError
        If it is.
    """
    if attendance.num_rounds != num_rounds:
        raise UsageError(f"the attendance is of {attendance.num_rounds} rounds; needs {num_rounds}, as are replayed")
    if unknown := sorted(set().union(*attendance.rounds) - known):
        raise UsageError(f"attendance names the clients {', '.join(unknown[:5])}, which the plan does not have")


def check_timeline(plan: Plan, timeline: Timeline, attendance: Attendance) -> None:
    """Check what must hold whatever the links do; a broken simulation is an error, never a wrong figure.

    Raises
    ------
    RunError
        If it is broken.
    """
    starts_s = (0.0, *timeline.round_ends_s[:-1])
    kinds: dict[tuple[object, ...], int] = {}
    # Clients that do the same share what they have spent.
    kind_of = [kinds.setdefault(_BYTES(client), len(kinds)) for client in plan.clients]
    sizes_of = {
        kind: {Phase.MODEL_DOWNLOAD: 0, **client.bytes_by_phase()}
        for kind, client in zip(kind_of, plan.clients, strict=True)
    }
    for index, (start_s, end_s) in enumerate(zip(starts_s, timeline.round_ends_s, strict=True)):
        if not start_s <= end_s < math.inf:
            raise RunError(
                f"round {index} of the replay ends at {end_s} s and starts at {start_s} s; the clock ran back"
            )
        present = attendance.rounds[index]
        sound: set[tuple[int, ...]] = set()
        for client, kind, rounds in zip(plan.clients, kind_of, timeline.totals, strict=True):
            extra_bytes = present.get(client.id)
            if extra_bytes is None or (key := (id(rounds[index]), extra_bytes, kind)) in sound:
                continue
            if (wrong := _wrong(rounds[index], sizes_of[kind], extra_bytes, start_s, end_s)) is not None:
                raise RunError(f"client {client.id}, round {index} of the replay{wrong}")
            sound.add(key)


def _wrong(
    spent: RoundTotals, sizes: Mapping[Phase, int], extra_bytes: int, start_s: float, end_s: float
) -> str | None:
    """Say what does not hold of a client's round: seconds are those of the round, bytes those of the plan."""
    late, took_s = is_late(spent), list[float]()
    for phase, total in spent.items():
        seconds, waiting_s = total.seconds, total.waiting_s
        if seconds or waiting_s:
            if seconds < 0 or waiting_s < 0:
                return f", phase {phase}: a negative time, {total}"
            took_s.append(elapsed_s(phase, seconds, waiting_s))
        if total.bytes and phase not in sizes:
            return f", phase {phase}: carried {total.bytes} of 0 bytes"
    for phase, planned in sizes.items():
        carried, size = spent[phase].bytes, planned + extra_bytes if phase is Phase.MODEL_DOWNLOAD else planned
        # What was under way at a deadline did not arrive.
        if carried != size and (carried > size or not late):
            return f", phase {phase}: carried {carried} of {size} bytes"
    all_s = math.fsum(took_s)
    if abs(all_s - (end_s - start_s)) > _CLOCK_TOLERANCE * max(1.0, end_s):
        return f": the phases sum to {all_s} s and the round took {end_s - start_s} s"
    return None
