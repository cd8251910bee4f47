"""A JSON list of samples: ``duration_ms``, ``bandwidth_kbps`` and, where known, ``latency_ms``.

As the 4G and 3G commute logs have it. Rates are SI: 1 kbit is 1,000 bit. A latency is that of a
request and its answer, as players of video count it: one crossing takes half of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hybridsplit.runtime.replay.formats.recording import Recording
from hybridsplit.runtime.replay.formats.samples import FORMATS, checked, held, shown
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.units import bits_per_second_from_kbps

_CROSSINGS = 2
_MILLISECONDS_PER_SECOND = 1e3


def from_samples(document: list[Any], name: str) -> Recording:
    """Read a list of samples.

    Parameters
    ----------
    document
        The list; numbers in it are floats.
    name
        Where it comes from, for messages.

    Raises
    ------
    ScenarioError
        If a sample lacks a number, or is no measurement.
    """
    durations_s, rates_bps, latencies_s = [], [], []
    for index, sample in enumerate(document):
        where = f"{name}: item {index + 1}"
        durations_s.append(_number_of(sample, "duration_ms", where) / _MILLISECONDS_PER_SECOND)
        rates_bps.append(bits_per_second_from_kbps(_number_of(sample, "bandwidth_kbps", where)))
        has_latency = sample.get("latency_ms") is not None
        latency_ms = _number_of(sample, "latency_ms", where) if has_latency else float("nan")
        latencies_s.append(latency_ms / _MILLISECONDS_PER_SECOND / _CROSSINGS)
    places = [f"item {index + 1}" for index in range(len(document))]
    return Recording(name, both=checked(np.array(durations_s), np.array(rates_bps), places, name, held(latencies_s)))


def _number_of(sample: Any, key: str, where: str) -> float:
    value = sample.get(key) if isinstance(sample, dict) else None
    if not isinstance(value, float):
        raise ScenarioError(f"{where}: found {key} = {shown(repr(value))}; needs a number. The file {FORMATS}")
    return value
