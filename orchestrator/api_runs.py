"""The Python interface of what is carried out: runs, replays and reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, overload

from hybridsplit.orchestrator.folder_choice import choose_folder
from hybridsplit.orchestrator.results import Replayed, Run
from hybridsplit.orchestrator.run_folder import RunFolder
from hybridsplit.scenarios.contracts.disciplines import disciplines_of
from hybridsplit.scenarios.contracts.inference_plan import InferencePlan
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.errors import UsageError
from hybridsplit.scenarios.inference.schema import InferenceScenario
from hybridsplit.scenarios.schema import Scenario

if TYPE_CHECKING:
    from hybridsplit.orchestrator.inference.results import ReplayedApps
    from hybridsplit.orchestrator.pipeline import RunSettings
    from hybridsplit.orchestrator.relays.results import RelayRun, ReplayedRelays
    from hybridsplit.runtime.run.records import RoundDone
    from hybridsplit.scenarios.contracts.relay_plan import RelayPlan
    from hybridsplit.scenarios.relays.schema import RelayScenario


@overload
def run(
    plan: Plan | InferencePlan | Scenario | str | Path | Mapping[str, Any], *, rounds: int | None = None,
    executor: str = "inline", workers: int | None = None, out: str | Path | None = None, resume: bool = False,
    on_round: Callable[[RoundDone], None] | None = None, torch_device: str = "cpu",
) -> Run: ...  # fmt: skip
@overload
def run(
    plan: RelayPlan | RelayScenario, *, rounds: int | None = None, executor: str = "inline",
    workers: int | None = None, out: str | Path | None = None, resume: bool = False,
    on_round: Callable[[RoundDone], None] | None = None, torch_device: str = "cpu",
) -> RelayRun: ...  # fmt: skip
def run(
    plan: Plan | InferencePlan | RelayPlan | Scenario | RelayScenario | str | Path | Mapping[str, Any],
    *,
    rounds: int | None = None,
    executor: str = "inline",
    workers: int | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    on_round: Callable[[RoundDone], None] | None = None,
    torch_device: str = "cpu",
) -> Run | RelayRun:
    """Train by a plan while its network is replayed, and write a run folder with its report.

    Parameters
    ----------
    plan
        The plan, which carries its scenario; or a scenario to be planned by ``optimal``.
    rounds
        Rounds; the scenario's when None.
    executor
        ``inline`` trains in this process, ``ray`` on a local cluster, to the same bits.
    workers
        Worker processes of ``ray``; one a core when None.
    out
        The run folder; ``runs/NAME`` when None.
    resume
        Whether to continue the run that is there.
    on_round
        Called after every round of the plan with its number, simulated seconds, loss, accuracy, bytes and largest peak;
        first, where a run goes on, for the rounds that are done. What it raises ends the run.
    torch_device
        What computes: ``cpu``, ``cuda``, or ``server-cuda``, the server parts alone on a GPU. It decides bits.

    Raises
    ------
    BudgetExceededError, RunError
        If a client exceeds its budget or training fails.
    UsageError
        If the folder holds another run.
    """
    from hybridsplit.orchestrator.pipeline import check_begun, check_data, run_plan
    from hybridsplit.orchestrator.plan_file import check_plan, scenario_inside
    from hybridsplit.profiler.options import profile_scenario

    if isinstance(plan, InferencePlan):
        raise nothing_trained("run")
    task = plan if isinstance(plan, Plan) else _task(plan)
    if not isinstance(task, (Plan, Scenario)):
        from hybridsplit.orchestrator.relays.face import run_over

        settings = run_settings(executor, workers, rounds, resume=resume, torch_device=torch_device)
        return run_over(task, settings, out, on_round or (lambda done: None))
    chosen = task if isinstance(task, Plan) else _plan_of(task)
    scenario = scenario_inside(chosen, "the plan")
    folder = choose_folder(None if out is None else Path(out).resolve(), scenario.name, resume=resume)
    with folder.claimed():
        if resume:
            check_begun(folder, chosen, "the plan")
        check_data(scenario)
        options = profile_scenario(scenario)
        check_plan(chosen, scenario, options, "the plan")
        run_plan(
            scenario, options, chosen, folder,
            run_settings(executor, workers, rounds, resume=resume, torch_device=torch_device),
            on_round=lambda run, done: on_round(done) if on_round is not None and run == "plan" else None,
        )  # fmt: skip
    return Run(folder.path)


@overload
def replay(
    plan: Plan, *, rounds: int | None = None, traces: str | Path | None = None, out: str | Path | None = None,
    in_order: bool = False, absolute: bool = False, server: str = "plan", radio: str = "plan",
    averaging_s: float | None = None,
) -> Replayed: ...  # fmt: skip
@overload
def replay(plan: InferencePlan, *, rounds: int | None = None, out: str | Path | None = None) -> ReplayedApps: ...
@overload
def replay(plan: RelayPlan, *, rounds: int | None = None, out: str | Path | None = None) -> ReplayedRelays: ...
def replay(
    plan: Plan | InferencePlan | RelayPlan,
    *,
    rounds: int | None = None,
    traces: str | Path | None = None,
    out: str | Path | None = None,
    in_order: bool = False,
    absolute: bool = False,
    server: str = "plan",
    radio: str = "plan",
    averaging_s: float | None = None,
) -> Replayed | ReplayedApps | ReplayedRelays:
    """Replay a plan without training: its network over constant or recorded links, or its apps frame by frame.

    Parameters
    ----------
    plan
        The plan.
    rounds
        Rounds to replay, 1 when None; periods of an inference task, 1,000 when None; of a stream over relays, batches,
        200 when None.
    traces
        Folder of recorded bandwidth traces, dealt to the clients; the scenario's own when None.
    out
        Folder for ledger and report; nothing is written when None.
    in_order
        Whether recordings run on from round to round, from their start; every round is a window drawn from the seed
        otherwise, so that rounds are samples.
    absolute
        Whether a recording's rates are those of the client's link; a recording says when a link is good, and the plan
        how good it is on average, otherwise.
    server
        How the server serves: by the plan (``plan``), one job after another (``first-come``), or all at once in equal
        parts (``processor-sharing``).
    radio
        How uplink and downlink are divided: by the plan (``plan``), in equal parts (``round-robin``), for equal rates
        (``max-min``), or ``proportional-fair``.
    averaging_s
        Time constant of the average rate of ``proportional-fair``, seconds; 1 when None.

    Raises
    ------
    ScenarioError, UsageError
        If a recording cannot be read, the folder holds a run already, or the plan cannot be replayed by the
        disciplines.
    """
    disciplines = disciplines_of(server, radio, averaging_s)
    if isinstance(plan, InferencePlan):
        if not disciplines.are_planned:
            raise of_training_alone()
        if traces is not None or in_order or absolute:
            raise UsageError(
                "traces, in_order and absolute: the links of an inference task are constant; leave them out"
            )
        from hybridsplit.orchestrator.inference import face

        return face.replay_apps(plan, rounds, out)
    if not isinstance(plan, Plan):
        from hybridsplit.orchestrator.relays.face import replay_over

        if not disciplines.are_planned:
            raise of_training_alone()
        return replay_over(plan, rounds, out, has_traces=traces is not None or in_order or absolute)
    from hybridsplit.orchestrator.plan_file import check_plan, scenario_inside
    from hybridsplit.orchestrator.recordings import recordings_for
    from hybridsplit.orchestrator.replaying import replay_plan

    scenario = scenario_inside(plan, "the plan")
    check_plan(plan, scenario, None, "the plan")
    dealt = recordings_for(plan, scenario, None if traces is None else Path(traces), absolute=absolute)
    folder = None if out is None else choose_folder(Path(out), "", resume=False)
    return replay_plan(
        plan,
        scenario,
        folder,
        1 if rounds is None else rounds,
        dealt,
        in_order=in_order,
        absolute=absolute,
        disciplines=disciplines,
    )


def report(run: Run | RelayRun | ReplayedApps | ReplayedRelays | str | Path) -> Path:
    """Render the report of a run, or of a replay that was written, again, and return where it is.

    Parameters
    ----------
    run
        A run, a replay that was written (``out``), or its folder.

    Raises
    ------
    ContractError
        If the folder holds no complete run.
    """
    from hybridsplit.orchestrator.inference.detect import is_inference_folder
    from hybridsplit.orchestrator.relays.detect import is_relay_plan

    path = Path(run) if isinstance(run, (str, Path)) else run.path
    if path is None:
        raise UsageError("report: this replay was not written; replay with out=")
    if is_inference_folder(path):
        from hybridsplit.orchestrator.inference.replaying import report_again

        return report_again(RunFolder(path))
    if is_relay_plan(path):
        from hybridsplit.orchestrator.relays.replaying import relay_report_again

        return relay_report_again(RunFolder(path))
    from hybridsplit.orchestrator.pipeline import write_report

    return write_report(RunFolder(path))


def nothing_trained(what: str) -> UsageError:
    """Return the error for what only training has.

    Parameters
    ----------
    what
        What was asked for.
    """
    return UsageError(f"{what}: nothing is trained in an inference task; plan, compare, replay and report it")


def of_training_alone() -> UsageError:
    """Return the error for disciplines asked of what is no round of training over one shared radio."""
    return UsageError(
        "server, radio and averaging: divide one server and one radio in rounds of training; apps on accelerators and "
        "machines over relays serve as planned: leave them out"
    )


def one_cut_alone(what: str) -> UsageError:
    """Return the error for what only a model that is cut once has.

    Parameters
    ----------
    what
        What was asked for.
    """
    return UsageError(f"{what}: is about one cut; plan, run, replay, compare and report a model over relays")


def run_settings(
    executor: str, workers: int | None, rounds: int | None, *, resume: bool = False, torch_device: str = "cpu"
) -> RunSettings:
    """Return how a run is carried out.

    Parameters
    ----------
    executor, workers, rounds, resume, torch_device
        As for :func:`run`.

    Raises
    ------
    UsageError
        If there is no such executor or device.
    """
    from hybridsplit.orchestrator.pipeline import RunSettings, default_workers
    from hybridsplit.runtime.split.compute import COMPUTE_DEVICES

    if executor not in ("inline", "ray"):
        raise UsageError(f"executor: found {executor!r}; needs 'inline' or 'ray'")
    if torch_device not in COMPUTE_DEVICES:
        raise UsageError(f"torch_device: found {torch_device!r}; needs one of {', '.join(COMPUTE_DEVICES)}")
    return RunSettings(executor, workers or default_workers(), rounds, resume, torch_device=torch_device)


def _task(
    source: RelayPlan | Scenario | InferenceScenario | RelayScenario | str | Path | Mapping[str, Any],
) -> RelayPlan | Scenario | RelayScenario:
    from hybridsplit.scenarios.loader import load_task, task_of_values

    task: object = source
    if isinstance(source, Mapping):
        task = task_of_values(source, {})
    elif isinstance(source, (str, Path)):
        task = load_task(str(source))
    if isinstance(task, InferenceScenario):
        raise nothing_trained("run")
    return cast("RelayPlan | Scenario | RelayScenario", task)


def _plan_of(scenario: Scenario) -> Plan:
    from hybridsplit.orchestrator.planned import plan_as_asked
    from hybridsplit.profiler.options import profile_scenario

    options = profile_scenario(scenario)
    return plan_as_asked(scenario, options, "optimal", fixed=None, warm_start=None, time_limit_s=None)
