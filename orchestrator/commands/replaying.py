"""Replay plans: one with its figures, or several against each other on the same links."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from hybridsplit.orchestrator.commands.options import JsonOption, RadioName, RoundOption, ServerName
from hybridsplit.orchestrator.console import print_json, reports_errors, stdout

if TYPE_CHECKING:
    from hybridsplit.orchestrator.timeline.intervals import Interval
    from hybridsplit.scenarios.contracts.disciplines import Disciplines


@reports_errors
def replay(
    plan_files: Annotated[
        list[Path], typer.Argument(metavar="PLAN...", help="A plan.json; several are compared on the same links.")
    ],
    traces: Annotated[
        Path | None,
        typer.Option("--traces", metavar="DIR", help="Folder of recorded bandwidth traces, dealt to the clients."),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(
            "--rounds", min=1, max=1_000_000, help="Rounds to replay; 1 by default, or 1,000 periods of inference."
        ),
    ] = None,
    in_order: Annotated[
        bool,
        typer.Option(
            "--in-order", help="Play recordings from their start, round after round, not in windows that are drawn."
        ),
    ] = False,
    absolute: Annotated[
        bool,
        typer.Option("--absolute", help="Take a recording's rates as the client's own, not as a change of the plan's."),
    ] = False,
    server: Annotated[
        ServerName, typer.Option("--server", help="How the server serves, instead of by the plan.")
    ] = ServerName.PLAN,
    radio: Annotated[
        RadioName, typer.Option("--radio", help="How uplink and downlink are divided, instead of by the plan.")
    ] = RadioName.PLAN,
    averaging: Annotated[
        str | None,
        typer.Option("--averaging", metavar="TIME", help="Of proportional-fair: over what rates are averaged; 1 s."),
    ] = None,
    round_shown: RoundOption = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Write ledger and report here.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Replay a plan's network over constant or recorded links, without training; or compare plans so."""
    from hybridsplit.orchestrator.inference.detect import is_inference_plan
    from hybridsplit.orchestrator.relays.detect import is_relay_plan
    from hybridsplit.scenarios.errors import UsageError

    disciplines = _disciplines(server, radio, averaging)
    if len(plan_files) == 1 and is_inference_plan(plan_files[0]):
        from hybridsplit.orchestrator.commands.inference import replay_apps

        _check_planned(disciplines)
        has_traces = traces is not None or in_order or absolute or round_shown is not None
        replay_apps(plan_files[0], rounds, out, has_traces=has_traces, as_json=as_json)
        return
    if several := [path for path in plan_files if len(plan_files) > 1 and is_relay_plan(path)]:
        raise UsageError(
            f"{several[0]}: is a plan over relays, which are replayed one at a time; 'hybridsplit compare' sets "
            "strategies side by side"
        )
    if len(plan_files) == 1 and is_relay_plan(plan_files[0]):
        from hybridsplit.orchestrator.commands.relays import replay_over_relays

        _check_planned(disciplines)
        has_traces = traces is not None or in_order or absolute or round_shown is not None
        replay_over_relays(plan_files[0], rounds, out, has_traces=has_traces, as_json=as_json)
        return
    rounds = 1 if rounds is None else rounds
    if round_shown is not None and round_shown >= rounds:
        raise UsageError(f"--round {round_shown}: no such round; needs one from 0 to {rounds - 1} (--rounds)")
    if len(plan_files) > 1:
        if round_shown is not None:
            raise UsageError("--round shows a round of one plan: leave it out, or name one plan")
        _compare(plan_files, traces, rounds, out, disciplines, in_order=in_order, absolute=absolute, as_json=as_json)
        return
    _replay_one(
        plan_files[0], traces, rounds, round_shown, out, disciplines, in_order=in_order, absolute=absolute,
        as_json=as_json,
    )  # fmt: skip


def _disciplines(server: ServerName, radio: RadioName, averaging: str | None) -> Disciplines:
    from hybridsplit.scenarios.contracts.disciplines import disciplines_of
    from hybridsplit.scenarios.errors import UnitError, UsageError
    from hybridsplit.scenarios.units import SECONDS

    try:
        averaging_s = None if averaging is None else SECONDS.parse(averaging)
    except UnitError as error:
        raise UsageError(f"--averaging: {error}") from error
    return disciplines_of(server.value, radio.value, averaging_s)


def _check_planned(disciplines: Disciplines) -> None:
    from hybridsplit.orchestrator.api_runs import of_training_alone

    if not disciplines.are_planned:
        raise of_training_alone()


