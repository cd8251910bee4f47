"""What a report is made of, checked once, and how many clients become few enough rows to read."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from hybridsplit.orchestrator.plan_words import group_of
from hybridsplit.runtime.replay.changing import PlanSequence
from hybridsplit.runtime.replay.disciplined import plan_under
from hybridsplit.scenarios.contracts.disciplines import Disciplines
from hybridsplit.scenarios.contracts.ledger import Ledger
from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.plan import ClientPlan, Plan
from hybridsplit.scenarios.contracts.summary import RoundLatencies
from hybridsplit.scenarios.devices import find_device
from hybridsplit.scenarios.errors import ContractError, ScenarioError
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.scores import Score, score_for

MOST_ROWS = 40
"""Above so many clients, figures and tables show one row a group: more cannot be read, and the file would swell."""

_SHOWN_ALIKE = 5e-4
"""Relative difference of seconds that three digits do not show."""
ROUND_COLUMNS = ("round", "simulated_s", "train_loss")
"""Of rounds, beside the column of the score."""
MEMORY_COLUMNS = ("client", "predicted_peak_bytes", "measured_peak_bytes", "budget_bytes")


@dataclass(frozen=True)
class ReportData:
    """Everything a report shows.

    Parameters
    ----------
    scenario
        The scenario.
    plan
        The plan made for it.
    options
        The option table; None where only the plan is known.
    ledger
        Planned, replayed and measured entries, as far as there are any.
    rounds
        One row a round of training: ``round``, ``simulated_s``, ``train_loss``, and the score of the test data:
        ``test_accuracy`` or ``test_macro_f1`` (fractions) or ``test_r2``, NaN where a round was not evaluated. Empty
        when nothing was trained.
    memory
        One row a client: ``client``, ``predicted_peak_bytes``, ``measured_peak_bytes`` (NaN where not measured),
        ``budget_bytes``. When empty, the plan's predictions and budgets are shown.
    control
        Rounds of the run in which every client part stayed frozen, columns as ``rounds``; None without one.
    notes
        Sentences for the reader.
    bounds
        Where the plan's bounds come from, where the reader has to know: they are stated by a file, for example.
    latencies
        How round latencies over traces are spread; None over constant links.
    round_shown
        The round that is shown in time; the typical one when None.
    followed
        The plans that rounds went by; None where the plan could not change.
    disciplines
        By what the replay served; None where all was by the plan.

    Raises
    ------
    ContractError
        If a table that is not empty lacks a column, or the plan has no clients.
    """

    scenario: Scenario
    plan: Plan
    options: OptionTable | None
    ledger: Ledger
    rounds: pd.DataFrame
    memory: pd.DataFrame
    control: pd.DataFrame | None = None
    notes: tuple[str, ...] = ()
    bounds: str = ""
    latencies: RoundLatencies | None = None
    round_shown: int | None = None
    followed: PlanSequence | None = None
    disciplines: Disciplines | None = None

    def __post_init__(self) -> None:
        if not self.plan.clients:
            raise ContractError("the plan has no clients; needs at least one to report on: make the plan again")
        for name, table, columns in (
            ("rounds", self.rounds, (*ROUND_COLUMNS, self.score.column)),
            ("memory", self.memory, MEMORY_COLUMNS),
            ("control", self.control, (*ROUND_COLUMNS, self.score.column)),
        ):
            missing = [column for column in columns if table is not None and column not in table.columns]
            if table is not None and len(table) and missing:
                raise ContractError(
                    f"the report's {name} table lacks the columns {', '.join(missing)}; it has "
                    f"{', '.join(map(str, table.columns))}: it was written by another version, run again"
                )
        if self.memory.empty:
            object.__setattr__(self, "memory", _planned_memory(self.plan))

    @property
    def score(self) -> Score:
        """What the model is judged by."""
        return score_for(self.scenario.model.problem_type)

    @property
    def served_plan(self) -> Plan:
        """The plan, with all of what the replay's disciplines divide for each client that uses it."""
        return plan_under(self.plan, self.disciplines)

    @property
    def is_grouped(self) -> bool:
        """Whether there are too many clients for a row each."""
        return len(self.plan.clients) > MOST_ROWS

    @property
    def chooses_batch_size(self) -> bool:
        """Whether the planner had several batch sizes to choose from."""
        return self.scenario.training.chooses_batch_size

    @property
    def offers_overlap(self) -> bool:
        """Whether clients could go ahead of their gradients."""
        return self.scenario.training.overlap.most > 0

    @property
    def offers_micro_batches(self) -> bool:
        """Whether batches could be trained in parts."""
        return self.scenario.training.overlap.most_micro_batches > 1

    @property
    def offers_seldom_uploads(self) -> bool:
        """Whether clients with a loss of their own could send smashed data in some steps only."""
        return max(self.scenario.training.local_loss.upload_every) > 1

    @property
    def offers_heads(self) -> bool:
        """Whether clients could have the last blocks, with the loss, as well."""
        return max(self.scenario.training.head_block_choices) > 0

    @property
    def slowest(self) -> tuple[ClientPlan, ...]:
        """The clients that the plan's round waits for: several where their latencies are equal as they are shown."""
        longest_s = max(client.latency_s for client in self.plan.clients)
        return tuple(
            client for client in self.plan.clients if math.isclose(client.latency_s, longest_s, rel_tol=_SHOWN_ALIKE)
        )


