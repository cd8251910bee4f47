"""The plan: one option and its shares for every client, with status, bound and gap."""

# Annotations are values here and not text (no __future__): of text, pydantic's reading is a third of the import.

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator

from hybridsplit.scenarios.contracts.attendance import Attendance
from hybridsplit.scenarios.contracts.client_plan import ClientPlan
from hybridsplit.scenarios.contracts.display import Shown
from hybridsplit.scenarios.contracts.ledger import Ledger, LedgerEntry, Source
from hybridsplit.scenarios.contracts.phases import DOWNLINK_PHASES, UPLINK_PHASES, Phase
from hybridsplit.scenarios.contracts.placement import FrozenValue
from hybridsplit.scenarios.contracts.prices import Marginal, Prices
from hybridsplit.scenarios.contracts.recorded import RecordedChoice
from hybridsplit.scenarios.contracts.schedule import Dispatch, Schedule, Simultaneous, Turns
from hybridsplit.scenarios.contracts.sealed import Kind, first_difference, read_sealed, sealed, write_sealed
from hybridsplit.scenarios.errors import ContractError
from hybridsplit.scenarios.units import format_seconds

PLAN_SCHEMA_VERSION = 13
PLAN_KIND = Kind("a plan that 'hybridsplit plan --out' wrote", PLAN_SCHEMA_VERSION, "make the plan again")
MOST_CLIENTS_IN_JSON = 5_000
"""The clients of larger plans are columns beside ``plan.json``."""


class PlanStatus(StrEnum):
    """What is known about a plan. A failed or infeasible solve is an error, never a plan."""

    OPTIMAL = "optimal"
    """Within the tolerance of its lower bound."""
    FEASIBLE = "feasible"
    """Verified, with the gap printed beside it."""
    TIME_LIMIT = "time-limit"
    """The best verified plan when the time was up, with the gap to the bound that was proven by then."""
    BASELINE = "baseline"
    """Made by a strategy that claims no optimality; verified like every plan."""


