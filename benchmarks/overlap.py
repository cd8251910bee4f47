"""What work that overlaps saves on links with and without delay, and whether its orders attain their closed forms.

First quickstart with a delay on every link: the plan that was made without knowing the delay, replayed with it; plans
that know it and wait for every gradient; and plans whose clients may go ahead, by either gradient rule. Then quickstart
with a small ViT and more memory, since BatchNorm allows no micro-batches, without and with the delay: whole batches,
batches in parts, steps ahead, and all of these on offer. Seconds are of the replay, beside what is planned; a factor is
relative to the first line. Then random rounds of a client: how long a step takes in the long run, relative to
``max(F + B, U, S, N, (F + U + S + N + B) / (D + 1))``, and with micro-batches relative to
``max(F + B, (F + U + S + N + B) / m + (m - 1) / m * max(F, U, S, N, B))``.

python -m benchmarks.overlap [--delay-ms MS] [--cases N] [--staleness D ...] [--micro-batches M ...]
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from hybridsplit.profiler.options import profile_scenario
from hybridsplit.runtime.replay import replay
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.solver.planner import make_plan
from hybridsplit.solver.shares.passes import Passes

_LONG, _MORE = 3000, 120


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--delay-ms", type=float, default=10.0, help="of every link, each way")
    parser.add_argument("--cases", type=int, default=2000, help="random rounds for every staleness")
    parser.add_argument("--staleness", type=int, nargs="+", default=[0, 1, 2, 3], help="on offer")
    parser.add_argument("--micro-batches", type=int, nargs="+", default=[1, 2, 4, 8], help="on offer")
    asked = parser.parse_args()
    quickstart(asked.delay_ms, asked.staleness)
    for delay_ms in (0.0, asked.delay_ms):
        in_parts(delay_ms, asked.staleness, asked.micro_batches)
    periods(asked.cases)


def quickstart(delay_ms: float, staleness: list[int]) -> None:
    """Print seconds of a round and to progress of each plan over links with a delay."""
    near = load_scenario("quickstart")
    delay = [f"clients.{index}.link.latency_s={delay_ms} ms" for index in range(len(near.clients))]
    blind = make_plan(near, profile_scenario(near))
    head(f"quickstart, {delay_ms:g} ms each way")
    far = load_scenario("quickstart", delay)
    # The blind plan is of another scenario, by its hash; the replay takes links and delays from the one it is given.
    first = replay(blind, far, num_rounds=1).round_latency_s[0]
    whole = first, first / blind.progress
    show("made without the delay, replayed with it", blind, first, whole, is_planned=False)
    for name, more in (
        ("waits for every gradient, constant shares", ("static", "[0]", "stash")),
        ("waits for every gradient, best of any kind", ("optimal", "[0]", "stash")),
        *((f"may go ahead, {rule}", ("optimal", str(staleness), rule)) for rule in ("stash", "current")),
    ):
        strategy, listed, rule = more
        overlap = [f"training.overlap.staleness={listed}", f"training.overlap.gradient={rule}"]
        scenario = load_scenario("quickstart", [*delay, *overlap])
        plan, seconds = planned(scenario, strategy)
        show(name, plan, replay(plan, scenario, num_rounds=1).round_latency_s[0], whole, seconds=seconds)
    print("progress of clients that go ahead is assumed to be 1 / (1 + 0.1 D) of that of others")


VIT = (
    "model.config={model_type: vit, image_size: 16, patch_size: 4, num_channels: 1, hidden_size: 32, "
    "num_hidden_layers: 4, num_attention_heads: 2, intermediate_size: 64, num_labels: 10}"
)
ROOMY = tuple(f"clients.{index}.memory_budget_bytes=64 MiB" for index in range(5))


def in_parts(delay_ms: float, staleness: list[int], micro_batches: list[int]) -> None:
    """Print the same of quickstart's devices with a model without BatchNorm, which may be trained in parts."""
    near = load_scenario("quickstart", [VIT, *ROOMY])
    delay = [f"clients.{index}.link.latency_s={delay_ms} ms" for index in range(len(near.clients))]
    head(f"quickstart with a ViT and 64 MiB a client, {delay_ms:g} ms each way")
    whole: tuple[float, float] | None = None
    for name, strategy, ahead, parts in (
        ("whole batches, best of any kind", "optimal", [0], [1]),
        ("whole batches, constant shares", "static", [0], [1]),
        ("in parts, constant shares", "static", [0], micro_batches),
        ("in parts, best of any kind", "optimal", [0], micro_batches),
        ("steps ahead, best of any kind", "optimal", staleness, [1]),
        ("parts or steps ahead, best of any kind", "optimal", staleness, micro_batches),
    ):
        overlap = [f"training.overlap.staleness={ahead}", f"training.overlap.micro_batches={parts}"]
        scenario = load_scenario("quickstart", [VIT, *ROOMY, *delay, *overlap])
        plan, seconds = planned(scenario, strategy)
        round_s = replay(plan, scenario, num_rounds=1).round_latency_s[0]
        whole = whole or (round_s, round_s / plan.progress)
        show(name, plan, round_s, whole, seconds=seconds)


