"""Check the seconds of every phase of a planned client, from bytes, shares and link formulas, in plain Python."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from hybridsplit.scenarios.contracts.jobs import crossings
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.plan import ClientPlan
from hybridsplit.scenarios.schema import Client, FixedLink, LinkModel, RatedLink, Scenario, ShannonLink
from hybridsplit.scenarios.units import bits
from hybridsplit.solver.verify.overlap import overlapped_latency_s

LATENCY_TOLERANCE = 1e-6


class Alone(NamedTuple):
    """What a client's round takes where it waits for nobody.

    Parameters
    ----------
    by_phase
        Seconds of each phase.
    total_s
        Of all phases; where steps overlap, until the last of them ends.
    """

    by_phase: Mapping[Phase, float]
    total_s: float


def alone(planned: ClientPlan, client: Client, scenario: Scenario) -> Alone:
    """Derive the seconds of a client from its bytes, its shares and the formulas of its link.

    Parameters
    ----------
    planned
        The client's part of the plan; its seconds are not looked at.
    client, scenario
        The client and the scenario it is of.
    """
    up_s = _seconds(bits(planned.uplink_bytes), uplink_bps(client, scenario, planned.uplink_share))
    down_s = _seconds(bits(planned.downlink_bytes), downlink_bps(client, scenario, planned.downlink_share))
    server_s = _seconds(planned.server_compute_s, planned.server_share)
    of_steps_up = planned.uplink_bytes - planned.model_upload_bytes - planned.head_gradient_bytes
    of_steps_down = planned.downlink_bytes - planned.model_download_bytes - planned.head_features_bytes
    expected = {
        Phase.CLIENT_COMPUTE: planned.client_compute_s - planned.head_compute_s,
        Phase.SERVER_COMPUTE: _seconds(planned.server_compute_s - planned.server_backward_s, planned.server_share),
        Phase.MODEL_UPLOAD: _part(up_s, planned.model_upload_bytes, planned.uplink_bytes),
        Phase.UPLINK: _part(up_s, of_steps_up, planned.uplink_bytes),
        Phase.MODEL_DOWNLOAD: _part(down_s, planned.model_download_bytes, planned.downlink_bytes),
        Phase.DOWNLINK: _part(down_s, of_steps_down, planned.downlink_bytes),
    }
    if planned.head_blocks:
        expected |= {
            Phase.HEAD_DOWNLINK: _part(down_s, planned.head_features_bytes, planned.downlink_bytes),
            Phase.HEAD_COMPUTE: planned.head_compute_s,
            Phase.HEAD_UPLINK: _part(up_s, planned.head_gradient_bytes, planned.uplink_bytes),
            Phase.SERVER_BACKWARD: _seconds(planned.server_backward_s, planned.server_share),
        }
    up_times, down_times = crossings(planned, scenario.training.local_steps)
    propagation_s = up_times * client.link.delay_s(is_up=True) + down_times * client.link.delay_s(is_up=False)
    if propagation_s > 0:
        expected[Phase.PROPAGATION] = propagation_s
    total_s = planned.client_compute_s + up_s + down_s + server_s + propagation_s
    if planned.overlaps:
        delays_s = client.link.delay_s(is_up=True), client.link.delay_s(is_up=False)
        latency_s = overlapped_latency_s(planned, expected, delays_s, scenario.training.local_steps)
        expected[Phase.OVERLAPPED] = max(0.0, total_s - latency_s)
        total_s = latency_s
    return Alone(expected, total_s)


def phase_violations(planned: ClientPlan, derived: Alone) -> Iterator[str]:
    """Yield what is wrong with the phases of a client.

    Parameters
    ----------
    planned
        The client's part of the plan.
    derived
        What its phases must be.
    """
    if set(planned.phases_s) != set(derived.by_phase):
        yield f"{planned.id}: its phases are not those of a round"
        return
    for phase, seconds in derived.by_phase.items():
        # Relative to the latency: a phase of microseconds within a round of seconds carries rounding of the latter.
        tolerance_s = LATENCY_TOLERANCE * max(seconds, planned.latency_s)
        if not (math.isfinite(seconds) and abs(planned.phases_s[phase] - seconds) <= tolerance_s):
            yield f"{planned.id}: {phase} is {planned.phases_s[phase]:.9g} s, its shares give {seconds:.9g} s"


def latency_violations(planned: ClientPlan, derived: Alone) -> Iterator[str]:
    """Yield what is wrong with the waits and the latency of a client; parameters as of :func:`phase_violations`."""
    waits_s = planned.waiting_s.values()
    if not all(wait >= 0 for wait in waits_s):
        yield f"{planned.id}: it waits for a negative time"
    latency_s = derived.total_s + math.fsum(waits_s)
    if not close_to(planned.latency_s, latency_s):
        yield f"{planned.id}: latency_s is {planned.latency_s:.9g}, its shares give {latency_s:.9g}"


def are_exact(planned: ClientPlan, derived: Alone) -> bool:
    """Say whether every phase is the derived one to within a fraction of itself, so that it is at any latency."""
    return set(planned.phases_s) == set(derived.by_phase) and all(
        close_to(planned.phases_s[phase], seconds) for phase, seconds in derived.by_phase.items()
    )


def uplink_bps(client: Client, scenario: Scenario, share: float) -> float:
    """Rate of a client at a share of the uplink band, bit/s; a link of its own has one rate."""
    if isinstance(client.link, RatedLink):
        return client.link.uplink_bps * (1.0 if client.link.is_dedicated else share)
    band_hz = share * scenario.radio.uplink_hz
    if type(client.link) is FixedLink:
        return band_hz * client.link.uplink_bps_per_hz
    if type(client.link) is not ShannonLink:
        assert isinstance(client.link, LinkModel)
        return client.link.uplink_bps(scenario.radio, share)
    if band_hz <= 0:
        return 0.0
    power_w = 10 ** ((client.link.transmit_power_dbm - 30) / 10)
    gain = 10 ** (client.link.path_gain_db / 10)
    noise_w = 10 ** ((scenario.radio.noise_dbm_per_hz - 30) / 10) * band_hz
    return band_hz * math.log1p(power_w * gain / noise_w) / math.log(2)


def downlink_bps(client: Client, scenario: Scenario, share: float) -> float:
    """Rate of a client at a share of the downlink band, bit/s; a link of its own has one rate."""
    if isinstance(client.link, RatedLink):
        return client.link.downlink_bps * (1.0 if client.link.is_dedicated else share)
    assert isinstance(client.link, LinkModel)
    return share * scenario.radio.downlink_hz * client.link.downlink_bps_per_hz


def _seconds(amount: float, rate: float) -> float:
    if amount == 0:
        return 0.0
    return amount / rate if rate > 0 else math.inf


def _part(seconds: float, part: int, whole: int) -> float:
    return seconds * part / whole if whole else 0.0


def close_to(found: float, expected: float) -> bool:
    """Say whether a figure is the expected one, to within the tolerance of seconds."""
    return math.isfinite(expected) and abs(found - expected) <= LATENCY_TOLERANCE * abs(expected)
