"""What a recorded link carries and when, over flat vectors in which many recordings stand one after another."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import NamedTuple

LAST_PART = 1e-9
"""What is left of a job is rounding when it is no more than this fraction of all of it: it is done, as an outage that
begins there could hold the rest for minutes."""

_ROUNDING = 1e-12  # of all bits sent so far: by so much sums may be out


class RunningSums(NamedTuple):
    """The samples of recordings, [S + 1] for each: read one by one, lists are faster than arrays.

    Parameters
    ----------
    edges_s, sent_bits, outage_s, served_s
        From a recording's beginning to the start of each sample, and to its end: seconds, bits, and the seconds at rate
        zero and above it.
    rates_bps
        Of each sample; 0 stands after the last.
    """

    edges_s: list[float]
    sent_bits: list[float]
    outage_s: list[float]
    served_s: list[float]
    rates_bps: list[float]


@dataclass(slots=True)
class Place:
    """Where a recording stands among the samples of all, and what comes after its end.

    Parameters
    ----------
    first, last
        Its first sample, and what stands after its last one.
    offset_s
        Point of the recording that the clock 0 falls on.
    repeats, holds
        Whether it begins again at its end, or else goes on at its last rate.
    first_change, num_changes, shift
        Where the changes of its fades begin, how many there are, and by how much more the states between them stand
        later.
    """

    first: int
    last: int
    offset_s: float
    repeats: bool
    holds: bool
    first_change: int = 0
    num_changes: int = 0
    shift: int = 0


def time_transfer(sums: RunningSums, place: Place, needed_bits: float, start_s: float) -> tuple[float, float]:
    """Return how long a transfer takes, and how much of it the rate was zero, s; NaN where it has no end.

    Parameters
    ----------
    sums, place
        The recording.
    needed_bits
        What has to be carried, at the recorded rates.
    start_s
        When it starts.
    """
    if needed_bits == 0.0:
        return 0.0, 0.0
    edges_s, sent_bits, outage_s, _, rates_bps = sums
    first, last, repeats = place.first, place.last, place.repeats
    duration_s = edges_s[last]
    last_bps = rates_bps[last - 1] if place.holds else 0.0
    position_s = start_s + place.offset_s
    if repeats:
        position_s %= duration_s
    elif position_s >= duration_s:
        return (needed_bits / last_bps if last_bps > 0.0 else math.nan), 0.0
    sample = min(bisect_right(edges_s, position_s, first, last + 1) - 1, last - 1)
    rate_bps = rates_bps[sample]
    # Most transfers end within their sample; answered apart they keep all their digits.
    if rate_bps > 0.0 and needed_bits <= rate_bps * (edges_s[sample + 1] - position_s):
        return needed_bits / rate_bps, 0.0
    if math.isinf(needed_bits):
        return math.nan, 0.0
    inside_s = position_s - edges_s[sample]
    target_bits = sent_bits[sample] + rate_bps * inside_s + needed_bits
    start_outage_s = outage_s[sample] + (inside_s if rate_bps == 0.0 else 0.0)
    rounding_bits = min(_ROUNDING * target_bits, LAST_PART * needed_bits)
    if not repeats and target_bits - rounding_bits > sent_bits[last]:
        held_s = (target_bits - sent_bits[last]) / last_bps if last_bps > 0.0 else math.nan
        return duration_s - position_s + held_s, max(0.0, outage_s[last] - start_outage_s)
    periods, end_position_s, end_outage_s = _locate(sums, first, last, target_bits, rounding_bits)
    elapsed_s = max(0.0, periods * duration_s + end_position_s - position_s)
    waiting_s = max(0.0, periods * outage_s[last] + end_outage_s - start_outage_s)
    return elapsed_s, min(waiting_s, elapsed_s)


def _locate(
    sums: RunningSums, first: int, last: int, target_bits: float, rounding_bits: float
) -> tuple[float, float, float]:
    """Return (whole periods, position, outage before it) of the first time when all but rounding is sent."""
    edges_s, sent_bits, outage_s, _, rates_bps = sums
    period_bits = sent_bits[last]
    # Counted in (0, period], so that what ends with the period ends before an outage at the seam.
    periods = float(math.ceil((target_bits - rounding_bits) / period_bits)) - 1.0
    rest_bits = target_bits - periods * period_bits
    if rest_bits <= rounding_bits:
        periods, rest_bits = periods - 1.0, rest_bits + period_bits
    rest_bits = min(rest_bits, period_bits)
    sample = max(first, bisect_left(sent_bits, rest_bits - rounding_bits, first, last + 1) - 1)
    into_s = (rest_bits - sent_bits[sample]) / rates_bps[sample]
    position_s = min(edges_s[sample] + into_s, edges_s[sample + 1])
    return periods, position_s, outage_s[sample]


def sample_at(edges_s: list[float], place: Place, time_s: float) -> int:
    """Return the sample that a time falls in.

    Parameters
    ----------
    edges_s, place
        The recording.
    time_s
        The time.
    """
    first, last = place.first, place.last
    position_s = time_s + place.offset_s
    position_s = position_s % edges_s[last] if place.repeats else min(position_s, edges_s[last])
    return min(bisect_right(edges_s, position_s, first, last + 1) - 1, last - 1)


class FadeChanges(NamedTuple):
    """When fades begin and end, of many recordings.

    Parameters
    ----------
    changes_s
        The points of a recording at which that changes.
    is_fade
        Whether there is a fade before the first change of a recording, and after each.
    """

    changes_s: list[float]
    is_fade: list[bool]


def fade_at(fades: FadeChanges, period_s: float, place: Place, time_s: float) -> tuple[bool, float]:
    """Return whether there is a fade at a time, and when that changes; never is infinity.

    Parameters
    ----------
    fades
        Of all recordings.
    period_s, place
        How long the recording is, and where it stands.
    time_s
        The time.
    """
    changes_s, is_fade = fades
    periods, position_s = 0.0, time_s + place.offset_s
    if place.repeats:
        periods, position_s = divmod(position_s, period_s)
    first, end = place.first_change, place.first_change + place.num_changes
    following = bisect_right(changes_s, position_s, first, end)
    fading = is_fade[following + place.shift]
    if following < end:
        change_s = changes_s[following]
    elif end > first and place.repeats:
        change_s = period_s + changes_s[first]
    else:
        return fading, math.inf
    return fading, periods * period_s + change_s - place.offset_s


def carried_until(sums: RunningSums, place: Place, time_s: float) -> tuple[float, float]:
    """Return the bits that are carried until a time, and the seconds in which any are.

    Parameters
    ----------
    sums, place
        The recording.
    time_s
        The time.
    """
    edges_s, sent_bits, _, served_s, rates_bps = sums
    first, last = place.first, place.last
    period_s = edges_s[last]
    periods, position_s = 0.0, time_s + place.offset_s
    if place.repeats:
        periods, position_s = divmod(position_s, period_s)
    if position_s >= period_s:
        within_bits, within_s = sent_bits[last], served_s[last]
    else:
        position_s = max(position_s, 0.0)
        sample = bisect_right(edges_s, position_s, first, last + 1) - 1
        into_s, length_s = position_s - edges_s[sample], edges_s[sample + 1] - edges_s[sample]
        within_bits = (sent_bits[sample + 1] - sent_bits[sample]) / length_s * into_s + sent_bits[sample]
        within_s = (served_s[sample + 1] - served_s[sample]) / length_s * into_s + served_s[sample]
    held_s, last_bps = max(0.0, position_s - period_s), rates_bps[last - 1]
    bits = periods * sent_bits[last] + within_bits + held_s * last_bps
    return bits, periods * served_s[last] + within_s + (held_s if last_bps > 0.0 else 0.0)


class Links(NamedTuple):
    """Recorded links of clients, by number.

    Parameters
    ----------
    sums
        The samples of all recordings.
    latency_s
        Of each sample, where a link's recording knows it.
    fades
        When links fade.
    places
        By link, where its recording stands.
    """

    sums: RunningSums
    latency_s: list[float]
    fades: FadeChanges
    places: list[Place]


def delay_at(links: Links, link: int, time_s: float) -> float:
    """Return the delay of a crossing that a link's recording has at a time, s.

    Parameters
    ----------
    links, link
        All, and the number of the one.
    time_s
        The time.
    """
    return links.latency_s[sample_at(links.sums.edges_s, links.places[link], time_s)]


def link_fade(links: Links, link: int, time_s: float) -> tuple[bool, float]:
    """Return whether a link is in a fade at a time, and when that changes; never is infinity.

    Parameters
    ----------
    links, link
        All, and the number of the one.
    time_s
        The time.
    """
    place = links.places[link]
    return fade_at(links.fades, links.sums.edges_s[place.last], place, time_s)