@dataclass(frozen=True)
class Bunch:
    """Clients that share a row: one client, or a group of them.

    Parameters
    ----------
    label
        What the row is called.
    clients
        The clients, in plan order; at least one.
    """

    label: str
    clients: tuple[ClientPlan, ...]

    @property
    def ids(self) -> frozenset[str]:
        """Ids of the clients."""
        return frozenset(client.id for client in self.clients)


def bunches(plan: Plan) -> tuple[Bunch, ...]:
    """Divide the clients into rows, at most about forty.

    Parameters
    ----------
    plan
        The plan.

    Returns
    -------
    tuple[Bunch, ...]
        One client each as long as there are few; else one group each; one kind of device each when even the groups are
        many.
    """
    if len(plan.clients) <= MOST_ROWS:
        return tuple(Bunch(client.id, (client,)) for client in plan.clients)
    by_group = _bunched(plan, lambda client: group_of(client.id))
    return by_group if len(by_group) <= MOST_ROWS else _bunched(plan, lambda client: client.device)


def replayed_s(replayed: pd.DataFrame) -> float:
    """Return the length of a replay, seconds.

    Parameters
    ----------
    replayed
        Replayed entries of a ledger. The phases of a client's round, the barrier included, sum to the length of the
        round, where what was overlapped counts off; not every client takes part in every round.
    """
    sign = 1.0 - 2.0 * (replayed["phase"] == str(Phase.OVERLAPPED))
    elapsed_s = (
        (sign * replayed["seconds"] + replayed["waiting_s"]).groupby([replayed["round"], replayed["client"]]).sum()
    )
    return float(elapsed_s.groupby(level="round").max().sum())


def device_name(scenario: Scenario, device_id: str) -> str:
    """Return the name of a device for people.

    Parameters
    ----------
    scenario
        The scenario, which may have devices of its own.
    device_id
        Id of the device; returned as it is when the catalogue has no such device any more.
    """
    try:
        return find_device(device_id, scenario.devices, "device").name
    except ScenarioError:  # a plan of an older catalogue is still worth a report
        return device_id


def _bunched(plan: Plan, key: Callable[[ClientPlan], str]) -> tuple[Bunch, ...]:
    members: dict[str, list[ClientPlan]] = {}
    for client in plan.clients:
        members.setdefault(key(client), []).append(client)
    return tuple(Bunch(f"{name} (× {len(clients):,})", tuple(clients)) for name, clients in members.items())


def _planned_memory(plan: Plan) -> pd.DataFrame:
    rows = [(client.id, client.client_peak_bytes, float("nan"), client.memory_budget_bytes) for client in plan.clients]
    return pd.DataFrame(rows, columns=list(MEMORY_COLUMNS))
