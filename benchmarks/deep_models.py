"""Profiling models of many layers: CPU seconds, memory and recompute orders, beside another build's.

    python benchmarks/deep_models.py [--layers 24,64] [--trainable lora|all] [--against CHECKOUT] [--cpu-limit-s 900]

The model has the width of OPT-66B (arXiv 2205.01068), which has 64 layers; it is given as a configuration, by value.
Every profile runs in a process of its own, on one thread and without kept profiles, in all four trained modes.
``--against`` names a checkout of this repository, such as ``git worktree add ../before COMMIT`` leaves; its profile is
made in turn, and the options of both are compared. Loading PyTorch and Transformers, which every profile begins with,
is timed by itself.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
MODES = "fo,fo-recompute,zo-projection,zo-loss"
WIDTH = {"hidden_size": 9216, "ffn_dim": 36864, "num_attention_heads": 72, "word_embed_proj_dim": 9216}
_RUN_OLD = "from orchestrator.cli import main; main()"  # before there was a package


@dataclass(frozen=True)
class Profiled:
    """What one profile took; ``options`` maps client, cut, mode and recompute order to peak bytes."""

    cpu_s: float
    peak_mib: float
    ended: bool
    options: dict[tuple[str, int, str, str], int]


def profile(checkout: Path, layers: int, trainable: str, cpu_limit_s: int) -> Profiled:
    """Profile in a process of its own."""
    is_package = (checkout / "src" / "hybridsplit").exists()
    command = [sys.executable, *(["-m", "hybridsplit"] if is_package else ["-c", _RUN_OLD]), "profile", "campus"]
    settings = [f"model.config.{key}={value}" for key, value in WIDTH.items()]
    settings += [f"model.config.num_hidden_layers={layers}", f"training.modes=[{MODES}]"]
    settings += ["training.trainable={method: all}"] if trainable == "all" else []
    command += [part for setting in settings for part in ("--set", setting)] + ["--json"]
    used, exit_code, text = _run(checkout, command, cpu_limit_s)
    rows = json.loads(text)["options"] if exit_code == 0 else []
    options = {
        (row["client"], row["cut"], row["mode"], row.get("recompute", row.get("schedule"))): row["client_peak_bytes"]
        for row in rows
    }
    return Profiled(_cpu_s(used), used.ru_maxrss / 1024, exit_code == 0, options)


def loading_cpu_s(checkout: Path) -> float:
    """CPU seconds in which a process imports what a profile needs, before it begins; the least of three."""
    if not (checkout / "src" / "hybridsplit").exists():
        return 0.0
    imports = (
        "import hybridsplit.orchestrator.cli, hybridsplit.runtime.data.sources, hybridsplit.profiler.model_profile"
    )
    return min(_cpu_s(_run(checkout, [sys.executable, "-c", imports], 900)[0]) for _ in range(3))


def _run(checkout: Path, command: list[str], cpu_limit_s: int) -> tuple[resource.struct_rusage, int, str]:
    """Run with a checkout's code: what the process used, its exit code and what it printed."""
    is_package = (checkout / "src" / "hybridsplit").exists()
    environment = {
        **os.environ,
        "PYTHONPATH": str(checkout / "src" if is_package else checkout),
        "HYBRIDSPLIT_CACHE": "off",
        "OMP_NUM_THREADS": "1",
    }
    limited = ["/bin/sh", "-c", f'ulimit -t {cpu_limit_s}; exec "$@"', "sh", *command]
    with subprocess.Popen(
        limited, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=checkout
    ) as process:
        assert process.stdout is not None
        text = process.stdout.read()
        # wait4 gives the use of this child alone; getrusage would give the largest of all so far.
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return used, process.returncode, text.decode()


def _cpu_s(used: resource.struct_rusage) -> float:
    return used.ru_utime + used.ru_stime


def _said(name: str, layers: int, found: Profiled) -> None:
    end = f"{len(found.options):,} options" if found.ended else "DID NOT END"
    print(f"{layers:>6} {name:12} {found.cpu_s:>8.1f} {found.peak_mib:>9.0f}  {end}", flush=True)


def main() -> None:
    """Print CPU seconds and memory of every depth, and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", default="24,64")
    parser.add_argument("--trainable", choices=("lora", "all"), default="lora")
    parser.add_argument("--against", type=Path)
    parser.add_argument("--cpu-limit-s", type=int, default=900)
    arguments = parser.parse_args()
    print(f"{'layers':>6} {'build':12} {'CPU s':>8} {'peak MiB':>9}")
    loading = loading_cpu_s(HERE)
    print(
        f"       loading      {loading:>8.1f}  of these, PyTorch and Transformers before anything is profiled",
        flush=True,
    )
    for layers in map(int, arguments.layers.split(",")):
        here = profile(HERE, layers, arguments.trainable, arguments.cpu_limit_s)
        _said("this", layers, here)
        if arguments.against is None:
            continue
        before = profile(arguments.against.resolve(), layers, arguments.trainable, arguments.cpu_limit_s)
        _said("the other", layers, before)
        least = "" if before.ended else "at least "
        beside = (before.cpu_s - loading_cpu_s(arguments.against.resolve())) / (here.cpu_s - loading)
        same = f"options and peaks are {'equal' if here.options == before.options else 'NOT EQUAL'}"
        print(f"       {least}{before.cpu_s / here.cpu_s:.1f} times as slow; {same if before.ended else 'no options'}")
        print(f"       {least}{beside:.1f} times as slow beside loading")


if __name__ == "__main__":
    main()
