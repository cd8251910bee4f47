"""One run of the accuracy benchmark, and what the profiler and the planner say it costs."""

from __future__ import annotations

import time
from dataclasses import dataclass

from benchmarks.accuracy_studies import CLIENT, Row, Study
from hybridsplit.profiler.costs import OperatorCost
from hybridsplit.profiler.mode_costs import block_seconds
from hybridsplit.profiler.model_profile import profile_model
from hybridsplit.profiler.options import build_options
from hybridsplit.profiler.profiles import Choice
from hybridsplit.runtime.data.sources import load_dataset
from hybridsplit.runtime.executors.inline import InlineExecutor, InlineState
from hybridsplit.runtime.run.rounds import train
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.contracts.option_rows import OptionRows
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.placement import Placement
from hybridsplit.scenarios.errors import RunError
from hybridsplit.scenarios.modes import MODES
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.solver.problem.build import problem_of_rows


@dataclass(frozen=True)
class Outcome:
    """What one run came to.

    Parameters
    ----------
    study, cut, row, learning_rate, seed, steps
        Which run.
    accuracy, train_loss
        After the last step, on held-out samples; mean of the last round. NaN where training diverged.
    peak_bytes
        Measured peak of the client part.
    uplink_bytes, downlink_bytes
        Measured, of the whole run, the exchange of weights between rounds apart.
    wall_s
        Of the run on this machine.
    """

    study: str
    cut: int
    row: str
    learning_rate: float
    seed: int
    steps: int
    accuracy: float
    train_loss: float
    peak_bytes: int
    uplink_bytes: int
    downlink_bytes: int
    wall_s: float


@dataclass(frozen=True)
class Cost:
    """What the profiler and the planner say of an option.

    Parameters
    ----------
    recompute
        Recompute order with the least memory, for ``fo-recompute``.
    client_flops, forward_flops
        Of a step on the client, and of one forward pass of its part.
    round_s
        Simulated time of a round, with all of the radio and the server to the one client.
    peak_bytes, step_bytes
        Predicted peak of the client part, and bytes a step, up and down.
    """

    recompute: str
    client_flops: float
    forward_flops: float
    round_s: float
    peak_bytes: int
    step_bytes: float


class _FinalAccuracy(InlineExecutor):
    """Evaluates after the last round only: accuracies in between are never looked at."""

    def __init__(self, scenario: Scenario) -> None:
        super().__init__(scenario)
        self._rounds_left = scenario.training.rounds

    def evaluate(self, handle: InlineState) -> float:
        self._rounds_left -= 1
        return super().evaluate(handle) if self._rounds_left == 0 else float("nan")


def run(study: Study, row: Row, cut: int, learning_rate: float, seed: int) -> Outcome:
    """Train once, in this process and on one thread."""
    scenario = study.scenario(row, cut, seed, learning_rate)
    # Only recomputation has orders to choose from.
    recompute = cost_of(study, row, cut).recompute if row.mode == Mode.FO_RECOMPUTE else ""
    budget = scenario.expanded_clients()[0].memory_budget_bytes
    assignment = Assignment(
        CLIENT,
        Placement(cut=cut, mode=row.mode, recompute=recompute, batch_size=scenario.training.batch_size),
        1.0,
        budget,
    )
    start_s = time.perf_counter()
    which = (study.name, cut, row.name, learning_rate, seed, study.steps)
    try:
        with _FinalAccuracy(scenario) as executor:
            done = train(scenario, [assignment], executor, scenario.training.rounds)
    except RunError:
        return Outcome(*which, float("nan"), float("nan"), 0, 0, 0, time.perf_counter() - start_s)
    table = done.measured.table
    uplink, downlink = (int(table.loc[table["phase"] == p, "bytes"].sum()) for p in (Phase.UPLINK, Phase.DOWNLINK))
    last = done.records[-1]
    return Outcome(
        *which, last.test_accuracy, last.train_loss, done.peak_bytes[CLIENT],
        uplink, downlink, time.perf_counter() - start_s,
    )  # fmt: skip


def _flops(cost: OperatorCost) -> float:
    return float(cost.flops @ cost.count)


def cost_of(study: Study, row: Row, cut: int) -> Cost:
    """Return what an option costs, from the profile of its scenario."""
    scenario, mode = study.scenario(row, cut, 0), row.mode
    model = profile_model(scenario)
    options = build_options(scenario, model).table
    rows = options[options["cut"] == cut].sort_values("client_peak_bytes").head(1)
    recompute = str(rows["recompute"].iloc[0])
    profile = model.by_batch_size[scenario.training.batch_size]
    flops = block_seconds(_flops, profile.costs)
    forwards = profile.forwards.get(Choice(cut, mode, recompute))
    step_flops = MODES[mode].client_step_s(flops, cut, scenario.training.zeroth_order, forwards)
    alone = problem_of_rows(OptionRows.of_frame(rows), scenario).work.latency_s(1.0)
    chosen = rows.iloc[0]
    exchanged = chosen["model_upload_bytes"] + chosen["model_download_bytes"]
    crossed = (chosen["uplink_bytes"] + chosen["downlink_bytes"] - exchanged) / scenario.training.local_steps
    forward_flops = float(flops.forward[:cut].sum())
    return Cost(recompute, step_flops, forward_flops, float(alone[0]), int(chosen["client_peak_bytes"]), float(crossed))


def cached_uploads(study: Study, cut: int) -> float:
    """Share of the steps' uploads that remain when frozen clients upload every sample's smashed data once."""
    scenario = study.scenario(study.rows[0], cut, 0)
    drawn = study.steps * scenario.training.batch_size
    return min(1.0, len(load_dataset(scenario).train) / drawn)
