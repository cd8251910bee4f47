"""What comes back from a client's round: its report, and its weights."""

from __future__ import annotations

from dataclasses import dataclass

from hybridsplit.runtime.split.parts import State
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.contracts.phases import Phase


@dataclass(frozen=True)
class PlaceReport:
    """What one machine or link did for a client in a phase, where a model is cut several times.

    Parameters
    ----------
    node
        The machine, or the two ends of the link (``source>target``).
    phase
        Which phase.
    seconds
        Of the emulating machine; NaN where they are not measured.
    num_bytes
        Payload over the link; 0 for machines.
    peak_bytes
        Peak of live tensor bytes of the client's blocks on the machine; None for links, and when it was not measured.
    is_real
        Whether the seconds are those of a real device, and not of an emulating machine.
    """

    node: str
    phase: Phase
    seconds: float
    num_bytes: int = 0
    peak_bytes: int | None = None
    is_real: bool = False


@dataclass(frozen=True)
class ClientReport:
    """What is known of a client's round without its weights.

    Parameters
    ----------
    assignment
        Who, and how.
    train_loss
        Mean over the round's steps.
    bytes_by_phase, seconds_by_phase
        Measured; the seconds are the emulating machine's.
    peak_bytes
        Peak of live tensor bytes of the client part, or None when it was not measured in this round.
    coefficients
        Scalars that a zeroth-order client sent up, by step and direction; empty for other modes.
    diverged_at_step
        First step whose loss was not finite; None where all were.
    places
        The same machine by machine and link by link, where a model is cut several times; bytes and seconds are then
        here alone.
    step_peaks
        Peak of every step up to its exchange and from then on, of a client whose steps have orders of their own; empty
        where they were not measured.
    memory_seen
        Time (seconds since 1970) and memory that training could have used, at the start of every step, as a real device
        saw it: what was available, and what the client part held. Empty on emulated devices.
    """

    assignment: Assignment
    train_loss: float
    bytes_by_phase: dict[Phase, int]
    seconds_by_phase: dict[Phase, float]
    peak_bytes: int | None = None
    coefficients: tuple[tuple[float, ...], ...] = ()
    diverged_at_step: int | None = None
    places: tuple[PlaceReport, ...] = ()
    step_peaks: tuple[tuple[int, int], ...] = ()
    memory_seen: tuple[tuple[float, int], ...] = ()

    @property
    def peaks_above(self) -> dict[str, int]:
        """Measured peaks of the machines other than the client itself."""
        return {
            place.node: place.peak_bytes
            for place in self.places
            if place.peak_bytes is not None and place.node != self.assignment.client
        }


@dataclass(frozen=True)
class ClientRound:
    """Outcome of one client's round.

    Parameters
    ----------
    report
        Metrics and traffic.
    state
        Trained parameters and statistics of all blocks: the client part as the server knows it after the upload (or
        after replaying the scalars), and the client's server copy.
    optimizer_state
        State of the client's optimizers at the end of the round, by side and parameter; empty unless it is kept.
    """

    report: ClientReport
    state: State
    optimizer_state: State
