"""The planning problem: every usable option of every client, as arrays.

The problem is the same for every strategy; a baseline is a restriction of it, so "optimal is no worse than the
baseline" is an inequality that holds on any instance (DESIGN section 6).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import pandas as pd

from scenarios.contracts.modes import Mode
from scenarios.contracts.options import OptionTable
from scenarios.errors import ContractError
from scenarios.schema import Client, Scenario
from scenarios.units import bits
from solver.arrays import BoolArray, FloatArray, IntArray
from solver.costs import Work
from solver.infeasible import (
    check_progress,
    check_server_memory,
    no_carrying_option,
    no_fitting_option,
)
from solver.links import downlink_bps, uplink_work

TIME_TO_PROGRESS = "time-to-progress"
ROUND_LATENCY = "round-latency"
_WEIGHT_TOLERANCE = 1e-9


@dataclass(frozen=True)
class PlanningProblem:
    """Usable options as arrays over ``K`` rows, grouped by client; ``N`` clients.

    Make one with :meth:`build`. A row is usable when it fits its client's memory, keeps the scenario's ``min_cut`` and
    modes, and every link it uses can carry it.

    Parameters
    ----------
    scenario
        The scenario that the problem belongs to.
    clients
        [N] clients in the scenario's order.
    table
        The K usable rows of the option table, in the order of the arrays.
    all_rows
        Every row of the option table grouped by client, also what no plan may use: explanations need it.
    client_index
        [K] index into ``clients``, rising.
    work
        [K] seconds and transfers of every row.
    uplink_bits, downlink_bits
        [K] bits of a round, the exchange of the client part included.
    progress
        [K] expected progress of a round.
    data_weight
        [N] share of the data, summing to 1.
    server_state_bytes
        [K] server memory that a row takes.
    server_memory_bytes
        Memory for all server parts together; None when unlimited.
    objective
        ``time-to-progress`` or ``round-latency``.
    minimum_progress
        Least data-weighted progress of a plan.
    """

    scenario: Scenario
    clients: tuple[Client, ...]
    table: pd.DataFrame
    all_rows: pd.DataFrame
    client_index: IntArray
    work: Work
    uplink_bits: FloatArray
    downlink_bits: FloatArray
    progress: FloatArray
    data_weight: FloatArray
    server_state_bytes: IntArray
    server_memory_bytes: int | None
    objective: str
    minimum_progress: float

    @classmethod
    def build(cls, table: OptionTable, scenario: Scenario) -> PlanningProblem:
        """Collect the usable options of a table.

        Parameters
        ----------
        table
            The option table, with a row for every client of the scenario.
        scenario
            Radio, server memory, objective, modes and clients.

        Raises
        ------
        ContractError
            If table and scenario disagree on the clients or their data weights.
        InfeasibleError
            If a client has no usable option, if the server's memory cannot hold the leanest options together, or if the
            least progress is out of reach. The message names who, how much is missing and what would relax it.
        """
        clients = scenario.expanded_clients()
        frame, index = _ordered(table, clients)
        usable = permitted(frame, scenario) & fits(frame)
        if len(np.unique(index[usable])) < len(clients):
            raise no_fitting_option(frame, index, usable, clients, scenario)
        problem = cls.from_rows(frame, index, scenario)
        with np.errstate(invalid="ignore"):
            carried = np.isfinite(problem.work.latency_s(1.0))
        if len(np.unique(index[usable & carried])) < len(clients):
            raise no_carrying_option(frame, index, usable, clients, scenario)
        problem = problem.restricted(usable & carried)
        check_server_memory(problem.server_state_bytes, problem.client_index, problem.server_memory_bytes)
        if problem.server_memory_bytes is not None:
            problem = problem.restricted(problem.server_state_bytes <= problem.server_memory_bytes)
        check_progress(problem.gain, problem.client_index, problem.minimum_progress, problem.objective)
        return problem

    @classmethod
    def from_rows(cls, frame: pd.DataFrame, client_index: IntArray, scenario: Scenario) -> PlanningProblem:
        """Turn rows into arrays without asking whether they are usable.

        Parameters
        ----------
        frame
            Rows of an option table, grouped by client in the scenario's order.
        client_index
            [K] index into the scenario's clients, rising.
        scenario
            Radio, server memory, objective and clients.
        """
        clients = scenario.expanded_clients()
        uplink_bits = bits(1) * frame["uplink_bytes"].to_numpy(dtype=float)
        downlink_bits = bits(1) * frame["downlink_bytes"].to_numpy(dtype=float)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            rate = downlink_bps(scenario.radio, clients)[client_index]
            downlink_s = np.where(downlink_bits > 0, downlink_bits / rate, 0.0)
        work = Work(
            frame["client_compute_s"].to_numpy(dtype=float),
            uplink_work(scenario.radio, clients, client_index, uplink_bits),
            downlink_s,
            frame["server_compute_s"].to_numpy(dtype=float),
        )
        return cls(
            scenario=scenario,
            clients=clients,
            table=frame.reset_index(drop=True),
            all_rows=frame,
            client_index=client_index,
            work=work,
            uplink_bits=uplink_bits,
            downlink_bits=downlink_bits,
            progress=frame["progress"].to_numpy(dtype=float),
            data_weight=np.array([client.data_weight for client in clients]),
            server_state_bytes=frame["server_state_bytes"].to_numpy(dtype=np.int64),
            server_memory_bytes=scenario.server.memory_bytes,
            objective=scenario.objective.minimise,
            minimum_progress=scenario.objective.minimum_progress,
        )

    def restricted(self, mask: BoolArray) -> PlanningProblem:
        """Return the same problem with fewer options.

        Parameters
        ----------
        mask
            [K] True for the rows to keep.

        Raises
        ------
        ValueError
            If a client would be left without an option.
        """
        if len(np.unique(self.client_index[mask])) < self.num_clients:
            left = set(np.unique(self.client_index[mask]).tolist())
            lost = next(client.id for i, client in enumerate(self.clients) if i not in left)
            raise ValueError(
                f"a restriction leaves client {lost} without an option; keep at least one row of every client"
            )
        return dataclasses.replace(
            self,
            table=self.table[mask].reset_index(drop=True),
            client_index=self.client_index[mask],
            work=self.work.take(mask),
            uplink_bits=self.uplink_bits[mask],
            downlink_bits=self.downlink_bits[mask],
            progress=self.progress[mask],
            server_state_bytes=self.server_state_bytes[mask],
        )

    def with_objective(self, objective: str, minimum_progress: float) -> PlanningProblem:
        """Return the same options under another objective."""
        return dataclasses.replace(self, objective=objective, minimum_progress=minimum_progress)

    @property
    def num_clients(self) -> int:
        """Number of clients ``N``."""
        return len(self.clients)

    @property
    def num_rows(self) -> int:
        """Number of usable options ``K`` over all clients."""
        return len(self.client_index)

    @property
    def starts(self) -> IntArray:
        """[N] first row of every client."""
        return np.searchsorted(self.client_index, np.arange(self.num_clients)).astype(np.int64)

    @property
    def gain(self) -> FloatArray:
        """[K] what a row adds to the plan's progress: data weight times progress."""
        return self.data_weight[self.client_index] * self.progress

    @property
    def modes(self) -> list[Mode]:
        """[K] mode of every row."""
        return [Mode(mode) for mode in self.table["mode"]]

    @property
    def cuts(self) -> IntArray:
        """[K] cut of every row."""
        return self.table["cut"].to_numpy(dtype=np.int64)

    def total_progress(self, rows: IntArray) -> float:
        """Progress of a plan that takes the given row of every client ([N])."""
        return float(np.sum(self.gain[rows]))

    @property
    def divides_by_progress(self) -> bool:
        """True if the objective is the round latency divided by progress."""
        return self.objective == TIME_TO_PROGRESS

    def objective_s(self, round_latency_s: float, progress: float) -> float:
        """Objective of a plan with a round latency and a progress, seconds."""
        if not self.divides_by_progress:
            return round_latency_s
        return round_latency_s / progress if progress > 0 else np.inf


