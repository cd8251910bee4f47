"""Compare plans, replays and trained weights with recorded ones, to the last bit.

Run: ``python -m benchmarks.golden_bits`` compares with ``benchmarks/golden_bits.json``; ``--record`` writes this
machine's bits into that file, which belongs into a commit of its own with a reason. Every built-in scenario is planned
by every strategy, replayed over constant and over recorded links, and trained for two rounds (quickstart as it is, the
others shrunken). Bits depend on processor and versions: the file has a record for each machine, and a comparison on
another one says so. There, record an older build into a file of your own (``--record --file FILE``) and compare with
that.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import json
import math
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_suffix(".json")
SCENARIOS = ("quickstart", "smart-home", "campus", "city")
STRATEGIES = (
    "optimal", "static", "time-shared", "greedy", "splitfed", "edgesplit", "smartsplit", "hsfl", "sfl-wireless",
    "split-sequential", "hosl", "ho-sfl", "fedavg", "random",
)  # fmt: skip
PLAN_WORDS = (
    "solve_s", "compile_s", "notes", "marginals", "schema_version", "scenario", "scenario_hash", "status", "written_by",
    "digest", "gain", "untrained_blocks", "recorded", "deadline_s",
)  # fmt: skip
"""Fields of a plan that are times, words, the document itself, or empty without target, recordings or deadline. Of a
client also what is empty where its memory does not move, 0 where its steps do not overlap or no head is on it, and 1
where it has no loss of its own or its batches are whole."""
CLIENT_WORDS = (
    "reason", "gain", "levels", "staleness", "upload_every", "head_blocks", "head_compute_s", "head_features_bytes",
    "head_gradient_bytes", "server_backward_s", "micro_batches", "client_update_s", "server_update_s",
)  # fmt: skip
SHRUNKEN = {
    "quickstart": (),
    "smart-home": (
        "model.config.hidden_size=32", "model.config.num_hidden_layers=3", "model.config.ffn_dim=64",
        "model.config.num_attention_heads=2", "model.config.word_embed_proj_dim=32", "model.config.vocab_size=200",
        "data.num_samples=256", "training.sequence_length=16", "training.local_steps=2",
    ),
    "campus": (
        "model.config.hidden_size=32", "model.config.num_hidden_layers=3", "model.config.ffn_dim=64",
        "model.config.num_attention_heads=2", "model.config.word_embed_proj_dim=32", "model.config.vocab_size=200",
        "data.num_samples=1600", "training.sequence_length=16", "training.local_steps=2",
        "clients.pi.count=3", "clients.phone.count=3", "clients.old-phone.count=2", "clients.kiosk.count=2",
        "clients.laptop.count=2", "clients.lab.count=1",
    ),
    "city": (
        "model.config.hidden_size=32", "model.config.num_hidden_layers=2", "model.config.intermediate_size=64",
        "model.config.num_attention_heads=2", "model.config.vocab_size=200", "data.num_samples=1600",
        "training.sequence_length=16", "training.local_steps=2", "clients.phone.count=3",
        "clients.old-phone.count=3", "clients.meter.count=2", "clients.camera.count=2", "clients.kiosk.count=1",
    ),
}  # fmt: skip


def digest(document: Any) -> str:
    """Return a digest of JSON values; floats count by their bits."""
    return hashlib.sha256(json.dumps(_exact(document), sort_keys=True).encode()).hexdigest()[:16]


def _exact(value: Any) -> Any:
    if isinstance(value, float):
        return value.hex() if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {key: _exact(inner) for key, inner in value.items()}
    return [_exact(inner) for inner in value] if isinstance(value, list | tuple) else value


def call(app: Any, *arguments: str) -> tuple[int, str]:
    """Run one command in this process; return exit code and standard output."""
    from typer.testing import CliRunner

    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


def figures_of(plan: dict[str, Any]) -> dict[str, Any]:
    """Return what a plan decides and proves, without its words and its times."""
    kept = {key: value for key, value in plan.items() if key not in PLAN_WORDS}
    kept["clients"] = [{k: v for k, v in c.items() if k not in CLIENT_WORDS} for c in plan["clients"]]
    return kept


def ledger_digest(folder: Path) -> str:
    """Return a digest of a run folder's ledger, without seconds of the emulating machine."""
    import pandas as pd

    table = pd.read_parquet(folder / "ledger.parquet")
    table.loc[table["emulated"], "seconds"] = 0.0  # taken by a wall clock
    return digest({column: table[column].tolist() for column in table.columns})


