"""Links without a recording: block fading over path loss, log-normal shadowing and a mean that moves.

In block ``b`` the signal-to-noise ratio is the mean one times ``(d_b / d_0)^-n`` (path loss), a shadowing whose
decibels are a Gauss-Markov sequence, and a fading power gain of mean 1: exponential (Rayleigh), or that of a constant
path and a scattered one (Rician). The link carries ``log2(1 + SNR)`` bit/s per Hz.
"""

from __future__ import annotations

import math

import numpy as np

from hybridsplit.runtime.replay.formats.recording import Recording
from hybridsplit.runtime.replay.traces import BandwidthTrace, FloatArray
from hybridsplit.scenarios.sections.traces import GeneratedTrace
from hybridsplit.scenarios.streams import stream_seed

_SMALLEST_BPS_PER_HZ = 1e-6
"""What is less carries nothing."""


def generated_link(wanted: GeneratedTrace, seed: int, client_id: str) -> Recording:
    """Draw a client's link.

    Parameters
    ----------
    wanted
        The model.
    seed
        The scenario's seed. Each client draws from streams of its own, so that nobody's link depends on who else is
        there, and shadowing does not depend on the fading.
    client_id
        The client.
    """
    snr = 10.0 ** (
        (wanted.mean_snr_db + path_gain_db(wanted) + shadowing_db(wanted, seed, client_id)) / 10.0
    ) * fading_gain(wanted, seed, client_id)  # fmt: skip
    efficiency = np.log2(1.0 + snr)
    efficiency[efficiency < _SMALLEST_BPS_PER_HZ] = 0.0
    name = f"the link drawn for {client_id}"
    durations_s = np.full(wanted.num_blocks, wanted.duration_s / wanted.num_blocks)
    return Recording(name, both=BandwidthTrace(durations_s, efficiency, name, is_per_hertz=True))


def fading_gain(wanted: GeneratedTrace, seed: int, client_id: str) -> FloatArray:
    """Return [B] power gains of mean 1, independent from block to block.

    Parameters
    ----------
    wanted, seed, client_id
        As for :func:`generated_link`.
    """
    if wanted.fading == "none":
        return np.ones(wanted.num_blocks)
    generator = np.random.default_rng(stream_seed(seed, "fading", client_id))
    scattered = generator.standard_normal((2, wanted.num_blocks)) / math.sqrt(2.0)
    ratio = 0.0 if wanted.rician_k_db is None else 10.0 ** (wanted.rician_k_db / 10.0)
    in_phase = math.sqrt(ratio / (ratio + 1.0)) + scattered[0] / math.sqrt(ratio + 1.0)
    return np.asarray(in_phase**2 + (scattered[1] ** 2) / (ratio + 1.0))


def shadowing_db(wanted: GeneratedTrace, seed: int, client_id: str) -> FloatArray:
    """Return [B] shadowing in dB: normal, with a correlation that falls exponentially with time.

    Parameters
    ----------
    wanted, seed, client_id
        As for :func:`generated_link`.
    """
    if wanted.shadowing_db == 0:
        return np.zeros(wanted.num_blocks)
    generator = np.random.default_rng(stream_seed(seed, "shadowing", client_id))
    drawn = generator.standard_normal(wanted.num_blocks) * wanted.shadowing_db
    block_s = wanted.duration_s / wanted.num_blocks
    keeps = math.exp(-block_s / wanted.shadowing_coherence_s)
    fresh = math.sqrt(1.0 - keeps**2)
    found = np.empty_like(drawn)
    level = float(drawn[0])
    for index, value in enumerate(drawn.tolist()):
        level = keeps * level + fresh * value if index else level
        found[index] = level
    return found


def path_gain_db(wanted: GeneratedTrace) -> FloatArray:
    """Return [B] the path gain relative to the first distance, dB: the client moves through its distances and back.

    Parameters
    ----------
    wanted
        The model.
    """
    stops = np.array(wanted.distances_m)
    there_and_back = np.concatenate((stops, stops[-2::-1])) if len(stops) > 1 else stops
    middles = (np.arange(wanted.num_blocks) + 0.5) / wanted.num_blocks
    distance_m = np.interp(middles * (len(there_and_back) - 1), np.arange(len(there_and_back)), there_and_back)
    return np.asarray(-10.0 * wanted.path_loss_exponent * np.log10(distance_m / stops[0]))
