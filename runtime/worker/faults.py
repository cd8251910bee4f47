"""What can go wrong with a client, and how it is described."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.errors import BudgetExceededError, RunError
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.units import format_bytes


class FaultKind(StrEnum):
    """What a client did."""

    HANGS = "hangs"
    """It did not finish within ``faults.client_timeout_s``."""
    NOT_FINITE = "not-finite"
    """Its loss or its weights are not finite."""
    OVER_BUDGET = "over-budget"
    """Its measured peak exceeds its memory budget."""
    KILLS_WORKERS = "kills-workers"
    """Every worker that trained it died."""


@dataclass(frozen=True)
class ClientFault:
    """One client that failed in one round.

    Parameters
    ----------
    client, round
        Who, and when (rounds count from 0).
    kind
        What it did.
    observed
        What was seen, in words and figures.
    peak_bytes
        Its measured peak, where that is the fault.
    step
        First local step whose loss was not finite, where that is the fault.
    """

    client: str
    round: int
    kind: FaultKind
    observed: str
    peak_bytes: int | None = None
    step: int | None = None

    def describe(self, policy: str) -> str:
        """Say what happened, and what was done about it, in words."""
        then = {"drop-round": "left out of this round", "drop-client": "left out from then on"}.get(policy, policy)
        return f"round {self.round + 1}: client {self.client} {self.kind} ({self.observed}); {then}"


def first_to_diverge(faults: Sequence[ClientFault], server_model: str) -> tuple[ClientFault, ...]:
    """Leave out faults that only follow from those of another client, which had reached the shared server before.

    Parameters
    ----------
    faults
        In the order in which the server serves the clients.
    server_model
        ``shared-mean`` is affected from the next step on, ``shared-sequential`` from the next client on.

    Notes
    -----
    Our own rule, by when losses cease to be finite. What is not finite never reaches a shared server
    (:class:`hybridsplit.runtime.session.server.ServerSide`); gradients that are finite but far too
    large do, and their effect shows a step later.
    """
    diverged = [fault for fault in faults if fault.kind is FaultKind.NOT_FINITE and fault.step is not None]
    if not diverged:
        return tuple(faults)
    first = min(fault.step for fault in diverged if fault.step is not None)
    culprits = [fault for fault in diverged if fault.step == first]
    if server_model == "shared-sequential":
        culprits = culprits[:1]
    return tuple(fault for fault in faults if fault not in diverged or fault in culprits)


def error_of(
    fault: ClientFault, who: Assignment, scenario: Scenario, options: OptionTable | None, min_cut: int
) -> RunError:
    """Return the error that stops a run because of a fault.

    Parameters
    ----------
    fault, who
        What happened, and to whom.
    scenario
        Gives what the fix refers to.
    options
        Option table, to name an option that would fit.
    min_cut
        The client's shallowest cut.
    """
    cut, mode = who.placement.cut, who.placement.mode
    name = f"client {who.client} ({mode} at cut {cut}), round {fault.round + 1}"
    go_on = "or go on without it: --resume --set faults.policy=drop-client (or drop-round)"
    match fault.kind:
        case FaultKind.OVER_BUDGET:
            fix = _option_that_fits(who, fault.peak_bytes or 0, options, min_cut)
            return BudgetExceededError(
                f"client {who.client}: {mode} at cut {cut} used {fault.observed}; the run stops, since a real "
                f"device would have died here: {fix}"
            )
        case FaultKind.NOT_FINITE:
            return RunError(
                f"{name}: found {fault.observed}; training diverged: lower training.optimizer.learning_rate, or "
                f"training.zeroth_order.optimizer.learning_rate if its mode is zeroth-order, {go_on}"
            )
        case FaultKind.HANGS:
            return RunError(
                f"{name}: {fault.observed}; raise faults.client_timeout_s "
                f"(found {scenario.faults.client_timeout_s:g} s) if it is only slow, {go_on}"
            )
        case FaultKind.KILLS_WORKERS:
            return RunError(
                f"{name}: {fault.observed}; the likely cause is memory: use fewer --workers or a smaller batch, {go_on}"
            )


def _option_that_fits(who: Assignment, peak_bytes: int, options: OptionTable | None, min_cut: int) -> str:
    fix = "raise its memory_budget_bytes"
    if options is None:
        return fix
    table = options.fitting()
    allowed = (table["client"] == who.client) & (table["cut"] >= min_cut)
    rows = table[allowed & (table["client_peak_bytes"] < peak_bytes)]
    if len(rows):
        row = rows.sort_values("client_peak_bytes").iloc[0]
        fix += f", or choose {row['mode']} at cut {row['cut']} ({format_bytes(row['client_peak_bytes'])})"
    return fix
