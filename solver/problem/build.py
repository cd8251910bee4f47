"""From an option table to the planning problem: which rows are usable, and their costs as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from hybridsplit.scenarios.contracts.jobs import num_exchanges
from hybridsplit.scenarios.contracts.option_rows import OptionRows, Rows
from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.errors import UsageError
from hybridsplit.scenarios.schema import Client, Scenario
from hybridsplit.scenarios.units import bits
from hybridsplit.solver.problem.alike_rows import AlikeRows, of_clients
from hybridsplit.solver.problem.arrays import BoolArray, FloatArray, IntArray, all_occur
from hybridsplit.solver.problem.costs import Work
from hybridsplit.solver.problem.infeasible import no_carrying_option, no_fitting_option, unknown_energy
from hybridsplit.solver.problem.limiting import under_objective_of, within_limits
from hybridsplit.solver.problem.links import dedicated_s, downlink_bps, uplink_work
from hybridsplit.solver.problem.overlap import Overlap, bounding_work, chains_of
from hybridsplit.solver.problem.planning_problem import ENERGY, TIME_TO_TARGET, PlanningProblem
from hybridsplit.solver.problem.target_rows import TargetRows
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
    rows = AlikeRows.of(frame, clients)
    index = rows.few.client
    usable = permitted(rows.few, index, rows.clients, scenario) & fits(rows.few)
    if not all_occur(index[usable], len(rows.kept)):
        raise no_fitting_option(frame.frame(), frame.client, rows.spread(usable), clients, scenario)
    few = _problem_of(rows.few, rows.clients, scenario)
    with np.errstate(invalid="ignore"):
        carried = np.isfinite(few.work.latency_s(1.0))
    if not all_occur(index[usable & carried], len(rows.kept)):
        raise no_carrying_option(frame.frame(), frame.client, rows.spread(usable), clients, scenario)
    usable &= carried
    if few.objective == ENERGY or few.energy_cap_j is not None:
        known = ~np.isnan(few.energy_j)
        if not all_occur(index[usable & known], len(rows.kept)):
            raise unknown_energy(frame.frame(), frame.client, rows.spread(usable & known), clients)
        usable &= known
    problem = _repeated(few, frame, clients, rows, rows.spread(usable))
    if problem.objective == TIME_TO_TARGET:
        problem = replace(problem, untrained_depth=int(problem.depth[~problem.is_dropped].min()))
    problem = within_limits(problem)
    return problem.restricted(_rows_as_fixed(problem, fixed)) if fixed else problem


def without_overlap(problem: PlanningProblem) -> tuple[PlanningProblem, IntArray]:
    """Return the problem of the rows that do one thing after another, and [K] their places among all rows.

    Parameters
    ----------
    problem
        Of which every client has such a row; the restriction refuses it otherwise.
    """
    mask = ~problem.overlaps
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


def everything_of(problem: PlanningProblem, chosen: IntArray | None = None) -> PlanningProblem:
    """Return all rows of the option table as a problem, usable or not, under the same objective and limits.

    Parameters
    ----------
    problem
        The problem.
    chosen
        [C] indices of clients, rising, whose rows alone are wanted, without limits; all when None.
    """
    if chosen is None:
        return under_objective_of(problem_of_rows(problem.all_options, problem.scenario), problem)
    clients = tuple(problem.clients[i] for i in chosen.tolist())
    few = _problem_of(of_clients(problem.all_options, chosen), clients, problem.scenario)
    return replace(under_objective_of(few, problem), limits=())


def problem_of_rows(frame: OptionRows, scenario: Scenario) -> PlanningProblem:
    """Turn rows into arrays, usable or not.

    Parameters
    ----------
    frame
        Rows of an option table, numbered and grouped by client in the scenario's order.
    scenario
        Radio, server memory, objective and clients.
    """
    clients = scenario.expanded_clients()
    rows = AlikeRows.of(frame, clients)
    return _repeated(_problem_of(rows.few, rows.clients, scenario), frame, clients, rows)


def _repeated(
    few: PlanningProblem,
    frame: OptionRows,
    clients: tuple[Client, ...],
    rows: AlikeRows,
    mask: BoolArray | None = None,
) -> PlanningProblem:
    """Return the problem of a table's rows ([K], or those of a mask), given that of the rows that others repeat."""
    place = np.arange(len(frame)) if mask is None else np.flatnonzero(mask)
    return replace(
        few,
        clients=clients,
        options=frame if mask is None else frame.take(place),
        all_options=frame,
        place=place,
        client_index=frame.client[place],
        data_weight=few.data_weight[np.searchsorted(rows.kept, rows.first)],
        **few.figures_of(rows.row[place]),
    )


def _problem_of(frame: OptionRows, clients: tuple[Client, ...], scenario: Scenario) -> PlanningProblem:
    """Turn rows of some clients of a scenario into arrays."""
    client_index = frame.client
    uplink_bits = bits(1) * frame["uplink_bytes"].to_numpy(dtype=float)
    downlink_bits = bits(1) * frame["downlink_bytes"].to_numpy(dtype=float)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        rate = downlink_bps(scenario.radio, clients)[client_index]
        downlink_s = np.where(downlink_bits > 0, downlink_bits / rate, 0.0)
    own_up_s, own_down_s = dedicated_s(clients, client_index, uplink_bits, downlink_bits)
    apart_s = propagation_s(frame, client_index, clients, scenario) + (own_up_s + own_down_s)
    work = Work(
        frame["client_compute_s"].to_numpy(dtype=float) + apart_s,
        uplink_work(scenario.radio, clients, client_index, uplink_bits),
        downlink_s,
        frame["server_compute_s"].to_numpy(dtype=float),
    )
    overlap = None
    ahead, parts = (frame[name].to_numpy(dtype=np.int64) for name in ("staleness", "micro_batches"))
    if ahead.any() or (parts > 1).any():
        chains = chains_of(frame, client_index, clients, scenario.training.local_steps, (own_up_s, own_down_s), work)
        overlap = Overlap(ahead, parts, work, chains)
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
        target=TargetRows.of(frame) if scenario.objective.minimise == TIME_TO_TARGET else None,
        overlap=overlap,
    )


def propagation_s(frame: Rows, client_index: IntArray, clients: Sequence[Client], scenario: Scenario) -> FloatArray:
    """[K] seconds of a round during which what was sent is on its way.

    Every transfer is delayed once: one up and one down a step with an exchange, or a micro-batch of it, two each where
    the head is on the client, as far as there are bytes to send in it, and the exchange of the model.

    Parameters
    ----------
    frame, client_index, clients
        Rows of an option table, the client of each, and the clients.
    scenario
        Gives the delays that there are, and the steps of a round.
    """
    total_s = np.zeros(len(frame))
    if not any(group.link.delay_s(is_up=up) for group in scenario.clients for up in (True, False)):
        return total_s
    links = [client.link for client in clients]
    exchanges = num_exchanges(scenario.training.local_steps, frame["upload_every"].to_numpy(dtype=np.int64))
    exchanges *= frame["micro_batches"].to_numpy(dtype=np.int64)
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