def fits(frame: pd.DataFrame) -> BoolArray:
    """[K] True for the rows within their client's memory budget, to the byte."""
    within = frame["client_peak_bytes"].to_numpy() <= frame["memory_budget_bytes"].to_numpy()
    return np.asarray(frame["fits"].to_numpy(dtype=bool) & within)


def permitted(frame: pd.DataFrame, scenario: Scenario) -> BoolArray:
    """[K] True for the rows that keep the scenario's modes and their client's ``min_cut``."""
    min_cut = frame["client"].map({client.id: client.min_cut for client in scenario.expanded_clients()})
    allowed = frame["mode"].isin([str(mode) for mode in scenario.training.modes])
    return np.asarray(allowed.to_numpy() & (frame["cut"].to_numpy() >= min_cut.to_numpy()))


def _ordered(table: OptionTable, clients: tuple[Client, ...]) -> tuple[pd.DataFrame, IntArray]:
    """Rows grouped by client in the scenario's order, and the client index of each."""
    position = {client.id: i for i, client in enumerate(clients)}
    index = table.table["client"].map(position)
    if index.isna().any():
        stranger = table.table["client"][index.isna()].iloc[0]
        raise ContractError(
            f"the option table has client {stranger}, which the scenario does not; needs the clients of the scenario: "
            "profile this scenario again"
        )
    order = np.argsort(index.to_numpy(dtype=np.int64), kind="stable")
    frame = table.table.iloc[order].reset_index(drop=True)
    sorted_index = index.to_numpy(dtype=np.int64)[order].astype(np.int64)
    present = set(table.table["client"])
    if absent := [client.id for client in clients if client.id not in present]:
        raise ContractError(
            f"the option table has no row for client {absent[0]} ({len(absent)} clients in all); needs rows for every "
            "client of the scenario: profile this scenario again"
        )
    expected = np.array([client.data_weight for client in clients])[sorted_index]
    wrong = np.abs(frame["data_weight"].to_numpy(dtype=float) - expected) > _WEIGHT_TOLERANCE
    if wrong.any():
        row = frame.iloc[int(np.argmax(wrong))]
        raise ContractError(
            f"the option table gives client {row['client']} the data weight {row['data_weight']:.9g}; needs "
            f"{expected[int(np.argmax(wrong))]:.9g} as the scenario has it: profile this scenario again"
        )
    return frame, sorted_index
