"""Scenarios and option tables at the edges of what may come in, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.testing.instances import Instance, group, make_scenario, make_table, random_instance

SCALES = (1e-9, 1e9)
_SCALED = ("client_compute_s", "server_compute_s", "uplink_bytes", "downlink_bytes")


def _one_client(link_model: str, minimise: str) -> Instance:
    return random_instance(
        4, num_clients=1, num_options=6, link_model=link_model, minimise=minimise, minimum_progress=0.05
    )


def _one_option(link_model: str, minimise: str) -> Instance:
    return random_instance(
        4, num_clients=3, num_cuts=1, num_options=1, link_model=link_model, minimise=minimise, minimum_progress=0.0
    )


def _identical_clients(link_model: str, minimise: str) -> Instance:
    return random_instance(
        4, num_clients=5, copies=5, num_options=6, link_model=link_model, minimise=minimise, minimum_progress=0.05
    )


def _by_hand(link_model: str, minimise: str, rows: Callable[[str], list[dict[str, Any]]], **keys: Any) -> Instance:
    scenario = make_scenario(
        [group("a", count=3, link_model=link_model)], link_model=link_model, minimise=minimise, **keys
    )
    table = [row for client in scenario.expanded_clients() for row in rows(client.id)]
    return Instance(scenario, make_table(scenario, table))


def _option(client: str, cut: int, mode: str = "fo", **costs: Any) -> dict[str, Any]:
    base = {"client_compute_s": 1.0, "uplink_bytes": 10_000, "downlink_bytes": 10_000, "server_compute_s": 0.1}
    return {"client": client, "cut": cut, "mode": mode, "client_energy_j": 2.0} | base | costs


def _equal_options(link_model: str, minimise: str) -> Instance:
    return _by_hand(
        link_model,
        minimise,
        lambda name: [_option(name, cut, mode) for cut in (1, 2, 3) for mode in ("fo", "zo-projection", "zo-loss")],
    )


def _free_options(link_model: str, minimise: str) -> Instance:
    free = {"client_compute_s": 0.0, "uplink_bytes": 0, "downlink_bytes": 0, "server_compute_s": 0.0}
    return _by_hand(
        link_model,
        minimise,
        lambda name: [_option(name, 1, mode, **free) for mode in ("fo", "zo-projection", "zo-loss")],
    )


def _no_progress(link_model: str, _minimise: str) -> Instance:
    return _by_hand(
        link_model,
        "time-to-progress",
        lambda name: [_option(name, 1, mode, progress=0.0) for mode in ("fo", "zo-loss")],
    )


def _no_band(link_model: str, minimise: str, **keys: Any) -> Instance:
    instance = random_instance(4, num_clients=3, num_options=None, link_model=link_model)
    scenario = instance.scenario
    changed = scenario.model_copy(
        update={
            "radio": scenario.radio.model_copy(update=keys),
            "objective": scenario.objective.model_copy(update={"minimise": minimise}),
        }
    )
    return Instance(changed, instance.table)


def _zero_uplink(link_model: str, minimise: str) -> Instance:
    return _no_band(link_model, minimise, uplink_hz=0.0)


def _zero_downlink(link_model: str, minimise: str) -> Instance:
    return _no_band(link_model, minimise, downlink_hz=0.0)


def _zero_band_and_silent_options(link_model: str, minimise: str) -> Instance:
    silent = {"uplink_bytes": 0, "downlink_bytes": 0}
    return _by_hand(
        link_model,
        minimise,
        lambda name: [_option(name, 1), *(_option(name, 2, mode, **silent) for mode in ("fo", "zo-loss"))],
        uplink_hz=0.0,
        downlink_hz=0.0,
    )


def _no_fitting_option(link_model: str, minimise: str) -> Instance:
    return _by_hand(
        link_model,
        minimise,
        lambda name: [_option(name, 1, client_peak_bytes=1 if name != "a-1" else 10**12)],
    )


def _no_row(link_model: str, minimise: str) -> Instance:
    whole = _equal_options(link_model, minimise)
    return Instance(whole.scenario, OptionTable(whole.table.table.query("client != 'a-1'")))


def _scaled(scale: float, columns: tuple[str, ...], clients: slice) -> Callable[[str, str], Instance]:
    """Return a builder that multiplies costs of some clients."""

    def build(link_model: str, minimise: str) -> Instance:
        instance = random_instance(
            6, num_clients=3, num_options=6, link_model=link_model, minimise=minimise, minimum_progress=0.0
        )
        frame = instance.table.table.copy()
        names = [client.id for client in instance.scenario.expanded_clients()][clients]
        own = frame["client"].isin(names)
        for column in columns:
            frame.loc[own, column] = (frame.loc[own, column] * scale).astype(frame[column].dtype)
        if "uplink_bytes" in columns:
            frame["model_upload_bytes"] = np.minimum(frame["model_upload_bytes"], frame["uplink_bytes"])
            frame["model_download_bytes"] = np.minimum(frame["model_download_bytes"], frame["downlink_bytes"])
        return Instance(instance.scenario, OptionTable(frame))

    return build


def _scaled_cases() -> Iterator[tuple[str, Callable[[str, str], Instance]]]:
    for scale in SCALES:
        yield f"everything times {scale:g}", _scaled(scale, _SCALED, slice(None))
        yield f"seconds of one client times {scale:g}", _scaled(scale, _SCALED[:2], slice(1))
        yield f"bytes of one client times {scale:g}", _scaled(scale, _SCALED[2:], slice(1))
    yield "progress times 1e-09", _scaled(1e-9, ("progress",), slice(None))


CASES: Mapping[str, Callable[[str, str], Instance]] = {
    **{
        case.__name__.removeprefix("_").replace("_", " "): case
        for case in (
            _one_client, _one_option, _identical_clients, _equal_options, _free_options, _no_progress, _zero_uplink,
            _zero_downlink, _zero_band_and_silent_options, _no_fitting_option, _no_row,
        )
    },
    **dict(_scaled_cases()),
}  # fmt: skip
"""Name to builder of an instance, from link model and objective."""
NOBODY_CAN = frozenset({"no progress", "zero uplink", "zero downlink", "no fitting option", "no row"})
"""Cases without any plan."""
