"""Jobs that arrive at a divided resource, and a server and a radio that we play slot by slot beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import simpy

from hybridsplit.runtime.replay.allocation import FloatArray, Rule
from hybridsplit.runtime.replay.divided import DividedResource
from hybridsplit.runtime.replay.speeds import ConstantSpeed, RecordedSteps, Speed
from hybridsplit.runtime.replay.traces import BandwidthTrace
from hybridsplit.scenarios.streams import stream_seed


@dataclass(frozen=True)
class Arrivals:
    """[N] jobs in the order in which they arrive, and what each wants."""

    times_s: FloatArray
    amounts: FloatArray


def poisson(name: str, number: int, load: float, works_s: Callable[[np.random.Generator, int], FloatArray]) -> Arrivals:
    """Draw a Poisson stream of jobs of mean work 1 s; arrivals and works from streams of their own."""
    gaps = np.random.default_rng(stream_seed(7, "arrivals", name))
    works = np.random.default_rng(stream_seed(7, "works", name))
    return Arrivals(np.cumsum(gaps.exponential(1 / load, number)), works_s(works, number))


def ends_s(rule: Rule, arrivals: Arrivals, speeds: Sequence[Speed] | None = None) -> tuple[FloatArray, FloatArray]:
    """Serve jobs as the replay does; return [N] when each was done, and [N] the seconds that each used."""
    environment = simpy.Environment()
    number = len(arrivals.times_s)
    resource = DividedResource(environment, rule, number)
    done_s, used_s = np.full(number, np.nan), np.full(number, np.nan)
    alone = ConstantSpeed(1.0)

    def notes(job: int) -> Callable[[simpy.Event], None]:
        def note(event: simpy.Event) -> None:
            done_s[job], used_s[job] = environment.now, event.value

        return note

    def arrive() -> Iterator[simpy.Event]:
        for job, (time_s, amount) in enumerate(zip(arrivals.times_s.tolist(), arrivals.amounts.tolist(), strict=True)):
            yield environment.timeout(time_s - environment.now)
            event = resource.serve(job, amount, alone if speeds is None else speeds[job])
            event.callbacks.append(notes(job))

    environment.process(arrive())
    environment.run()
    return done_s, used_s


def along(traces: Sequence[BandwidthTrace], times_s: Sequence[float]) -> list[Speed]:
    """Return the speeds of clients along recordings, at their own rates, from the times at which they come."""
    return [
        RecordedSteps.of(trace, trace.mean_bps).begun(time_s, 0.0)
        for trace, time_s in zip(traces, times_s, strict=True)
    ]


@dataclass
class SlottedCell:
    """A scheduler of slots and resource blocks, written from the text books: each block of a slot goes to one client.

    ``rates_bps`` [K] is asked for at the start of each slot; a block carries its part of a slot at the client's rate.
    """

    rule: str
    slot_s: float
    blocks: int
    averaging_s: float = 1.0

    def run(
        self, arrivals: Arrivals, rates_bps: Callable[[float], FloatArray], past_bps: FloatArray | None = None
    ) -> FloatArray:
        """Return [K] when each client's bits were through, to the slot."""
        number = len(arrivals.amounts)
        left, done_s = arrivals.amounts.astype(float), np.full(number, np.inf)
        past_bps = np.zeros(number) if past_bps is None else past_bps.copy()
        since_change, turn, slot = np.zeros(number), 0, 0
        active_before = np.zeros(number, dtype=bool)
        while not np.isfinite(done_s).all():
            now_s = slot * self.slot_s
            rates = rates_bps(now_s)
            active = (arrivals.times_s <= now_s + 1e-12) & (left > 0) & (rates > 0)
            if (active != active_before).any():
                since_change[:], active_before = 0.0, active
            sent = np.zeros(number)
            for _ in range(self.blocks if active.any() else 0):
                open_ = active & (left > sent)
                if not open_.any():
                    break
                candidates = np.flatnonzero(open_)
                if self.rule == "round-robin":
                    chosen = int(candidates[np.argmin((candidates - turn) % number)])
                    turn = chosen + 1
                elif self.rule == "max-min":
                    chosen = int(candidates[np.argmin((since_change + sent)[candidates])])
                else:
                    past = past_bps + sent / self.averaging_s
                    chosen = int(candidates[np.argmax(rates[candidates] / np.maximum(past[candidates], 1e-300))])
                sent[chosen] += rates[chosen] * self.slot_s / self.blocks
            left -= sent
            since_change += sent
            fresh = self.slot_s / self.averaging_s
            past_bps = (1 - fresh) * past_bps + fresh * sent / self.slot_s
            slot += 1
            done_s[(left <= 1e-9 * arrivals.amounts) & np.isinf(done_s)] = slot * self.slot_s
        return done_s
