"""The plans that rounds went by as a file, ``replanned.json``: those after the first, and when and why they came."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from hybridsplit.runtime.replay.changing import PlanChange, PlanSequence
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.contracts.sealed import Kind, read_sealed, write_sealed
from hybridsplit.scenarios.errors import ContractError

REPLANNED_SCHEMA_VERSION = 1
_KIND = Kind("the plans of a run", REPLANNED_SCHEMA_VERSION, "run again")
_CHANGES = TypeAdapter(tuple[PlanChange, ...])
_ROUNDS = TypeAdapter(tuple[int, ...])


def save_followed(followed: PlanSequence, path: Path) -> None:
    """Write the plans that rounds went by.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    write_sealed(
        path,
        {
            "schema_version": REPLANNED_SCHEMA_VERSION,
            "plan_of_round": list(followed.of_round),
            "changes": [{**asdict(change), "changed": list(change.changed)} for change in followed.changes],
            "plans": [plan.model_dump(mode="json") for plan in followed.plans[1:]],
        },
    )


def load_followed(path: Path, first: Plan) -> PlanSequence:
    """Read what :func:`save_followed` wrote.

    Parameters
    ----------
    path, first
        The file, and the plan of the first round.

    Raises
    ------
    AlteredError, ContractError
        If it is not as it was written, damaged, or of another run.
    """
    document = read_sealed(path, _KIND)
    try:
        of_round = _ROUNDS.validate_python(document["plan_of_round"])
        changes = _CHANGES.validate_python(document["changes"])
        plans = [first, *(Plan.of_document(one, f"{path}: plans") for one in document["plans"])]
    except (KeyError, TypeError, ValidationError) as error:
        raise ContractError(f"{path}: is damaged ({error}); run again") from error
    begins = [of_round.index(number) if number in of_round else -1 for number in range(len(plans))]
    in_order = list(of_round) == sorted(of_round) and [one.round for one in changes] == begins[1:]
    same = all([c.id for c in plan.clients] == [c.id for c in first.clients] for plan in plans)
    if not (in_order and same and begins[0] == 0 and plans[-1].scenario_hash == first.scenario_hash):
        raise ContractError(f"{path}: its rounds and plans are not those of one run; run again")
    return PlanSequence(tuple(plans), of_round, changes)