def _replay_one(
    plan_file: Path,
    traces: Path | None,
    rounds: int,
    round_shown: int | None,
    out: Path | None,
    disciplines: Disciplines,
    *,
    in_order: bool,
    absolute: bool,
    as_json: bool,
) -> None:
    from hybridsplit.orchestrator.folder_choice import choose_folder
    from hybridsplit.orchestrator.recordings import latencies_line, rates_line, recordings_for
    from hybridsplit.orchestrator.replaying import replay_plan
    from hybridsplit.orchestrator.run_folder import open_plan
    from hybridsplit.orchestrator.summary import discipline_line
    from hybridsplit.orchestrator.views.tables import truth_table
    from hybridsplit.runtime.replay.disciplined import plan_under
    from hybridsplit.scenarios.units import counted, format_seconds

    loaded, scenario = open_plan(plan_file)
    dealt = recordings_for(loaded, scenario, traces, absolute=absolute)
    folder = choose_folder(out, "", resume=False) if out is not None else None
    played = replay_plan(
        loaded, scenario, folder, rounds, dealt, in_order=in_order, absolute=absolute, round_shown=round_shown,
        disciplines=disciplines,
    )  # fmt: skip
    served = plan_under(loaded, disciplines)
    if as_json:
        document: dict[str, Any] = played.summary.model_dump(mode="json")
        document |= {} if played.followed is None else {"replanned": _changes_document(played.followed)}
        document |= {} if folder is None else {"report": str(folder.report)}
        document |= {} if round_shown is None else {"round": _round_document(served, played.entries, round_shown)}
        print_json(document)
        return
    stdout().print(truth_table(played.sums))
    planned_s, total_s = loaded.round_latency_s, played.summary.simulated_s
    spread = played.summary.round_latencies
    windows = "" if spread is None else f" over {spread.distinct_windows} distinct windows"
    stdout().print(
        f"{counted(rounds, 'round')} in {format_seconds(total_s)}: {format_seconds(total_s / rounds)} a round{windows}"
        f", planned {format_seconds(planned_s)} ({total_s / rounds / planned_s - 1:+.2%})",
        highlight=False,
    )
    if spread is not None:
        stdout().print(escape(latencies_line(spread, rounds)), highlight=False, soft_wrap=True)
    if played.followed is not None:
        from hybridsplit.orchestrator.replanning.words import changes_line, changes_lines

        for line in (changes_line(played.followed), *changes_lines(played.followed), played.saved):
            stdout().print(escape(line), highlight=False, soft_wrap=True)
    if played.memory:
        stdout().print(escape(played.memory), highlight=False, soft_wrap=True)
    if not disciplines.are_planned:
        stdout().print(f"{discipline_line(disciplines)}.", highlight=False, soft_wrap=True)
    if dealt:
        stdout().print(rates_line(served, scenario, dealt, absolute=absolute), highlight=False, soft_wrap=True)
    if round_shown is not None:
        _print_round(served, played.entries, round_shown)
    if folder is not None:
        stdout().print(f"report: [bold]{escape(str(folder.report))}[/]", highlight=False, soft_wrap=True)


def _changes_document(followed: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return {"plan_of_round": list(followed.of_round), "changes": [asdict(change) for change in followed.changes]}


def _intervals(plan: Any, entries: Any, number: int) -> list[Interval]:
    from hybridsplit.orchestrator.timeline.intervals import intervals_of_round
    from hybridsplit.runtime.replay.playback import scenario_of

    training = scenario_of(plan).training
    return intervals_of_round(entries, number, training.local_steps, synchronise=training.steps_synchronise)


def _print_round(plan: Any, entries: Any, number: int) -> None:
    from hybridsplit.orchestrator.timeline.rounds import latency_of, replayed_rounds
    from hybridsplit.orchestrator.views.gantt import critical_line, gantt_lines
    from hybridsplit.scenarios.contracts.ledger import Ledger

    rounds = replayed_rounds(plan, Ledger.from_entries(entries))
    intervals = _intervals(plan, entries, number)
    for line in gantt_lines(intervals, latency_of(rounds, number)):
        stdout().print(escape(line), highlight=False, soft_wrap=True)
    stdout().print(escape(critical_line(rounds, number)), highlight=False, soft_wrap=True)


def _round_document(plan: Any, entries: Any, number: int) -> dict[str, Any]:
    from hybridsplit.orchestrator.timeline.rounds import latency_of, replayed_rounds
    from hybridsplit.orchestrator.timeline.use import RESOURCES, queue_length, utilisation
    from hybridsplit.scenarios.contracts.ledger import Ledger

    rounds = replayed_rounds(plan, Ledger.from_entries(entries))
    row = {name: rounds.loc[rounds["round"] == number, name].tolist()[0] for name in rounds.columns}
    intervals, latency_s = _intervals(plan, entries, number), latency_of(rounds, number)
    use = {name: utilisation(intervals, plan.clients, name, latency_s) for name in RESOURCES}
    queues = {name: queue_length(intervals, plan.clients, name, latency_s) for name in RESOURCES}
    return row | {
        "intervals": [one._asdict() for one in intervals],
        "utilisation": {name: {"times_s": one.times_s, "levels": one.levels} for name, one in use.items()},
        "queue_length": {name: {"times_s": one.times_s, "levels": one.levels} for name, one in queues.items()},
    }


def _compare(
    plan_files: list[Path],
    traces: Path | None,
    rounds: int,
    out: Path | None,
    disciplines: Disciplines,
    *,
    in_order: bool,
    absolute: bool,
    as_json: bool,
) -> None:
    from hybridsplit.orchestrator.commands.options import writing
    from hybridsplit.orchestrator.run_folder import open_plan
    from hybridsplit.orchestrator.studies.paired import compare_replays, rounds_of
    from hybridsplit.orchestrator.views.paired import paired_lines, paired_table

    plans = [(str(path), open_plan(path)[0]) for path in plan_files]
    compared = compare_replays(plans, rounds, traces, in_order=in_order, absolute=absolute, disciplines=disciplines)
    if out is not None:
        from hybridsplit.scenarios.contracts.parquet import write_parquet

        path = out / "paired_rounds.parquet"
        writing(path, lambda: write_parquet(rounds_of(compared), path, "paired_rounds", 1))
    if as_json:
        document: dict[str, Any] = {"num_rounds": rounds, "plans": [one.document() for one in compared]}
        print_json(document if disciplines.are_planned else document | {"disciplines": disciplines.model_dump()})
        return
    stdout().print(paired_table(compared))
    if not disciplines.are_planned:
        stdout().print(f"All were replayed with {disciplines}.", highlight=False, soft_wrap=True)
    for line in paired_lines(compared):
        stdout().print(escape(line), highlight=False, soft_wrap=True)
    if out is not None:
        stdout().print(f"rounds: [bold]{escape(str(path))}[/]", highlight=False, soft_wrap=True)
