"""Check a plan from the scenario and the option table alone, with plain Python that shares no code with the solver.

Every plan passes through here before it is shown (docs/methods/planning.md, Independent checks), and whenever it is
read from a file: neither a solver that says "optimal" nor a digest is evidence.
What is a single client's is in :mod:`hybridsplit.solver.verify.clients`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from hybridsplit.scenarios.contracts.plan import Plan, PlanStatus
from hybridsplit.scenarios.contracts.schedule import Chain, Turns
from hybridsplit.scenarios.errors import SolverFailure
from hybridsplit.scenarios.schema import AnyLink, Client, Scenario, Training
from hybridsplit.solver.verify.clients import client_violations
from hybridsplit.solver.verify.durations import LinkFacts
from hybridsplit.solver.verify.overlap import overlap_violations
from hybridsplit.solver.verify.phases import LATENCY_TOLERANCE, close_to
from hybridsplit.solver.verify.schedule import SHARE_TOLERANCE, share_violations, wait_violations
from hybridsplit.solver.verify.target import is_exact, target_violations

if TYPE_CHECKING:
    from hybridsplit.scenarios.contracts.options import OptionTable


def verify_plan(plan: Plan, scenario: Scenario, table: OptionTable) -> None:
    """Check a plan against every hard limit and every formula.

    Parameters
    ----------
    plan
        The plan.
    scenario
        The scenario that the plan claims to be for.
    table
        The option table that its options must come from.

    Raises
    ------
    SolverFailure
        If anything is wrong: shares outside [0, 1] or summing to more than 1 (tolerance 1e-9), memory over budget by a
        byte, a mode or cut that is not allowed, costs that are not the table's, latencies, objective, gap or bounds
        that do not follow from the shares (relative tolerance 1e-6). The message lists all violations.
    """
    if violations := list(plan_violations(plan, scenario, table)):
        raise SolverFailure(
            f"the plan of strategy {plan.strategy!r} breaks {len(violations)} rules and is rejected (this is a defect "
            f"of the solver, or the plan was changed by hand): {shortened(violations)}"
        )


def plan_violations(plan: Plan, scenario: Scenario, table: OptionTable | None) -> Iterator[str]:
    """Yield what is wrong with a plan.

    Parameters
    ----------
    plan, scenario, table
        As of :func:`verify_plan`. Without a table the costs of every option are taken as the plan states them; all that
        follows from them is checked.
    """
    training, dropped = scenario.training, set(plan.dropped)
    expanded = scenario.expanded_clients()
    kept = [client for client in expanded if client.id not in dropped] if dropped else expanded
    ids = [client.id for client in kept]
    if not ids or [client.id for client in plan.clients] != ids:
        yield "its clients are not the scenario's, in order"
        return
    yield from _of_plan(plan, scenario, expanded)
    of_group = {group.group: _link_facts(group.link) for group in scenario.clients}
    links = {client.id: of_group[client.group] for client in expanded}
    yield from share_violations(plan, links)
    yield from client_violations(plan, scenario, kept, table)
    yield from wait_violations(plan, training.local_steps, _synchronises(training), links)
    yield from _of_server_model(plan, training)
    yield from overlap_violations(plan, training)
    yield from target_violations(plan, scenario, table)


def shortened(violations: list[str]) -> str:
    """Join what is wrong; the first ten, and how many more there are."""
    shown = violations[:10]
    more = [f"... and {len(violations) - len(shown)} more"] if len(violations) > len(shown) else []
    return "; ".join([*shown, *more])


def _link_facts(link: AnyLink) -> LinkFacts:
    return LinkFacts(link.delay_s(is_up=True), link.delay_s(is_up=False), link.is_dedicated)


def _synchronises(training: Training) -> bool:
    """Say whether clients meet between steps: one server model takes every step with all of them."""
    return training.server_model in ("shared-mean", "shared-sequential") and training.local_steps >= 2


def _of_server_model(plan: Plan, training: Training) -> Iterator[str]:
    one_after_another = isinstance(plan.schedule, Turns) or (
        isinstance(plan.schedule, Chain) and len(plan.schedule.order) == len(plan.clients)
    )
    if training.server_model == "shared-sequential" and not one_after_another:
        yield "the server serves one client after another, and its clients take no turns"


def _of_deadline(plan: Plan, scenario: Scenario) -> Iterator[str]:
    """Check that there is a deadline where rounds do not wait, after the planned end, and the stated one if any."""
    stated_s, skips = scenario.objective.deadline_s, scenario.objective.late == "skip"
    if skips != (plan.deadline_s is not None):
        yield f"deadline_s is {plan.deadline_s}, and objective.late is {scenario.objective.late!r}"
    elif plan.deadline_s is not None:
        if not plan.deadline_s >= plan.round_latency_s * (1 - SHARE_TOLERANCE):
            yield f"deadline_s is {plan.deadline_s:.9g}, before the planned end at {plan.round_latency_s:.9g}"
        if stated_s is not None and plan.deadline_s != stated_s:
            yield f"deadline_s is {plan.deadline_s:.9g}, the scenario states {stated_s:.9g}"


def _of_plan(plan: Plan, scenario: Scenario, expanded: tuple[Client, ...]) -> Iterator[str]:
    prices = {client.id: client.drop_price_s for client in expanded}
    dropped = set(plan.dropped)
    for name in plan.dropped:
        if prices.get(name) is None:
            yield f"{name}: is left out, and the scenario has no drop_price_s for it"
    if not close_to(plan.drop_price_s, math.fsum(prices.get(name) or 0.0 for name in dropped)):
        yield f"drop_price_s is {plan.drop_price_s:.9g}, which is not the price of the dropped clients"
    if plan.scenario_hash != scenario.content_hash():
        yield "its scenario hash is not the scenario's"
    memory = scenario.server.memory_bytes
    state = sum(client.server_state_bytes for client in plan.clients)
    if memory is not None and state > memory:
        yield f"server state takes {state} bytes of {memory}"
    if not close_to(plan.round_latency_s, max(client.latency_s for client in plan.clients)):
        yield f"round_latency_s is {plan.round_latency_s:.9g}, the slowest client takes another time"
    yield from _of_deadline(plan, scenario)
    progress = math.fsum(client.data_weight * client.progress for client in plan.clients)
    if not close_to(plan.progress, progress):
        yield f"progress is {plan.progress:.9g}, its clients make {progress:.9g}"
    if progress < scenario.objective.minimum_progress * (1 - SHARE_TOLERANCE):
        yield f"progress {progress:.9g} is below the least one, {scenario.objective.minimum_progress:.9g}"
    if scenario.objective.coverage > 0:
        covered = math.fsum(client.data_weight for client in plan.clients if is_exact(client))
        if covered < scenario.objective.coverage - SHARE_TOLERANCE:
            yield f"coverage is {covered:.9g}, below the {scenario.objective.coverage:.9g} asked for"
    yield from _of_energy(plan, scenario, expanded)
    yield from _of_objective(plan, scenario, progress)


def _of_energy(plan: Plan, scenario: Scenario, expanded: tuple[Client, ...]) -> Iterator[str]:
    caps = {client.id: client.energy_cap_j for client in expanded if client.energy_cap_j is not None}
    for client in plan.clients if caps else ():
        cap = caps.get(client.id)
        if cap is not None and (client.client_energy_j is None or client.client_energy_j > cap):
            yield f"{client.id}: energy of {client.client_energy_j} J is not within its cap of {cap:g} J"
    cap, by_energy = scenario.objective.energy_cap_j, scenario.objective.minimise == "energy"
    if cap is None and not by_energy:
        return
    if unknown := [client.id for client in plan.clients if client.client_energy_j is None]:
        yield f"{unknown[0]}: its energy is unknown"
        return
    total_j = math.fsum(client.client_energy_j or 0.0 for client in plan.clients)
    if cap is not None and total_j > cap * (1 + SHARE_TOLERANCE):
        yield f"energy of all clients is {total_j:.9g} J, over the cap of {cap:.9g} J"
    if by_energy and (plan.objective_j is None or not close_to(plan.objective_j, total_j)):
        yield f"objective_j is {plan.objective_j}, its clients take {total_j:.9g} J"


def _of_objective(plan: Plan, scenario: Scenario, progress: float) -> Iterator[str]:
    if plan.objective != scenario.objective.minimise:
        yield f"it minimises {plan.objective!r}, the scenario {scenario.objective.minimise!r}"
    divisor = {"time-to-progress": progress, "time-to-target": plan.gain or 0.0}.get(scenario.objective.minimise, 1.0)
    if divisor <= 0:
        yield f"a round gains nothing, so {scenario.objective.minimise} has no value"
        return
    objective_s = (plan.round_latency_s + plan.drop_price_s) / divisor
    if not close_to(plan.objective_s, objective_s):
        yield f"objective_s is {plan.objective_s:.9g} where latency and progress give {objective_s:.9g}"
    if plan.lower_bound_s > plan.objective_s * (1 + SHARE_TOLERANCE):
        yield f"lower_bound_s {plan.lower_bound_s:.9g} is above objective_s {plan.objective_s:.9g}"
    if plan.schedule_lower_bound_s > plan.lower_bound_s * (1 + SHARE_TOLERANCE):
        yield f"schedule_lower_bound_s {plan.schedule_lower_bound_s:.9g} is above {plan.lower_bound_s:.9g}"
    value, lower = plan.objective_s, plan.lower_bound_s
    if scenario.objective.minimise == "energy":
        value, lower = plan.objective_j or 0.0, plan.lower_bound_j or 0.0
        if lower > value * (1 + SHARE_TOLERANCE):
            yield f"lower_bound_j {lower:.9g} is above objective_j {value:.9g}"
    gap = value / lower - 1 if lower > 0 else 0.0
    if plan.status is PlanStatus.OPTIMAL and gap > LATENCY_TOLERANCE * (1 + SHARE_TOLERANCE):
        yield f"it is called optimal with a gap of {gap:.9g}"
    if abs(plan.gap - max(0.0, gap)) > LATENCY_TOLERANCE * (1 + abs(gap)):
        yield f"gap is {plan.gap:.9g} where objective and bound give {gap:.9g}"
