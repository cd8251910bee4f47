"""What a local loss buys: quickstart with every client at one cut and in one mode, over seeds.

``python -m benchmarks.local_losses FOLDER`` plans each row (shares and schedule by ``optimal``, cut and mode fixed),
trains it in this process, and prints, as mean and spread over the seeds: seconds of a round, simulated seconds and
megabytes on air to the target accuracy, accuracy at equal simulated time, rounds to the target, and the peak of the
client part. Ratios are to ``fo`` of the same run. Curves are kept in the folder, and a run goes on where it
was stopped.
``--alignment`` measures instead what a local gradient is worth: its squared cosine with that of the model's loss.
"""

from __future__ import annotations

import argparse
import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

import torch

from hybridsplit.profiler.options import profile_scenario
from hybridsplit.runtime.data.partition import draw_batch
from hybridsplit.runtime.data.sources import load_dataset
from hybridsplit.runtime.data.split_models import split_model
from hybridsplit.runtime.estimators import make_estimator
from hybridsplit.runtime.executors.inline import InlineExecutor
from hybridsplit.runtime.noise import NoiseKey
from hybridsplit.runtime.run.records import RoundDone
from hybridsplit.runtime.run.rounds import train
from hybridsplit.runtime.session.server import ServerSide
from hybridsplit.runtime.split.parts import is_of_head, task_loss
from hybridsplit.scenarios.contracts.assignment import assignments_of
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.errors import UsageError
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.solver.planner import make_plan

MOST_ROUNDS = 40
GROUPS = 5
"""Client groups of quickstart."""


class _Enough(Exception):
    """Ends a run that has shown all it can."""


@dataclass(frozen=True)
class Row:
    """A mode for all clients.

    Parameters
    ----------
    mode, upload_every
        The mode, and the steps from one upload to the next where it has a loss of its own.
    budget
        Memory of every client: enough for everything, or so little that ``fo-recompute`` has to recompute.
    """

    mode: str
    upload_every: int = 1
    budget: str = "8 MiB"

    @property
    def name(self) -> str:
        """As the table calls it."""
        return f"{self.mode}, q = {self.upload_every}" if "local" in self.mode else self.mode

    def scenario(self, seed: int, extra: list[str]) -> Scenario:
        """Return the scenario of a run."""
        every = [f"training.local_loss.upload_every=[{self.upload_every}]"] if "local" in self.mode else []
        budgets = [f"clients.{index}.memory_budget_bytes={self.budget}" for index in range(GROUPS)]
        keys = [f"training.modes=[{self.mode}]", f"seed={seed}", "clients.0.min_cut=1", *every, *budgets, *extra]
        return load_scenario("quickstart", keys)


ROWS = (
    Row("fo"),
    Row("fo-recompute", budget="704 KiB"),
    Row("zo-projection"),
    Row("frozen"),
    Row("fo-local", 1),
    Row("fo-local", 2),
    Row("fo-local", 4),
    Row("zo-local", 1),
    Row("zo-local", 4),
)


@dataclass(frozen=True)
class Outcome:
    """One run: what a round of its plan costs, and test accuracy after each."""

    round_s: float
    round_bytes: int
    peak_bytes: int
    accuracies: list[float]

    def rounds_to(self, target: float) -> int | None:
        """Rounds until the target is reached; None where it never is."""
        return next((number for number, found in enumerate(self.accuracies, 1) if found >= target), None)

    def accuracy_at(self, time_s: float) -> float:
        """Accuracy after the last round that has ended by a time."""
        done = int(time_s / self.round_s * (1 + 1e-9))
        return self.accuracies[min(done, len(self.accuracies)) - 1] if done else float("nan")


def outcome_of(row: Row, cut: int, seed: int, asked: argparse.Namespace) -> Outcome:
    """Return a run, kept or made now; it ends when the target is reached and the time is over."""
    file = asked.folder / f"{row.mode}.{row.upload_every}.cut{cut}.seed{seed}.json"
    if not file.is_file():
        scenario = row.scenario(seed, asked.set)
        fixed = {client.id: (cut, row.mode) for client in scenario.expanded_clients()}
        plan = make_plan(scenario, profile_scenario(scenario), fixed=fixed)
        accuracies = _trained(scenario, plan, asked)
        sent = sum(client.uplink_bytes + client.downlink_bytes for client in plan.clients)
        peak = max(client.client_peak_bytes for client in plan.clients)
        file.write_text(json.dumps([plan.round_latency_s, sent, peak, accuracies]), encoding="utf-8")
    return Outcome(*json.loads(file.read_text(encoding="utf-8")))


