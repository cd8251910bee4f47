"""With whom each client's assignment is carried out, and what identifies a run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from hybridsplit.runtime.worker.groups import Group, groups_of
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.contracts.schedule import Chain, Schedule, Simultaneous
from hybridsplit.scenarios.contracts.stages import Stages
from hybridsplit.scenarios.schema import Scenario, Training
from hybridsplit.scenarios.user_code import UserFunction


def groups_by(schedule: Schedule, assignments: Sequence[Assignment], training: Training) -> tuple[Group, ...]:
    """Return the groups of a round under a schedule.

    A chain of clients with server copies of their own is sequential split learning: each starts from the weights that
    the one before it ended with. A shared server model serves the clients in the order of the schedule; their own
    parts are averaged as always.

    Parameters
    ----------
    schedule
        The plan's.
    assignments
        Those who take part, in the order of the scenario.
    training
        Names the server model.
    """
    order = () if isinstance(schedule, Simultaneous) else schedule.order
    if training.server_model == "per-client":
        return groups_of(assignments, order if isinstance(schedule, Chain) else ())
    rank = {client: position for position, client in enumerate(order)}
    return groups_of(sorted(assignments, key=lambda a: rank.get(a.client, len(rank))))


def _code_digests(scenario: Scenario) -> Iterator[str]:
    """Hashes of the code of the user's own: a run does not go on with an edited model."""
    for named in (scenario.model.python, getattr(scenario.data, "python", None)):
        if named is not None:
            yield str(UserFunction.parsed(named).digest())


def _summing(stages: Stages) -> str:
    """Return how gradients of micro-batches are added, where it is not one after another."""
    return "" if stages.partial_sums == 1 else f" in {stages.partial_sums} sums"


def plan_fingerprint(scenario: Scenario, assignments: Sequence[Assignment], schedule: Schedule = Simultaneous()) -> str:
    """Hash what decides the trained bits.

    Parameters
    ----------
    scenario
        All settings.
    assignments
        The clients' options, in the order of the scenario.
    schedule
        The order in which clients follow each other, if they do.
    """
    text = "\n".join(
        [
            scenario.content_hash(),
            *(f"{a.client} {a.placement.key!r} {a.data_weight!r}" for a in assignments),
            *(f"{a.client} {a.stages!r}{_summing(a.stages)}" for a in assignments if a.stages is not None),
            schedule.model_dump_json(),
            *_code_digests(scenario),
        ]
    )
    return hashlib.sha256(text.encode()).hexdigest()
