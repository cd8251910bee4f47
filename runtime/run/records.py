"""What is known after a round: the metrics of every round and client so far, and what the next one starts from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hybridsplit.runtime.aggregation.scalar_log import AveragedRound
from hybridsplit.runtime.worker.faults import ClientFault
from hybridsplit.scenarios.contracts.ledger import Ledger
from hybridsplit.scenarios.contracts.placement import Placement
from hybridsplit.scenarios.errors import ContractError
from hybridsplit.scenarios.scores import ACCURACY, ScoreName, score_called


@dataclass(frozen=True)
class RoundRecord:
    """One row of ``rounds.parquet``: metrics of the global model after a round.

    ``simulated_s`` is the replay's clock at the end of the round, counted from the start of training; ``train_loss`` is
    None where no client's training counted. ``test_score`` is that of the test data, by the score named ``score``.
    """

    round: int
    simulated_s: float
    train_loss: float | None
    test_score: float
    score: ScoreName = field(default=ACCURACY.name, kw_only=True)

    @property
    def test_accuracy(self) -> float:
        """The score of the test data where it is accuracy.

        Raises
        ------
        ContractError
            If it is another one.
        """
        if self.score != ACCURACY.name:
            raise ContractError(f"round {self.round}: its score is {self.score}, not accuracy; read test_score")
        return self.test_score

    @property
    def score_text(self) -> str:
        """The score with its name, as it is shown."""
        score = score_called(self.score)
        return f"{score.label} {score.text(self.test_score)}"

    def row(self) -> dict[str, Any]:
        """Return the row, with the score under its own name."""
        return {
            "round": self.round,
            "simulated_s": self.simulated_s,
            "train_loss": self.train_loss,
            score_called(self.score).column: self.test_score,
        }


@dataclass(frozen=True)
class RoundDone(RoundRecord):
    """A round as it is told while a run goes on: its record, with what was measured.

    ``uplink_bytes`` and ``downlink_bytes`` are sums over the clients of the round, exchanges of the client part
    included; ``peak_bytes`` is the largest client's so far, None before any was measured. ``node_peak_bytes`` are the
    peaks of all clients together on every machine between them and the server, and on it, where a model is cut several
    times. Utilisation is the part of a resource, in [0, 1], that serves someone over the round, by the replay; None
    where none is kept.
    """

    uplink_bytes: int
    downlink_bytes: int
    peak_bytes: int | None
    node_peak_bytes: Mapping[str, int] = field(default_factory=dict)
    uplink_utilisation: float | None = field(default=None, kw_only=True)
    downlink_utilisation: float | None = field(default=None, kw_only=True)
    server_utilisation: float | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class ClientRecord:
    """One row of ``clients.parquet``: what one client did in a round it took part in.

    ``train_loss`` is the mean over its steps, None where its training did not count; ``fault`` says why, and is empty
    otherwise.
    """

    round: int
    client: str
    train_loss: float | None
    fault: str = ""


@dataclass(frozen=True)
class Checkpoint:
    """All that is needed to go on after a round, but for the weights, which an executor writes and reads.

    Parameters
    ----------
    plan_hash
        Identifies scenario and plan; another one is refused.
    records
        Metrics of all rounds so far.
    clients
        Metrics of every client in all rounds so far.
    measured
        Measured ledger of all rounds so far.
    peak_bytes
        Measured peak of every client that has taken part.
    faults
        Clients that failed so far, and which of them have left.
    averaged, last_round
        The log of averaged scalars, and by client the last round it took part in
        (:mod:`hybridsplit.runtime.aggregation.scalar_log`).
    events
        What happened to workers so far, in words.
    node_peak_bytes
        By client, the measured peak of its blocks on every other machine, where a model is cut several times.
    plans, placed
        By round, what identifies its plan, and by client how it was placed when it last trained; empty where the plan
        cannot change.
    computed_on
        Name of the devices that computed it (``--torch-device``): others give other bits.
    """

    plan_hash: str
    records: tuple[RoundRecord, ...]
    clients: tuple[ClientRecord, ...]
    measured: Ledger
    peak_bytes: dict[str, int]
    faults: tuple[ClientFault, ...] = ()
    averaged: tuple[AveragedRound, ...] = ()
    last_round: dict[str, int] = field(default_factory=dict)
    events: tuple[str, ...] = ()
    node_peak_bytes: dict[str, dict[str, int]] = field(default_factory=dict)
    plans: tuple[str, ...] = ()
    placed: dict[str, Placement] = field(default_factory=dict)
    computed_on: str = "cpu"