def head(title: str) -> None:
    """Print the title and the columns of a table."""
    print(title)
    print(
        f"{'plan':<44} {'round ms':>9} {'replay/plan - 1':>16} {'rounds':>7} {'progress ms':>12} {'faster':>7}  ahead "
        "or /parts"
    )


def planned(scenario: Scenario, strategy: str) -> tuple[Plan, float]:
    """Return a plan, and the seconds that it took."""
    table = profile_scenario(scenario)
    began = time.perf_counter()
    return make_plan(scenario, table, strategy), time.perf_counter() - began


def show(
    name: str, plan: Plan, round_s: float, whole: tuple[float, float], *, is_planned: bool = True, seconds: float = 0.0
) -> None:
    """Print one line: against the first plan, by the round and by time to progress."""
    progress_s = round_s / plan.progress
    off = f"{round_s / plan.round_latency_s - 1:.1e}" if is_planned else "-"
    ahead = ",".join(
        f"/{client.micro_batches}" if client.micro_batches > 1 else str(client.staleness) for client in plan.clients
    )
    took = f", {seconds:.1f} s to plan, at most {plan.gap:.1%} above its bound" if is_planned else ""
    print(
        f"{name:<44} {1e3 * round_s:>9.1f} {off:>16} {whole[0] / round_s:>6.3f}x {1e3 * progress_s:>12.1f} "
        f"{whole[1] / progress_s:>6.3f}x  {ahead}{took}",
        flush=True,
    )


def periods(cases: int) -> None:
    """Print the seconds of a step in the long run, relative to the period, of random clients."""
    times = np.random.default_rng(0).uniform(0.05, 3.0, (5, cases))
    forward, up, server, down, backward = times
    print(f"a step in the long run over its period, {cases} random clients: least, mean, most")
    for staleness in range(5):
        period = np.max([forward + backward, up, server, down, times.sum(axis=0) / (staleness + 1)], axis=0)
        ends = [passes(times, steps).latency_s(staleness) for steps in (_LONG, _LONG + _MORE * (staleness + 1))]
        ratio = (ends[1] - ends[0]) / (_MORE * (staleness + 1)) / period
        print(f"staleness {staleness}: {ratio.min():.6f} {ratio.mean():.6f} {ratio.max():.6f}")
    for parts in (2, 4, 8, 32):
        rest = (parts - 1) / parts
        step = np.maximum(forward + backward, times.sum(axis=0) / parts + rest * times.max(axis=0))
        ratio = passes(times, 3, parts).latency_s(0) / (3 * step)
        print(f"micro-batches {parts}: {ratio.min():.6f} {ratio.mean():.6f} {ratio.max():.6f}")


def passes(times: np.ndarray, steps: int, parts: int = 1) -> Passes:
    """Return rounds of so many steps, each of so many micro-batches, of clients with the given seconds ([5, N])."""
    forward, up, server, down, backward = times
    number, pieces = times.shape[1], steps * parts
    each, nothing = np.full((pieces, number), 1.0 / pieces), np.zeros(number)
    return Passes(
        forward_s=forward / parts, server_s=server / parts, backward_s=backward / parts, up_s=up * steps,
        down_s=down * steps, up_parts=each, down_parts=each, up_model=nothing, down_model=nothing,
        up_delay_s=np.zeros((pieces, number)), down_delay_s=np.zeros((pieces, number)),
        exchange_delay_s=np.zeros((2, number)), micro_batches=parts,
        updates_s=np.zeros((2, number)) if parts > 1 else None,
    )  # fmt: skip


if __name__ == "__main__":
    main()
