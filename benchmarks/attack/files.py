"""Alter every file that a command reads, by bytes and by values, with the digest left alone and taken again."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.attack.alterations import Alteration, of_bytes, of_json, of_table
from benchmarks.attack.tally import Said, Tally, call

APPS = ("--set", "search.most_cuts=0", "--set", "search.time_limit_s=5")
OF_SEARCH = frozenset({"lower_bound_s", "gap", "num_plans", "solve_s", "notes", "strategy", "status"})
"""What only a search knows: beside a plan of an inference task alone it is stated by the file."""
OF_REPLAY = OF_SEARCH | {
    "rounds", "period_s", "frames", "rate_hz", "latency_s", "busy", "strategies", "rates", "frames_in_flight",
}  # fmt: skip
"""What only a replay knows; its report shows it as the replay's."""
OF_RELAYS = OF_SEARCH | {
    "num_columns", "strategies", "peak_bytes", "node_peak_bytes", "within_budget", "bytes_agree", "executor", "events",
}  # fmt: skip
"""The same of a model that is cut several times, and what only its run has seen."""
_TINY = (
    "model.config={model_type: vit, hidden_size: 16, num_hidden_layers: 2, num_attention_heads: 2, "
    "intermediate_size: 32, image_size: 16, patch_size: 4, num_channels: 1, num_labels: 10}"
)
RELAYS = (
    "--set", _TINY, "--set", "data.image_size=16", "--set", "training.local_steps=1", "--set", "search.time_limit_s=1",
)  # fmt: skip
SMALL = ("--set", "training.local_steps=1", "--set", "training.frozen_control=true")
STATED = frozenset({
    "lower_bound_s", "lower_bound_j", "schedule_lower_bound_s", "compile_s", "solve_s", "prices", "marginals", "notes",
    "strategy", "reason", "confidence", "status", "events", "executor", "peak_bytes", "faults",
})  # fmt: skip
"""What follows from nothing else in a run: with a digest taken again it is stated by the file, and shown as that."""
COSTS = frozenset({
    "client_peak_bytes", "server_state_bytes", "client_energy_j", "cut", "mode", "recompute", "batch_size",
})  # fmt: skip
"""What only the option table knows: beside a plan alone it is stated by the file as well."""


Reads = Callable[[Path], Said | None]
"""Reads files of a folder by a command."""


@dataclass(frozen=True)
class Target:
    """A file, who reads it, and what an undisturbed reader comes to.

    Parameters
    ----------
    name
        Path within the folder.
    reader
        In words.
    read
        Reads it from a folder.
    outcome
        What counts of the result; a reader that comes to the undisturbed outcome did not believe the alteration.
    stated
        Keys that are stated by the file where its digest is taken again; None where no one may take it.
    """

    name: str
    reader: str
    read: Reads
    outcome: Callable[[Path, Said], Any]
    stated: frozenset[str] | None = None


def prepare(folder: Path) -> None:
    """Make a plan, a run of two rounds, and a replay."""
    for arguments in (
        ("plan", "quickstart", *SMALL, "--out", folder / "plan.json"),
        ("run", "quickstart", *SMALL, "--rounds", 2, "--executor", "inline", "--out", folder / "run"),
        ("plan", "wearables", *APPS, "--out", folder / "apps.json"),
        ("replay", folder / "apps.json", "--rounds", 5, "--out", folder / "apps"),
        ("run", "factory", *RELAYS, "--rounds", 2, "--executor", "inline", "--out", folder / "relays"),
    ):
        said = call(*arguments)
        assert said is not None, arguments
        assert said.exit_code == 0, said.stderr


def targets(folder: Path) -> Iterator[Target]:
    """Yield every file with every command that reads it."""

    def replay(place: Path) -> Said | None:
        return call("replay", place / "plan.json", "--json")

    def run(place: Path) -> Said | None:
        shutil.rmtree(place / "other", ignore_errors=True)
        plan = ("--plan", place / "plan.json", "--out", place / "other")
        return call("run", "quickstart", *SMALL, "--rounds", 1, "--executor", "inline", "--json", *plan)

    def report(place: Path) -> Said | None:
        return call("report", place / "run", "--json")

    def resume(place: Path) -> Said | None:
        out = ("--out", place / "run", "--resume")
        return call("run", "quickstart", *SMALL, "--rounds", 3, "--executor", "inline", "--json", *out)

    def replay_run(place: Path) -> Said | None:
        return call("replay", place / "run" / "plan.json", "--json")

    def believed(place: Path, said: Said) -> Any:
        return object()  # whoever does not refuse has believed it

    def replay_apps(place: Path) -> Said | None:
        return call("replay", place / "apps.json", "--rounds", 5, "--json")

    def report_apps(place: Path) -> Said | None:
        return call("report", place / "apps", "--json")

    def report_relays(place: Path) -> Said | None:
        return call("report", place / "relays", "--json")

    def resume_relays(place: Path) -> Said | None:
        out = ("--out", place / "relays", "--resume")
        return call("run", "factory", *RELAYS, "--rounds", 3, "--executor", "inline", "--json", *out)

    yield from _of_relays(folder, report_relays, resume_relays, believed)
    yield Target("plan.json", "replay", replay, believed, STATED | COSTS)
    yield Target("apps.json", "replay", replay_apps, believed, OF_SEARCH)
    for name in ("plan.json", "summary.json", "manifest.json"):
        yield Target(f"apps/{name}", "report", report_apps, believed, OF_REPLAY | {"files"})
    yield Target("apps/scenario.yaml", "report", report_apps, believed)
    yield Target("plan.json", "run --plan", run, believed, STATED)
    yield Target("run/plan.json", "replay", replay_run, believed, STATED)
    for name in ("plan.json", "summary.json", "manifest.json"):
        yield Target(f"run/{name}", "report", report, believed, STATED | {"files"})
    for name in ("options", "ledger", "rounds", "control", "clients"):
        yield Target(f"run/{name}.parquet", "report", report, believed)
    yield Target("run/scenario.yaml", "report", report, believed)
    for name in ("plan.json", "options.parquet", "manifest.json"):
        yield Target(f"run/{name}", "run --resume", resume, _final, STATED | {"files"})
    newest = max((folder / "run" / "checkpoints").glob("round-*")).name
    for checkpoints in ("checkpoints", "checkpoints-control"):
        yield Target(f"run/{checkpoints}/latest.json", "run --resume", resume, _final)
        for name in ("checkpoint.json", "measured.parquet", "state.safetensors"):
            stated = STATED | {"train_loss", "test_score", "score"}
            yield Target(f"run/{checkpoints}/{newest}/{name}", "run --resume", resume, _final, stated)


