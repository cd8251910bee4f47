"""Seconds of real transfers beside those of the replay: the bytes of a round through TCP sockets and token buckets.

Run: ``python -m benchmarks.real_packets`` as root on Linux with iproute2; it says so and stops where it cannot. Every
transfer of a round of ``quickstart`` and ``smart-home`` goes from one network namespace to another over a link that
``tc tbf`` shapes to the rate of the plan's share: constant, and in steps along a trace. ``--scenarios`` names others,
``--rounds`` how often a round of each is sent, ``--clients`` how many different clients at once. Ends with 1 where the
median error is above 5 %.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

import hybridsplit as hs
from benchmarks.packet_links import HEADER_BYTES, SEGMENT_BYTES, ShapedLink, why_not, wire_bytes
from hybridsplit.runtime.replay import downlink_rate_bps, replay, scenario_of, uplink_rate_bps
from hybridsplit.runtime.replay.traces import BandwidthTrace
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.plan import ClientPlan
from hybridsplit.scenarios.streams import stream_seed
from hybridsplit.scenarios.units import bits, format_bytes, format_seconds

MOST_ERROR = 0.05
SIZES = (0, 8 << 10, 64 << 10, 1 << 20, 16 << 20, 1 << 40)
STEPS = 64
LEFT_OUT = f"""What the replay leaves out, and what of it shows here:
- Headers: {HEADER_BYTES} bytes for every {SEGMENT_BYTES} of payload, {HEADER_BYTES / SEGMENT_BYTES:.1%}. "Against the
  replay" adds nothing, "with headers" counts them. Recorded rates are those of applications, headers taken off already.
- Acknowledgements share the other direction's bucket; they are small, and in the figures above.
- Slow start and retransmissions: there is no propagation delay and no loss on these links, so TCP fills them at once.
  Over a long round trip a short transfer takes some round trips more.
- The shaper: a bucket that is full after a pause lets some packets pass at once. It is emptied before each transfer,
  but a change of the rate fills it again, which is why single transfers over stepped links lie further off.
"""


@dataclass(frozen=True)
class Transfer:
    """One transfer: how much, which way, how long it took, and what the replay says without and with headers."""

    scenario: str
    links: str
    size_bytes: int
    is_up: bool
    took_s: float
    replayed_s: float
    with_headers_s: float


def sizes_of(client: ClientPlan, local_steps: int) -> Iterator[tuple[Phase, int]]:
    """Yield the transfers of a client's round in order: bytes of every step, the remainder on the first ones."""

    def part(phase: Phase, step: int) -> int:
        each, rest = divmod(client.phase_bytes(phase), local_steps)
        return each + (step < rest)

    round_trip = [(phase, part(phase, step)) for step in range(local_steps) for phase in (Phase.UPLINK, Phase.DOWNLINK)]
    first, last = ((phase, client.phase_bytes(phase)) for phase in (Phase.MODEL_DOWNLOAD, Phase.MODEL_UPLOAD))
    yield from ((phase, size) for phase, size in (first, *round_trip, last) if size > 0)


def different(clients: Sequence[ClientPlan], most: int) -> list[ClientPlan]:
    """Return the first clients of each kind: cut, mode and bytes."""
    kinds = {(one.cut, one.mode, one.uplink_bytes, one.downlink_bytes): one for one in reversed(clients)}
    return list(reversed(kinds.values()))[:most]


def constant(
    index: int, name: str, steps: int, client: ClientPlan, rates_bps: tuple[float, float], seconds: dict[Phase, float]
) -> list[Transfer]:
    """Send a client's round over a constant link; ``seconds`` are the replay's, of each phase."""
    link = ShapedLink(index, *rates_bps)
    try:
        found = []
        for phase, size in sizes_of(client, steps):
            is_up = phase in (Phase.UPLINK, Phase.MODEL_UPLOAD)
            _, took_s = link.carry(size, is_up=is_up)
            replayed_s = seconds[phase] * size / client.phase_bytes(phase)
            found.append(
                Transfer(name, "constant", size, is_up, took_s, replayed_s, replayed_s * wire_bytes(size) / size)
            )
        return found
    finally:
        link.close()