def _trained(scenario: Scenario, plan: Plan, asked: argparse.Namespace) -> list[float]:
    found: list[float] = []

    def note(record: RoundDone) -> None:
        found.append(record.test_accuracy)
        if max(found) >= asked.target and len(found) * plan.round_latency_s >= asked.time:
            raise _Enough

    with InlineExecutor(scenario) as executor, suppress(_Enough):
        train(scenario, assignments_of(plan, scenario), executor, MOST_ROUNDS, schedule=plan.schedule, on_round=note)
    return found


def alignment(cut: int, seed: int, steps: int = 240) -> list[float]:
    """Squared cosines between the local loss's gradient of the client part and that of the model's loss.

    One client trains on all the data in ``fo-local``, and both gradients are taken at its weights on the same batch,
    every eighth step.
    """
    scenario = ROWS[4].scenario(seed, [])
    dataset = load_dataset(scenario)
    model = split_model(scenario, dataset=dataset)
    part = model.client_part(cut, "fo-local")
    server = ServerSide(model.server_part(cut), scenario.training, scenario.model.task)
    estimator = make_estimator("fo-local", part, scenario.training)
    everything = torch.arange(len(dataset.train))
    blocks = [parameter for name, parameter in part.trainable() if not is_of_head(name)]
    found: list[float] = []
    for step in range(steps):
        batch = draw_batch(dataset.train, everything, scenario, "alignment", step, batch_size=32)
        if step % 8 == 0:
            gradients = []
            for of_head in (True, False):
                part.eval()
                h = part(batch.inputs)
                logits = part.head(h, None) if of_head else server.part.eval()(h)
                loss = task_loss(logits, batch.labels, scenario.model.task)
                gradients.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, blocks)]))
            found.append(float(torch.cosine_similarity(*gradients, dim=0)) ** 2)
            part.train()
            server.part.train()
        estimator.step(batch, server, NoiseKey(seed, "client", "all", 0, step))
    return found


def _spread(values: list[float], digits: int) -> str:
    if not values:
        return "-"
    spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean(values):.{digits}f}{spread}"


def main() -> None:
    """Train what is missing, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where curves are kept")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--cuts", default="3", help="cuts of all clients, a table each")
    parser.add_argument("--target", type=float, default=0.95, help="test accuracy to reach")
    parser.add_argument("--time", type=float, default=1.0, help="simulated seconds at which accuracies are compared")
    parser.add_argument("--set", action="append", default=[], help="a key of the scenario, as KEY=VALUE")
    parser.add_argument("--alignment", action="store_true", help="measure what a local gradient is worth instead")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    seeds = [int(seed) for seed in asked.seeds.split(",")]
    for cut in map(int, asked.cuts.split(",")) if asked.alignment else ():
        cosines = [alignment(cut, seed) for seed in seeds]
        stages = [mean(value for one in cosines for value in one[first : first + 10]) for first in (0, 10, 20)]
        shown = ", ".join(f"{stage:.2f}" for stage in stages)
        print(f"cut {cut}: squared cosine with the gradient of the model's loss, steps 0-79, 80-159, 160-239: {shown}")
    if asked.alignment:
        return
    for cut in map(int, asked.cuts.split(",")):
        print(f"\nquickstart, all clients at cut {cut}, seeds {asked.seeds}")
        print(
            f"| mode | round, ms | rounds to {asked.target:.0%} | seconds to {asked.target:.0%} | of `fo` | "
            f"MB to {asked.target:.0%} | accuracy at {asked.time:g} s, % | client peak, KiB |"
        )
        print("|---|---|---|---|---|---|---|---|")
        exact_s: float | None = None
        for row in ROWS:
            try:
                runs = [outcome_of(row, cut, seed, asked) for seed in seeds]
            except UsageError:  # no option of this mode at this cut
                print(f"| `{row.name}` | does not fit in {row.budget} | | | | | | |", flush=True)
                continue
            reached = [(run, number) for run in runs if (number := run.rounds_to(asked.target)) is not None]
            seconds = [run.round_s * number for run, number in reached]
            missed = f" ({len(runs) - len(reached)} never)" if len(reached) < len(runs) else ""
            exact_s = mean(seconds) if exact_s is None else exact_s
            ratio = f"{mean(seconds) / exact_s:.2f}" if seconds else "-"
            megabytes = [run.round_bytes * number / 1e6 for run, number in reached]
            accuracy = [100 * run.accuracy_at(asked.time) for run in runs]
            print(
                f"| `{row.name}` | {1e3 * mean(run.round_s for run in runs):.0f} | "
                f"{_spread([float(number) for _, number in reached], 1)}{missed} | {_spread(seconds, 2)} | {ratio} | "
                f"{_spread(megabytes, 1)} | {_spread(accuracy, 1)} | {runs[0].peak_bytes / 1024:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
