"""The same options over other bands and other links: what more of a resource would change."""

from __future__ import annotations

import dataclasses

import numpy as np

from hybridsplit.scenarios.schema import LinkModel, RatedLink
from hybridsplit.solver.problem.links import dedicated_s, uplink_work
from hybridsplit.solver.problem.planning_problem import PlanningProblem


def with_band(
    problem: PlanningProblem, *, uplink_hz: float | None = None, downlink_hz: float | None = None
) -> PlanningProblem:
    """Return the same options over other bandwidths.

    Parameters
    ----------
    problem
        The planning problem.
    uplink_hz, downlink_hz
        Bandwidths; those of the scenario when None.
    """
    radio = problem.scenario.radio
    changed = radio.model_copy(
        update={
            "uplink_hz": radio.uplink_hz if uplink_hz is None else uplink_hz,
            "downlink_hz": radio.downlink_hz if downlink_hz is None else downlink_hz,
        }
    )
    uplink = uplink_work(changed, problem.clients, problem.client_index, problem.uplink_bits)
    scale = radio.downlink_hz / changed.downlink_hz if changed.downlink_hz else 1.0
    # Stated rates are those of a medium, whatever band others have.
    on_band = np.array([isinstance(client.link, LinkModel) for client in problem.clients])[problem.client_index]
    downlink_s = np.where(on_band, problem.work.downlink_s * scale, problem.work.downlink_s)
    return dataclasses.replace(problem, work=dataclasses.replace(problem.work, uplink=uplink, downlink_s=downlink_s))


def with_faster_links(problem: PlanningProblem, group: str, factor: float) -> PlanningProblem:
    """Return the same options with links of a group's own that carry more.

    Parameters
    ----------
    problem
        The planning problem.
    group
        Clients of other groups, and those that share the radio, keep their links.
    factor
        How many times as much the links carry.
    """
    clients = tuple(
        dataclasses.replace(client, link=client.link.times(factor))
        if client.group == group and isinstance(client.link, RatedLink) and client.link.is_dedicated
        else client
        for client in problem.clients
    )
    before, after = (
        dedicated_s(own, problem.client_index, problem.uplink_bits, problem.downlink_bits)
        for own in (problem.clients, clients)
    )
    saved_s = (before[0] - after[0]) + (before[1] - after[1])
    work = dataclasses.replace(problem.work, compute_s=problem.work.compute_s - saved_s)
    return dataclasses.replace(problem, clients=clients, work=work)