def stepped(
    index: int, name: str, steps: int, client: ClientPlan, rates_bps: tuple[float, float], step_s: float
) -> list[Transfer]:
    """Send a client's round while a trace goes by: rates from a third to twice the plan's, each for ``step_s``."""
    generator = np.random.default_rng(stream_seed(7, "real-packets", client.id))
    factors = np.exp(generator.uniform(np.log(1 / 3), np.log(2), STEPS))
    traces = [BandwidthTrace(np.full(STEPS, step_s), factors * rate_bps) for rate_bps in rates_bps]
    link, done = ShapedLink(index, *(factors[0] * rate_bps for rate_bps in rates_bps)), threading.Event()
    began_s = time.monotonic()

    def follow() -> None:
        number = 1
        while not done.wait(max(0.0, began_s + number * step_s - time.monotonic())):
            link.shape(*(factors[number % STEPS] * rate_bps for rate_bps in rates_bps))
            number += 1

    follower = threading.Thread(target=follow)
    follower.start()
    try:
        found = []
        for phase, size in sizes_of(client, steps):
            is_up = phase in (Phase.UPLINK, Phase.MODEL_UPLOAD)
            at_s, took_s = link.carry(size, is_up=is_up)
            expected = [
                traces[0 if is_up else 1].transfer(bits(one), at_s - began_s).elapsed_s
                for one in (size, wire_bytes(size))
            ]
            found.append(Transfer(name, "stepped", size, is_up, took_s, *expected))
        return found
    finally:
        done.set()
        follower.join()
        link.close()


def measured(name: str, rounds: int, most_clients: int) -> Iterator[list[Transfer]]:
    """Yield the transfers of rounds of a scenario, over constant links and over stepped ones."""
    plan = hs.plan(name)
    scenario = scenario_of(plan)
    links = {client.id: client.link for client in scenario.expanded_clients()}
    seconds: dict[str, dict[Phase, float]] = {}
    for entry in replay(plan, scenario, num_rounds=1, traces={}).entries:
        seconds.setdefault(entry.client, {})[entry.phase] = entry.seconds
    steps = scenario.training.local_steps
    chosen = different(plan.clients, most_clients)
    step_s = max(0.1, plan.round_latency_s / 50)
    is_short = plan.round_latency_s < 10
    with multiprocessing.get_context("fork").Pool(1 if is_short else len(chosen)) as pool:
        for kind in ("constant", "stepped"):
            waiting = []
            for number in range(rounds if is_short else 1):
                for index, client in enumerate(chosen):
                    up_bps = uplink_rate_bps(links[client.id], scenario.radio, client.uplink_share)
                    down_bps = downlink_rate_bps(links[client.id], scenario.radio, client.downlink_share)
                    common = (index + 100 * number, name, steps, client, (up_bps, down_bps))
                    work, last = (constant, seconds[client.id]) if kind == "constant" else (stepped, step_s)
                    waiting.append(pool.apply_async(work, (*common, last)))
            yield [one for result in waiting for one in result.get()]


def show(found: Sequence[Transfer]) -> float:
    """Print a table by size; return the median error without headers."""

    def errors(of: Sequence[Transfer]) -> tuple[list[float], list[float]]:
        return [one.took_s / one.replayed_s - 1 for one in of], [one.took_s / one.with_headers_s - 1 for one in of]

    print(f"\n{found[0].scenario}, {found[0].links} links")
    print(f"{'bytes':>24} {'transfers':>10} {'took (median)':>14} {'against the replay':>19} {'with headers':>13}"
          f" {'95 % within':>12}")  # fmt: skip
    for low, high in (*itertools.pairwise(SIZES), (0, SIZES[-1])):
        of = [one for one in found if low <= one.size_bytes < high]
        if not of:
            continue
        plain, adjusted = errors(of)
        label = "all" if (low, high) == (0, SIZES[-1]) else f"{format_bytes(low)} to {format_bytes(high)}"
        label = f"over {format_bytes(low)}" if high == SIZES[-1] and low else label
        within = float(np.quantile(np.abs(adjusted), 0.95))
        print(f"{label:>24} {len(of):>10} {format_seconds(statistics.median(one.took_s for one in of)):>14} "
              f"{statistics.median(plain):>+19.2%} {statistics.median(adjusted):>+13.2%} {within:>12.1%}")  # fmt: skip
    return statistics.median(abs(error) for error in errors(found)[0])


def main() -> None:
    """Measure and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenarios", nargs="+", default=["quickstart", "smart-home"])
    parser.add_argument("--rounds", type=int, default=10, help="of scenarios whose rounds take less than 10 s")
    parser.add_argument("--clients", type=int, default=4, help="different clients of each scenario")
    arguments = parser.parse_args()
    if why := why_not():
        print(f"cannot be measured here: {why}")
        sys.exit(2)
    medians = {}
    for name in arguments.scenarios:
        for found in measured(name, arguments.rounds, arguments.clients):
            medians[name, found[0].links] = show(found)
    print()
    for (name, links), median in medians.items():
        print(f"{name}, {links}: median error {median:.2%} (at most {MOST_ERROR:.0%})")
    print(f"\n{LEFT_OUT}")
    sys.exit(any(median > MOST_ERROR for median in medians.values()))


if __name__ == "__main__":
    main()
