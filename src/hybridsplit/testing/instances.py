"""Builders of small and large random planning instances for the solver's tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hybridsplit.scenarios.contracts.options import OPTION_COLUMNS, OptionTable
from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.scenarios.schema import Scenario

MODES = ("fo", "fo-recompute", "zo-projection", "zo-loss")


@dataclass(frozen=True)
class Instance:
    """A scenario with its option table."""

    scenario: Scenario
    table: OptionTable


def make_scenario(
    groups: list[dict[str, Any]],
    *,
    link_model: str = "fixed",
    uplink_hz: float = 10e6,
    downlink_hz: float = 10e6,
    server_memory_bytes: int | None = None,
    minimise: str = "time-to-progress",
    minimum_progress: float = 0.0,
    modes: tuple[str, ...] = MODES,
    coverage: float = 0.0,
    energy_cap_j: float | None = None,
    local_steps: int = 1,
    server_model: str = "per-client",
) -> Scenario:
    """Build a minimal scenario around client groups."""
    server: dict[str, Any] = {"device": "edge_rtx_a2000_6gb"}
    if server_memory_bytes is not None:
        server["memory_bytes"] = server_memory_bytes
    document = {
        "name": "test",
        "model": {"task": "image-classification", "config": {"model_type": "resnet"}},
        "data": {"source": "digits"},
        "training": {
            "optimizer": {"name": "sgd", "learning_rate": 0.1},
            "batch_size": 8,
            "local_steps": local_steps,
            "server_model": server_model,
            "modes": list(modes),
        },
        "server": server,
        "radio": {"link_model": link_model, "uplink_hz": uplink_hz, "downlink_hz": downlink_hz},
        "clients": groups,
        "objective": {
            "minimise": minimise,
            "minimum_progress": minimum_progress,
            "coverage": coverage,
            "energy_cap_j": energy_cap_j,
        },
    }
    return validate_scenario(document, "test")


def group(
    name: str, *, count: int = 1, link_model: str = "fixed", rng: np.random.Generator | None = None, **keys: Any
) -> dict[str, Any]:
    """Build one client group; link figures are drawn when a generator is given."""
    draw = rng.uniform if rng is not None else lambda low, high: (low + high) / 2
    if link_model == "fixed":
        link = {"uplink_bps_per_hz": float(draw(0.5, 5)), "downlink_bps_per_hz": float(draw(1, 6))}
    else:
        link = {"path_gain_db": float(draw(-115, -85)), "downlink_bps_per_hz": float(draw(1, 6))}
    return {
        "group": name,
        "device": "rpi4b_8gb",
        "count": count,
        "memory_budget_bytes": 10_000_000,
        "link": link,
    } | keys


def make_table(scenario: Scenario, rows: list[dict[str, Any]]) -> OptionTable:
    """Build an option table, costs absent from a row being zero."""
    clients = {client.id: client for client in scenario.expanded_clients()}
    full = []
    for row in rows:
        client = clients[row["client"]]
        base: dict[str, Any] = dict.fromkeys(OPTION_COLUMNS, 0) | {
            "device": client.device,
            "recompute": "",
            "upload_every": 1,
            "micro_batches": 1,
            "batch_size": scenario.training.batch_size,
            "memory_budget_bytes": client.memory_budget_bytes,
            "client_energy_j": float("nan"),
            "data_weight": client.data_weight,
            "confidence": "derived",
            "progress": 1.0,
        }
        base |= row
        base["fits"] = base["client_peak_bytes"] <= base["memory_budget_bytes"]
        full.append(base)
    return OptionTable(pd.DataFrame(full, columns=list(OPTION_COLUMNS)).astype(dict(OPTION_COLUMNS)))


def random_rows(
    client: str, num_cuts: int, modes: tuple[str, ...], rng: np.random.Generator, num_options: int | None = None
) -> list[dict[str, Any]]:
    """Draw plausible options: deeper cuts cost the device more and the server less; zeroth order saves memory."""
    speed, rows = rng.uniform(0.3, 3.0), []
    activation = np.sort(rng.uniform(0.05e6, 2e6, num_cuts))[::-1] * rng.uniform(0.7, 1.3, num_cuts)
    for cut in range(1, num_cuts + 1):
        depth = cut / num_cuts
        local = cut == num_cuts
        for mode in modes:
            if local and mode == "zo-projection":
                continue
            exact = mode in ("fo", "fo-recompute")
            effort = {"fo": 3.0, "fo-recompute": 4.0, "zo-projection": 5.0, "zo-loss": 9.0}[mode]
            smashed = 0.0 if local else activation[cut - 1] * (9 if mode == "zo-loss" else 1)
            model_bytes = int(4e5 * depth) if exact else 400
            rows.append(
                {
                    "client": client,
                    "cut": cut,
                    "mode": mode,
                    "client_compute_s": effort * depth * speed * rng.uniform(0.9, 1.1),
                    "uplink_bytes": int(smashed) + model_bytes,
                    "downlink_bytes": (0 if mode == "zo-loss" else int(smashed if not local else 0)) + int(4e5 * depth),
                    "model_upload_bytes": model_bytes,
                    "model_download_bytes": int(4e5 * depth),
                    "server_compute_s": 0.0
                    if local
                    else rng.uniform(0.02, 0.06) * (1 - depth) * (9 if mode == "zo-loss" else 1),
                    "client_peak_bytes": int(
                        {"fo": 9e6, "fo-recompute": 5e6, "zo-projection": 3e6, "zo-loss": 2.5e6}[mode] * depth
                    ),
                    "client_energy_j": effort * depth * rng.uniform(2, 9),
                    "server_state_bytes": 0 if local else int(1e6 * (1.2 - depth)),
                    "progress": (1 - depth) + depth * (1.0 if exact else rng.uniform(0.02, 0.1)),
                }
            )
    if num_options is not None and num_options < len(rows):
        keep = np.sort(rng.choice(len(rows), num_options, replace=False))
        rows = [rows[i] for i in keep]
    return rows


def random_instance(
    seed: int,
    *,
    num_clients: int = 3,
    num_cuts: int = 4,
    num_options: int | None = 4,
    modes: tuple[str, ...] = MODES,
    link_model: str = "fixed",
    server_memory: bool = False,
    minimise: str = "time-to-progress",
    minimum_progress: float | None = None,
    budgets: tuple[float, float] = (9e6, 10e6),
    copies: int = 1,
    energy_cap: bool = False,
    own_energy_cap: bool = False,
    coverage: bool = False,
    drop: bool = False,
    min_cut: bool = False,
    local_steps: int = 1,
    server_model: str = "per-client",
) -> Instance:
    """Draw an instance; ``server_memory`` and the like set limits that bind, and all of them together leave a plan.

    No ``minimum_progress`` draws one where the objective needs it.
    """
    rng = np.random.default_rng(seed)
    groups = [
        group(
            f"g{i}",
            count=copies,
            link_model=link_model,
            rng=rng,
            data_share=float(rng.uniform(0.5, 2)),
            memory_budget_bytes=int(rng.uniform(*budgets)),
        )
        for i in range(num_clients // copies)
    ]
    draft = make_scenario(groups, link_model=link_model)
    rows: list[dict[str, Any]] = []
    for index, member in enumerate(draft.clients):
        shared = random_rows("", num_cuts, modes, np.random.default_rng([seed, index]), num_options)
        names = [c.id for c in draft.expanded_clients() if c.group == member.group]
        rows += [row | {"client": name} for name in names for row in shared]
    frame = pd.DataFrame(rows)
    weights = {c.id: c.data_weight for c in draft.expanded_clients()}
    # A plan drawn at random keeps every limit that is drawn below, so that there is one.
    frame["w"] = frame["client"].map(weights)
    frame["fits"] = frame["client_peak_bytes"] <= frame["client"].map(
        {c.id: c.memory_budget_bytes for c in draft.expanded_clients()}
    )
    pool = frame[frame["fits"]] if frame[frame["fits"]]["client"].nunique() == len(weights) else frame
    known = pool.groupby("client", sort=False).sample(1, random_state=seed)
    memory = _between(frame, known, "server_state_bytes", rng) if server_memory else None
    energy_cap_j = _between(frame, known, "client_energy_j", rng) if energy_cap else None
    if minimum_progress is None:
        needs = minimise in ("round-latency", "energy")
        reached = float((known["w"] * known["progress"]).sum())
        minimum_progress = reached * float(rng.uniform(0.8, 1.0)) if needs else 0.0
    exact = known["mode"].isin(["fo", "fo-recompute"])
    covered = float(known["w"][exact].sum()) * (1 - 1e-9) if coverage else 0.0
    for index, limited in enumerate(groups):
        own = known[known["client"].str.startswith(f"g{index}-")]
        if own_energy_cap:
            limited["energy_cap_j"] = float(own["client_energy_j"].max()) * float(rng.uniform(1.0, 1.5))
        if drop and rng.uniform() < 0.7:
            limited["drop_price_s"] = float(rng.uniform(0.0, 4.0))
        if min_cut:
            limited["min_cut"] = int(rng.integers(1, int(own["cut"].min()) + 1))
    scenario = make_scenario(
        groups,
        link_model=link_model,
        server_memory_bytes=None if memory is None else int(memory),
        minimise=minimise,
        minimum_progress=float(np.floor(minimum_progress * 1e6) / 1e6),
        coverage=covered,
        energy_cap_j=energy_cap_j,
        local_steps=local_steps,
        server_model=server_model,
    )
    return Instance(scenario, make_table(scenario, rows))


def for_target(instance: Instance, seed: int, *, most_untrained: float = 0.5) -> Instance:
    """Return an instance whose objective is the time to a target, with gains drawn beside its costs.

    Parameters
    ----------
    instance
        The instance.
    seed
        Of the draws.
    most_untrained
        Largest constant of untrained blocks.
    """
    rng = np.random.default_rng([seed, 7])
    rows = instance.table.table.copy()
    num_blocks, weight = int(rows["cut"].max()), rows["data_weight"].to_numpy()
    rounds = float(rng.uniform(2, 20))
    # With so much in the way of some rows, their client costs more than it adds.
    rows["gain"] = weight / rounds
    rows["delay"] = weight * rng.choice([1.0, 4.0]) * rng.uniform(0.0, 1.0, len(rows)) ** 3 / rounds
    estimated = rows["mode"].str.startswith("zo").to_numpy()
    rows["estimate_delay"] = np.where(estimated, weight * rng.uniform(0.0, 0.3, len(rows)), 0.0) / rounds
    rows["noise_delay"] = weight * rng.uniform(0.0, 0.5, len(rows)) / rounds
    share = rng.dirichlet(np.ones(num_blocks))
    pilot = {
        "formula": 2,
        "target_accuracy": 0.9,
        "rounds": rounds,
        "untrained_blocks": float(rng.uniform(0, most_untrained)),
        "held_out_error": 0.1,
        "num_pilots": 6,
        "block_share": share.tolist(),
    }
    document = instance.scenario.resolved()
    document["objective"] |= {"minimise": "time-to-target", "pilot": pilot}
    return Instance(validate_scenario(document, "test"), OptionTable(rows))


def _between(frame: pd.DataFrame, known: pd.DataFrame, column: str, rng: np.random.Generator) -> float:
    """Draw a capacity between what the known plan takes and halfway to what the greediest takes."""
    taken = float(known[column].sum())
    most = float(frame.groupby("client")[column].max().sum())
    return taken + float(rng.uniform(0.0, 0.5)) * (most - taken)


def with_batch_sizes(table: OptionTable, scale: dict[int, tuple[float, float]]) -> OptionTable:
    """Offer every option at several batch sizes.

    Parameters
    ----------
    table
        The options.
    scale
        Batch size to factors of costs and of progress.
    """
    frames = []
    for batch_size, (cost, worth) in scale.items():
        rows = table.table.copy()
        rows["batch_size"] = batch_size
        for column in ("client_compute_s", "server_compute_s", "client_energy_j"):
            rows[column] *= cost
        rows["progress"] *= worth
        frames.append(rows)
    return OptionTable(pd.concat(frames, ignore_index=True).sort_values("client", kind="stable", ignore_index=True))


def without_local_options(instance: Instance) -> Instance:
    """Return the instance without options that leave the whole model on a device."""
    rows = instance.table.table
    return Instance(instance.scenario, OptionTable(rows[rows["server_compute_s"] > 0].reset_index(drop=True)))
