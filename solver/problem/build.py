"""From an option table to the planning problem: which rows are usable, and their costs as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from hybridsplit.scenarios.contracts.jobs import num_exchanges
from hybridsplit.scenarios.contracts.option_rows import OptionRows, Rows
from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.errors import ContractError, UsageError
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.units import bits
from hybridsplit.solver.problem.arrays import BoolArray, FloatArray, IntArray
from hybridsplit.solver.problem.costs import Work
from hybridsplit.solver.problem.infeasible import no_carrying_option, no_fitting_option, unknown_energy
from hybridsplit.solver.problem.limiting import under_objective_of, within_limits
from hybridsplit.solver.problem.links import dedicated_s, downlink_bps, uplink_work
from hybridsplit.solver.problem.overlap import Overlap, bounding_work, chains_of
from hybridsplit.solver.problem.planning_problem import ENERGY, TIME_TO_TARGET, PlanningProblem
from hybridsplit.solver.problem.three_part import HeadArrays
from hybridsplit.solver.problem.usable_rows import fits, ordered, penalty_s, permitted, with_drop_rows


def build_problem(
    table: OptionTable, scenario: Scenario, fixed: Mapping[str, tuple[int, str]] | None = None
) -> PlanningProblem:
    """Collect the usable options of a table.

    Parameters
    ----------
    table
        The option table, with a row for every client of the scenario.
    scenario
        Radio, server memory, objective, modes and clients.
    fixed
        By client, the cut and mode it is to have; all others are free.

    Raises
    ------
    UsageError
        If ``fixed`` names a client or option that does not exist or does not fit.
    ContractError
        If table and scenario disagree on the clients or their data weights.
    InfeasibleError
        If a client has no usable option, if the server's memory cannot hold the leanest options together, or if the
        least progress is out of reach. The message names who, how much is missing and what would relax it.
    """
    clients = scenario.expanded_clients()
    frame = with_drop_rows(ordered(table, clients), clients)
    index = frame.client
    usable = permitted(frame, index, clients, scenario) & fits(frame)
    if len(np.unique(index[usable])) < len(clients):
        raise no_fitting_option(frame.frame(), index, usable, clients, scenario)
    everything = problem_of_rows(frame, scenario)
    with np.errstate(invalid="ignore"):
        carried = np.isfinite(everything.work.latency_s(1.0))
    if len(np.unique(index[usable & carried])) < len(clients):
        raise no_carrying_option(frame.frame(), index, usable, clients, scenario)
    usable &= carried
    if everything.objective == ENERGY or everything.energy_cap_j is not None:
        known = ~np.isnan(everything.energy_j)
        if len(np.unique(index[usable & known])) < len(clients):
            raise unknown_energy(frame.frame(), index, usable & known, clients)
        usable &= known
    problem = everything.restricted(usable)
    if problem.objective == TIME_TO_TARGET:
        problem = replace(problem, untrained_depth=int(problem.depth[~problem.is_dropped].min()))
    problem = within_limits(problem)
    return problem.restricted(_rows_as_fixed(problem, fixed)) if fixed else problem


def without_overlap(problem: PlanningProblem) -> tuple[PlanningProblem, IntArray]:
    """Return the problem of the rows that wait for every gradient, and [K] their places among all rows.

    Parameters
    ----------
    problem
        Of which every client has such a row; the restriction refuses it otherwise.
    """
    mask = problem.staleness == 0
    return replace(problem.restricted(mask), overlap=None), np.flatnonzero(mask).astype(np.int64)


def _rows_as_fixed(problem: PlanningProblem, fixed: Mapping[str, tuple[int, str]]) -> BoolArray:
    ids = [client.id for client in problem.clients]
    mask = np.ones(problem.num_rows, dtype=bool)
    for client_id, (cut, mode) in fixed.items():
        if client_id not in ids:
            raise UsageError(f"fixed: no client {client_id!r}; needs one of {', '.join(ids[:10])}")
        own = problem.client_index == ids.index(client_id)
        match = own & (problem.cuts == cut) & (problem.options["mode"] == str(mode)).to_numpy()
        if not match.any():
            choices = [f"{c} {m}" for c, m in zip(problem.cuts[own], problem.options["mode"][own], strict=True)]
            raise UsageError(
                f"fixed: client {client_id} has no usable option cut {cut} {mode}; needs one of {', '.join(choices)}"
            )
        mask &= ~own | match
    return mask


def everything_of(problem: PlanningProblem) -> PlanningProblem:
    """Return all rows of the option table as a problem, usable or not, under the same objective and limits."""
    return under_objective_of(problem_of_rows(problem.all_options, problem.scenario), problem)


def problem_of_rows(frame: OptionRows, scenario: Scenario) -> PlanningProblem:
    """Turn rows into arrays, usable or not.

    Parameters
    ----------
    frame
        Rows of an option table, numbered and grouped by client in the scenario's order.
    scenario
        Radio, server memory, objective and clients.
    """
    clients, client_index = scenario.expanded_clients(), frame.client
    uplink_bits = bits(1) * frame["uplink_bytes"].to_numpy(dtype=float)
    downlink_bits = bits(1) * frame["downlink_bytes"].to_numpy(dtype=float)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        rate = downlink_bps(scenario.radio, clients)[client_index]
        downlink_s = np.where(downlink_bits > 0, downlink_bits / rate, 0.0)
    own_up_s, own_down_s = dedicated_s(clients, client_index, uplink_bits, downlink_bits)
    apart_s = propagation_s(frame, client_index, scenario) + (own_up_s + own_down_s)
    work = Work(
        frame["client_compute_s"].to_numpy(dtype=float) + apart_s,
        uplink_work(scenario.radio, clients, client_index, uplink_bits),
        downlink_s,
        frame["server_compute_s"].to_numpy(dtype=float),
    )
    overlap = None
    if frame["staleness"].any():
        chains = chains_of(frame, client_index, scenario, (own_up_s, own_down_s), work)
        overlap = Overlap(frame["staleness"].to_numpy(dtype=np.int64), work, chains)
        evenly = np.full(chains.shape[:2], 1.0 / chains.shape[1])
        work = bounding_work(overlap, evenly, scenario.radio, clients, client_index, uplink_bits)
    return PlanningProblem(
        scenario=scenario,
        clients=clients,
        options=frame,
        all_options=frame,
        place=np.arange(len(frame)),
        client_index=client_index,
        work=work,
        uplink_bits=uplink_bits,
        downlink_bits=downlink_bits,
        progress=frame["progress"].to_numpy(dtype=float),
        data_weight=np.array([client.data_weight for client in clients]),
        server_state_bytes=frame["server_state_bytes"].to_numpy(dtype=np.int64),
        server_memory_bytes=scenario.server.memory_bytes,
        energy_j=frame["client_energy_j"].to_numpy(dtype=float),
        penalty_s=penalty_s(frame, client_index, clients),
        objective=scenario.objective.minimise,
        minimum_progress=scenario.objective.minimum_progress,
        coverage=scenario.objective.coverage,
        energy_cap_j=scenario.objective.energy_cap_j,
        target_gain=_target_column(frame, scenario, "gain"),
        estimate_loss=_target_column(frame, scenario, "estimate_loss"),
        overlap=overlap,
    )


def _target_column(frame: Rows, scenario: Scenario, name: str) -> FloatArray | None:
    """[K] a column that only tables of scenarios with a target have; None where the target is not the objective."""
    if scenario.objective.minimise != TIME_TO_TARGET:
        return None
    if name not in frame:
        raise ContractError(
            f"the option table lacks the column {name}, which the objective time-to-target needs: profile the scenario "
            "again, with objective.pilot"
        )
    return frame[name].to_numpy(dtype=float)


def propagation_s(frame: Rows, client_index: IntArray, scenario: Scenario) -> FloatArray:
    """[K] seconds of a round during which what was sent is on its way.

    Every transfer is delayed once: one up and one down a step with an exchange, two each where the head is on the
    client, as far as there are bytes to send in it, and the exchange of the model.

    Parameters
    ----------
    frame, client_index, scenario
        As of :func:`problem_of_rows`.
    """
    total_s = np.zeros(len(frame))
    if not any(group.link.delay_s(is_up=up) for group in scenario.clients for up in (True, False)):
        return total_s
    links = [client.link for client in scenario.expanded_clients()]
    exchanges = num_exchanges(scenario.training.local_steps, frame["upload_every"].to_numpy(dtype=np.int64))
    head = HeadArrays.of(frame)
    for is_up, every, model, head_bytes in (
        (True, "uplink_bytes", "model_upload_bytes", head.head_gradient_bytes),
        (False, "downlink_bytes", "model_download_bytes", head.head_features_bytes),
    ):
        delay_s = np.array([link.delay_s(is_up=is_up) for link in links])
        if not delay_s.any():
            continue
        model_bytes = frame[model].to_numpy(dtype=np.int64)
        step_bytes = frame[every].to_numpy(dtype=np.int64) - model_bytes - head_bytes
        transfers = np.minimum(step_bytes, exchanges) + np.minimum(head_bytes, exchanges) + (model_bytes > 0)
        total_s += delay_s[client_index] * transfers
    return total_s