class Plan(Shown, FrozenValue):
    """A verified plan.

    ``lower_bound_s`` holds for every plan with static shares, ``schedule_lower_bound_s`` for any schedule; both bound
    ``objective_s``. Where the plan's own schedule is not simultaneous, ``lower_bound_s`` is the bound for any schedule.
    For the objective ``round-latency``, ``objective_s`` is the round latency, plus the price of dropped clients; for
    ``time-to-progress`` it is that divided by ``progress``, the expected progress of a round (1 is a round of exact
    gradients for everybody), and for ``time-to-target`` divided by ``gain``: the predicted seconds. For ``energy``,
    ``objective_j`` and ``lower_bound_j`` hold the joules and their bound, ``gap`` is between those, and the ``_s``
    figures are the round latency with its own bounds.
    """

    schema_version: int = PLAN_SCHEMA_VERSION
    scenario: dict[str, Any]
    scenario_hash: str
    strategy: str
    status: PlanStatus
    objective: str
    objective_s: float = Field(ge=0)
    round_latency_s: float = Field(ge=0)
    progress: float = Field(ge=0)
    gain: float | None = Field(default=None, gt=0)
    """Share of the way to the target that a round gains; None where the target is not the objective."""
    untrained_blocks: int | None = Field(default=None, ge=0)
    """Lowest blocks that no client trains exactly; as ``gain``."""
    lower_bound_s: float = Field(ge=0)
    gap: float = Field(ge=0)
    """Relative to the lower bound: ``objective_s / lower_bound_s - 1`` (joules where energy is minimised)."""
    schedule_lower_bound_s: float = Field(ge=0)
    objective_j: float | None = None
    """Energy of all clients in a round, where energy is minimised."""
    lower_bound_j: float | None = None
    """Lower bound on the energy of every plan, where energy is minimised."""
    schedule: Schedule = Simultaneous()
    dropped: tuple[str, ...] = ()
    """Ids of the clients that are left out of the round."""
    drop_price_s: float = Field(default=0.0, ge=0)
    """Price of all dropped clients, part of the objective."""
    compile_s: float = Field(ge=0)
    solve_s: float = Field(ge=0)
    prices: Prices = Prices()
    marginals: tuple[Marginal, ...] = ()
    """What a tenth more of each shared resource would save, and the memory of each client that better options lack; not
    computed for baselines."""
    deadline_s: float | None = Field(default=None, gt=0)
    """Seconds after which a round goes on without the clients that are late; None where it waits for all."""
    recorded: RecordedChoice | None = None
    """How the plan was chosen for recorded links; None where it was chosen for constant ones."""
    notes: tuple[str, ...] = ()
    clients: tuple[ClientPlan, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_each_client_once(self) -> Self:
        ids = [*(client.id for client in self.clients), *self.dropped]
        if len(set(ids)) < len(ids):
            twice = next(name for position, name in enumerate(ids) if name in ids[:position])
            raise ValueError(f"clients: {twice!r} occurs twice; each client has one entry, or is dropped")
        return self

    def __repr__(self) -> str:
        """Return what the plan is and achieves, in one line."""
        value = f"{self.objective_j:.4g} J" if self.objective_j is not None else format_seconds(self.objective_s)
        return (
            f"Plan of {self.scenario['name']} by {self.strategy}: {len(self.clients)} clients, round latency "
            f"{format_seconds(self.round_latency_s)}, {self.objective} {value}, {self.status} (gap {self.gap:.1e})"
        )

    def __str__(self) -> str:
        """Return the same line, not all figures."""
        return repr(self)

    @property
    def serves_one_at_a_time(self) -> bool:
        """Whether each shared resource serves one client at a time, whole, instead of all at their shares."""
        return isinstance(self.schedule, Turns | Dispatch)

    def client(self, client_id: str) -> ClientPlan:
        """Return the plan of one client.

        Raises
        ------
        KeyError
            If the plan has no such client.
        """
        return {client.id: client for client in self.clients}[client_id]

    def ledger(self, num_rounds: int = 1, attendance: Attendance | None = None) -> Ledger:
        """Planned ledger of :meth:`ledger_entries`."""
        return Ledger.from_entries(self.ledger_entries(num_rounds, attendance))

    def ledger_entries(self, num_rounds: int = 1, attendance: Attendance | None = None) -> list[LedgerEntry]:
        """Entries of the planned ledger: the same figures for every round, the barrier wait included.

        Parameters
        ----------
        num_rounds
            Rounds.
        attendance
            Who takes part in these rounds, and the bytes each has to catch up with, whose seconds are not planned;
            everybody always, and nothing, when None.
        """
        entries: list[LedgerEntry] = []
        present = attendance or Attendance.of_everybody((c.id for c in self.clients), num_rounds)
        for round_index, taking_part in enumerate(present.rounds):
            for client in self.clients:
                if client.id not in taking_part:
                    continue
                sizes = client.bytes_by_phase()
                sizes[Phase.MODEL_DOWNLOAD] += taking_part[client.id]
                entries += [
                    LedgerEntry(
                        Source.PLANNED,
                        client.id,
                        round_index,
                        phase,
                        seconds,
                        client.waiting_s.get(phase, 0.0),
                        sizes.get(phase, 0),
                    )
                    for phase, seconds in client.phases_s.items()
                ]
                between_steps_s = client.waiting_s.get(Phase.BARRIER, 0.0)
                wait_s = between_steps_s + max(0.0, self.round_latency_s - client.latency_s)
                entries.append(LedgerEntry(Source.PLANNED, client.id, round_index, Phase.BARRIER, 0.0, wait_s))
        return entries

    def document(self) -> dict[str, Any]:
        """Return the document of ``plan.json``, with its digest."""
        return sealed(self.model_dump(mode="json"))

    def save(self, path: Path) -> None:
        """Write ``plan.json``; the clients of a large plan are columns in a file beside it, covered by its digest.

        Raises
        ------
        OSError
            If a file cannot be written.
        """
        if len(self.clients) <= MOST_CLIENTS_IN_JSON:
            write_sealed(path, self.model_dump(mode="json"))
            return
        from hybridsplit.scenarios.contracts.plan_table import table_beside, write_clients

        clients = write_clients(self.clients, table_beside(path))
        write_sealed(path, {**self.model_dump(mode="json", exclude={"clients"}), "clients": clients})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read ``plan.json``; its figures are another matter (:func:`hybridsplit.solver.verify.plan.verify_plan`).

        Raises
        ------
        AlteredError
            If the file is not as it was written.
        ContractError
            If it is missing, damaged, is not a plan, or has another schema version.
        """
        document = read_sealed(path, PLAN_KIND)
        if not isinstance(document.get("clients"), dict):
            return cls.of_document(document, str(path))
        from hybridsplit.scenarios.contracts.plan_table import read_clients

        stated = document.pop("clients")
        try:
            clients = read_clients(stated, path, document, ClientPlan.model_validate)
        except ValidationError as error:
            raise _no_plan(error, str(path)) from error
        return cls.of_document(document, str(path), clients)

    @classmethod
    def of_document(
        cls, document: Mapping[str, Any], origin: str, clients: tuple[ClientPlan, ...] | None = None
    ) -> Self:
        """Return the plan of a document without its digest.

        Parameters
        ----------
        document, origin
            The document, and where it came from.
        clients
            Its clients, where the document does not hold them.

        Raises
        ------
        ContractError
            If it is no plan; the message names the key.
        """
        try:
            plan = cls.model_validate(document if clients is None else {**document, "clients": clients})
        except ValidationError as error:
            raise _no_plan(error, origin) from error
        if (written := plan.model_dump(mode="json", exclude=None if clients is None else {"clients"})) != document:
            where = first_difference(dict(document), written)
            raise ContractError(f"{origin}: {where}: not in the form that a plan is written in; make the plan again")
        return plan


def _no_plan(error: ValidationError, origin: str) -> ContractError:
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    said = first["msg"].removeprefix("Value error, ")
    return ContractError(f"{origin}: {where + ': ' if where else ''}{said}; make the plan again")


__all__ = ["DOWNLINK_PHASES", "UPLINK_PHASES", "ClientPlan", "Marginal", "Plan", "PlanStatus", "Prices"]
