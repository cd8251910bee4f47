"""What a plan says a client is to do: its placement, with what the runtime needs to carry it out."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hybridsplit.scenarios.contracts.ladder import StepMemory
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.contracts.placement import Placement
from hybridsplit.scenarios.contracts.plan import ClientPlan, Plan
from hybridsplit.scenarios.contracts.relay_plan import RelayPlan
from hybridsplit.scenarios.contracts.stages import Stages, stages_of
from hybridsplit.scenarios.schema import Scenario


@dataclass(frozen=True)
class Assignment:
    """What a client is to do in every round.

    Parameters
    ----------
    client
        Its id.
    placement
        Where its blocks run and how its part is trained.
    data_weight
        Its share of the data, and its weight in the aggregation.
    memory_budget_bytes
        Hard limit on the peak of its part.
    resource
        Custom Ray resource of the real device that runs this client; None where any worker may emulate it.
    stages
        The machines that its blocks run on, where the model is cut several times; None for one cut.
    steps
        In which order each step of the coming round is run, and what it may take; empty where all follow the placement.
    before
        The placement by which it trained last, where that was another one; None elsewhere.
    """

    client: str
    placement: Placement
    data_weight: float
    memory_budget_bytes: int
    resource: str | None = None
    stages: Stages | None = None
    steps: tuple[StepMemory, ...] = ()
    before: Placement | None = None


def assignments_of(plan: Plan, scenario: Scenario) -> tuple[Assignment, ...]:
    """Return what the plan says each client is to do.

    Parameters
    ----------
    plan
        The plan.
    scenario
        Its scenario, in which clients may be bound to real devices.
    """
    resources = {client.id: client.ray_resource for client in scenario.expanded_clients()}
    local_steps = scenario.training.local_steps
    return tuple(
        Assignment(
            client.id,
            client.placement,
            client.data_weight,
            client.memory_budget_bytes,
            resources[client.id],
            steps=_unlimited(client, local_steps),
        )
        for client in plan.clients
    )


def relay_assignments_of(plan: RelayPlan, scenario: Scenario) -> tuple[Assignment, ...]:
    """Return what a plan over relays says each client is to do.

    Parameters
    ----------
    plan
        The plan.
    scenario
        The scenario of one cut with the same clients, data and training.
    """
    clients = {client.id: client for client in scenario.expanded_clients()}
    batch_size = scenario.training.batch_size
    found: list[Assignment] = []
    for planned in plan.clients:
        client, stages = clients[planned.id], stages_of(planned, plan.scenario["training"]["partial_sums"])
        placement = Placement(cut=max(1, stages.path[0].stop), mode=Mode.FO, batch_size=batch_size)
        budget_bytes = client.memory_budget_bytes
        found.append(
            Assignment(client.id, placement, client.data_weight, budget_bytes, client.ray_resource, stages=stages)
        )
    return tuple(found)


def _unlimited(client: ClientPlan, local_steps: int) -> tuple[StepMemory, ...]:
    """Return the steps of a ladder's fastest level: what a client does where no clock says what memory it has."""
    if not client.levels:
        return ()
    budget_bytes = client.memory_budget_bytes
    return (StepMemory(client.levels[0].recompute, budget_bytes, budget_bytes),) * local_steps


def frozen_assignments(assignments: tuple[Assignment, ...]) -> tuple[Assignment, ...]:
    """Return the control: the same placements with no client part trained, emulated by any worker."""
    return tuple(
        replace(one, placement=one.placement.trained_by(Mode.FROZEN), resource=None, steps=()) for one in assignments
    )
