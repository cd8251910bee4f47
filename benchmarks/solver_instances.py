"""Instances of any size for the solver's benchmarks, as arrays: no option table, no profiler.

All clients differ in speed, link, data and options; every client has ``cuts x modes`` options.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from hybridsplit.scenarios.contracts.option_rows import OptionRows
from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.solver.problem.limiting import within_limits
from hybridsplit.solver.problem.planning_problem import PlanningProblem

MODES = ("fo", "fo-recompute", "zo-projection", "zo-loss")
EFFORT = np.array([3.0, 4.0, 5.0, 9.0])


def make_problem(
    num_clients: int, num_cuts: int = 24, *, link_model: str = "fixed", server_memory: bool = False, seed: int = 0
) -> PlanningProblem:
    """Draw a planning problem.

    Parameters
    ----------
    num_clients
        Clients, all different.
    num_cuts
        Cuts of the model; four modes at each, three at the last.
    link_model
        ``fixed`` or ``shannon``.
    server_memory
        Whether the server's memory binds.
    seed
        Seed of all draws.
    """
    rng = np.random.default_rng(seed)
    scenario = _scenario(link_model)
    n, modes = num_clients, len(MODES)
    depth = np.arange(1, num_cuts + 1) / num_cuts
    speed = rng.uniform(0.3, 3.0, (n, 1, 1))
    jitter = rng.uniform(0.9, 1.1, (n, num_cuts, modes))
    activation = np.sort(rng.uniform(0.05e6, 2e6, (n, num_cuts)))[:, ::-1] * rng.uniform(0.7, 1.3, (n, num_cuts))
    local = (np.arange(num_cuts) == num_cuts - 1)[None, :, None]
    exact = np.array([True, True, False, False])
    upload = np.where(exact, 4e5 * depth[:, None], 400.0)[None]
    probes = np.array([1.0, 1.0, 1.0, 9.0])
    columns = {
        "client_compute_s": EFFORT * depth[None, :, None] * speed * jitter,
        "uplink_bytes": np.where(local, 0.0, activation[:, :, None] * probes) + upload,
        "downlink_bytes": np.where(local | (probes == 9), 0.0, activation[:, :, None]) + 4e5 * depth[None, :, None],
        "server_compute_s": np.where(
            local, 0.0, rng.uniform(0.02, 0.06, (n, num_cuts, modes)) * (1 - depth[None, :, None]) * probes
        ),
        "progress": (1 - depth[None, :, None])
        + depth[None, :, None] * np.where(exact, 1.0, rng.uniform(0.02, 0.1, (n, num_cuts, modes))),
        "server_state_bytes": np.where(local, 0.0, 1e6 * (1.2 - depth[None, :, None]) * np.ones((n, 1, modes))),
    }
    keep = ~(local[0] & (np.array(MODES) == "zo-projection"))
    flat = {name: np.broadcast_to(value, (n, num_cuts, modes))[:, keep] for name, value in columns.items()}
    width = int(keep.sum())
    weight = rng.uniform(0.5, 2.0, n)
    return _problem(scenario, flat, width, weight / weight.sum(), rng, server_memory)


def _scenario(link_model: str) -> Scenario:
    link = (
        {"uplink_bps_per_hz": 1.0, "downlink_bps_per_hz": 1.0}
        if link_model == "fixed"
        else {"path_gain_db": -100.0, "downlink_bps_per_hz": 1.0}
    )
    document = {
        "name": "scale",
        "model": {"task": "image-classification", "config": {"model_type": "resnet"}},
        "data": {"source": "digits"},
        "training": {"optimizer": {"name": "sgd", "learning_rate": 0.1}, "batch_size": 8, "modes": list(MODES)},
        "server": {"device": "edge_rtx_a2000_6gb"},
        "radio": {"link_model": link_model, "uplink_hz": 10e6, "downlink_hz": 10e6},
        "clients": [{"group": "c", "device": "rpi4b_8gb", "memory_budget_bytes": 10_000_000, "link": link}],
    }
    return validate_scenario(document, "benchmark")


def _problem(
    scenario: Scenario,
    flat: dict[str, np.ndarray],
    width: int,
    weight: np.ndarray,
    rng: np.random.Generator,
    server_memory: bool,
) -> PlanningProblem:
    from hybridsplit.solver.problem.costs import Work
    from hybridsplit.solver.problem.links import FixedUplink
    from hybridsplit.solver.problem.shannon_link import ShannonUplink

    n = len(weight)
    index = np.repeat(np.arange(n), width)
    up_bits, down_bits = 8 * flat["uplink_bytes"].ravel(), 8 * flat["downlink_bytes"].ravel()
    down_bps = 10e6 * rng.uniform(1.0, 6.0, n)
    if scenario.radio.link_model == "fixed":
        uplink = FixedUplink(up_bits / (10e6 * rng.uniform(0.5, 5.0, n))[index])
    else:
        snr_hz = 10 ** ((23.0 + rng.uniform(-115, -85, n) + 174.0) / 10)
        uplink = ShannonUplink(up_bits * np.log(2.0) / snr_hz[index], snr_hz[index] / 10e6)
    work = Work(flat["client_compute_s"].ravel(), uplink, down_bits / down_bps[index], flat["server_compute_s"].ravel())
    state = flat["server_state_bytes"].ravel().astype(np.int64)
    least, most = (getattr(state.reshape(n, width), name)(axis=1).sum() for name in ("min", "max"))
    member = scenario.expanded_clients()[0]
    ids = {"client": np.array([f"client-{number}" for number in range(n)], dtype=object)}
    modes = OptionRows(pd.DataFrame({"mode": ["fo"]}), np.zeros(len(index), dtype=np.int64), index, ids)
    problem = PlanningProblem(
        scenario=scenario,
        clients=(member,) * n,
        options=modes,
        all_options=modes,
        place=np.arange(len(index)),
        client_index=index,
        work=work,
        uplink_bits=up_bits,
        downlink_bits=down_bits,
        progress=flat["progress"].ravel(),
        data_weight=weight,
        server_state_bytes=state,
        server_memory_bytes=int(least + 0.3 * (most - least)) if server_memory else None,
        energy_j=np.zeros(len(index)),
        penalty_s=np.zeros(len(index)),
        objective="time-to-progress",
        minimum_progress=0.0,
        coverage=0.0,
        energy_cap_j=None,
    )
    return within_limits(problem)