def weights_digest(folder: Path) -> str:
    """Return a digest of the weights and records of a run folder's newest checkpoint."""
    from safetensors.numpy import load_file

    newest = max((folder / "checkpoints").glob("round-*"), key=lambda path: path.name)
    weights = {
        f"{path.relative_to(newest)}/{name}": hashlib.sha256(tensor.tobytes()).hexdigest()
        for path in sorted(newest.rglob("*.safetensors"))
        for name, tensor in load_file(path).items()
    }
    assert weights, newest
    return digest(weights)


def write_traces(folder: Path) -> None:
    """Write three recordings with outages, made by formula."""
    for number in range(3):
        rows = [(t, max(0.0, 6e6 * (1 + math.sin(t * (0.7 + 0.3 * number)))) if t % 11 else 0.0) for t in range(120)]
        text = "".join(f"{t}\t{rate / 1e6:.6f}\n" for t, rate in rows)
        (folder / f"link-{number}.txt").write_text(text, encoding="utf-8")


def golden(app: Any, scratch: Path) -> Iterator[tuple[str, str]]:
    """Yield every item's name and digest."""
    traces = scratch / "traces"
    traces.mkdir()
    write_traces(traces)
    for scenario in SCENARIOS:
        for strategy in STRATEGIES:
            file = scratch / f"{scenario}-{strategy}.json"
            code, _ = call(app, "plan", scenario, "--strategy", strategy, "--out", str(file))
            if code:
                yield f"plan {scenario} {strategy}", f"exit {code}"
                continue
            yield f"plan {scenario} {strategy}", digest(figures_of(json.loads(file.read_text())))
            if strategy not in ("optimal", "time-shared", "split-sequential"):
                continue
            for kind, given in (("constant", []), ("recorded", ["--traces", str(traces)])):
                out = scratch / f"replay-{scenario}-{strategy}-{kind}"
                code, said = call(app, "replay", str(file), "--rounds", "2", "--out", str(out), *given)
                assert code == 0, said
                yield f"replay {scenario} {strategy} {kind}", ledger_digest(out)
        out = scratch / f"run-{scenario}"
        overrides = [part for value in SHRUNKEN[scenario] for part in ("--set", value)]
        code, said = call(app, "run", scenario, "--executor", "inline", "--rounds", "2", "--out", str(out), *overrides)
        assert code == 0, said
        yield f"run {scenario} weights", weights_digest(out)
        yield f"run {scenario} ledger", ledger_digest(out)


def machine() -> dict[str, str]:
    """Return what bits depend on."""
    import numpy as np
    import torch

    return {
        "processor": platform.machine(),
        "model": _processor_model(),
        "vectors": torch.backends.cpu.get_cpu_capability(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def _processor_model() -> str:
    """Name of the processor: libraries choose their code by its maker too."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def main() -> None:
    """Compare, or record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", action="store_true", help="write the file instead of comparing with it")
    parser.add_argument("--file", type=Path, default=FILE)
    parser.add_argument("--app", default="hybridsplit.orchestrator.cli", help="module that holds the command line")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # the number of threads changes the order of sums
    here = machine()
    records = json.loads(arguments.file.read_text(encoding="utf-8")) if arguments.file.is_file() else []
    recorded = next((one for one in records if one["machine"] == here), records[0] if records else {"items": {}})
    found: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["HYBRIDSPLIT_CACHE"] = str(Path(scratch) / "cache")
        app = importlib.import_module(arguments.app).app
        for name, value in golden(app, Path(scratch)):
            found[name] = value
            word = value if arguments.record else "equal" if recorded["items"].get(name) == value else "DIFFERS"
            print(f"{name:55} {word}", flush=True)
    if arguments.record:
        others = [one for one in records if one["machine"] != here]
        text = json.dumps([*others, {"machine": here, "items": found}], indent=1)
        arguments.file.write_text(text + "\n", encoding="utf-8")
        return
    equal = sum(recorded["items"].get(name) == value for name, value in found.items())
    if recorded.get("machine") != here:
        print(f"recorded with {recorded.get('machine')}, here {here}: bits may differ for that reason alone")
    print(f"{equal} of {len(recorded['items'])} items equal to the last bit")
    sys.exit(equal != len(recorded["items"]))


if __name__ == "__main__":
    main()