def _of_relays(folder: Path, report: Reads, resume: Reads, believed: Callable[[Path, Said], Any]) -> Iterator[Target]:
    """Yield the files of a run over relays, of which nothing is derived again but the plan."""
    for name in ("plan.json", "summary.json", "manifest.json"):
        yield Target(f"relays/{name}", "report", report, believed, OF_RELAYS | {"files"})
    for name in ("ledger.parquet", "rounds.parquet", "clients.parquet", "scenario.yaml"):
        yield Target(f"relays/{name}", "report", report, believed)
    yield Target("relays/plan.json", "run --resume", resume, _final, OF_RELAYS)
    newest = max((folder / "relays" / "checkpoints").glob("round-*")).name
    for name in ("checkpoint.json", "measured.parquet", "state.safetensors"):
        stated = STATED | {"train_loss", "test_accuracy", "test_score", "score", "node_peak_bytes"}
        yield Target(f"relays/checkpoints/{newest}/{name}", "run --resume", resume, _final, stated)


def _final(place: Path, said: Said) -> Any:
    """Return the figures of a run, without what happened on the way."""
    summary = json.loads(said.stdout)
    for key in ("events", "notes", "report"):
        summary.pop(key, None)
    summary.get("training", {}).pop("events", None)
    return summary


def alterations(path: Path, chance: random.Random, trials: int, *, seal: bool) -> list[Alteration]:
    """Return some alterations of a file, bytes and values."""
    content = path.read_bytes()
    if path.suffix == ".json":
        values = list(of_json(content.decode(), seal=seal))
    elif path.suffix == ".parquet":
        values = list(of_table(path, chance, trials))
    else:
        values = []
    found = chance.sample(values, min(trials, len(values)))
    return found if seal else [*of_bytes(content, chance, max(2, trials // 4)), *found]


def attack(scratch: Path, trials: int, seed: int) -> bool:
    """Alter files; return whether none of it was believed, ended unexpectedly or hung.

    Parameters
    ----------
    scratch
        A folder to work in.
    trials
        Alterations of a file's values for each command that reads it.
    seed
        Of what is altered.
    """
    chance, tally = random.Random(seed), Tally("files")
    base = scratch / "base"
    base.mkdir()
    prepare(base)
    place = scratch / "altered"
    for target in targets(base):
        wanted = _undisturbed(base, place, target)
        sealings = (False, True) if target.stated is not None and target.name.endswith(".json") else (False,)
        for seal in sealings:
            for one in alterations(base / target.name, chance, trials, seal=seal):
                shutil.rmtree(place, ignore_errors=True)
                shutil.copytree(base, place)
                (place / target.name).write_bytes(one.content)
                what = f"{target.name} by {target.reader}{', sealed again' if seal else ''}: {one.what}"
                _judge(tally, target, place, wanted, one, what, seal=seal)
    return tally.report()


def _undisturbed(base: Path, place: Path, target: Target) -> Any:
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(base, place)
    said = target.read(place)
    assert said is not None, target
    assert said.exit_code == 0, f"{target.reader}: {said.stderr}"
    return target.outcome(place, said)


def _judge(tally: Tally, target: Target, place: Path, wanted: Any, one: Alteration, what: str, *, seal: bool) -> None:
    said = target.read(place)
    if said is None:
        tally.add("hangs", what, bad=True)
    elif said.is_unexpected:
        tally.add("unexpected errors", f"{what}: {said.stderr[-300:]}", bad=True)
    elif said.is_refused:
        tally.add("refused", what, bad=False)
    elif said.exit_code == 0 and target.outcome(place, said) == wanted:
        tally.add("without effect", what, bad=False)
    elif seal and target.stated is not None and target.stated & set(map(str, one.key)):
        tally.add("stated by the file", what, bad=False)
    else:
        tally.add("believed", f"{what} (exit {said.exit_code}) {said.stderr[-200:]}", bad=True)
