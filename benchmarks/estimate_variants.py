"""Final accuracy of zeroth-order clients whose directions are used in other ways, beside the plain and the frozen one.

    python -m benchmarks.estimate_variants --study digits|quickstart [--seeds 0,1,2,3,4] [--out results.csv]
    python -m benchmarks.estimate_variants --study polarity --text-folder FOLDER --checkpoint FOLDER
    python -m benchmarks.estimate_variants --study digits --tune 0.3,1,3

Settings, rates and budgets are those of ``benchmarks.training_accuracy``, with 128 training samples fewer for the
client: these are the public data of the variants that need some. Directional derivatives are products with the exact
gradient, their limit for a small radius (``benchmarks.estimates``). --tune runs multiples of the plain row's rate on
two seeds of their own. Rows that are in --out already are not run again.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from benchmarks import estimates
from benchmarks.estimate_runs import Variant, add_study, forwards_of, settings_of, study_of, trained

TUNING_SEEDS = (100, 101)
FROZEN = "frozen"
VARIANTS: Mapping[str, Variant] = {
    "plain": Variant(estimates.Plain),
    "plain, slower": Variant(estimates.Plain),
    "twice the directions": Variant(estimates.Twice),
    "four parts of the batch": Variant(estimates.OwnDirections, parts=4),
    "single blocks": Variant(estimates.SingleBlocks),
    "single blocks, twice the directions": Variant(estimates.SingleBlocksTwice),
    "normalised": Variant(estimates.Normalised),
    "derivatives cut at 1": Variant(estimates.Clipped),
    "derivatives cut at 0.3": Variant(estimates.ClippedEarly),
    "single blocks, normalised": Variant(estimates.NormalisedBlocks),
    "single blocks, normalised, twice the directions": Variant(estimates.NormalisedBlocksTwice),
    "learnt tensors": Variant(estimates.LearntTensors),
    "sparse, a tenth": Variant(estimates.Sparse),
    "sparse, a hundredth": Variant(estimates.SparseHundredth),
    "Hessian-informed": Variant(estimates.HessianInformed),
    "control variate": Variant(estimates.PublicAsControl),
    "public data alone": Variant(estimates.Public),
    "exact": Variant(estimates.Exact),
    "4 clients, own directions": Variant(estimates.OwnDirections, clients=4),
    "4 clients, common directions": Variant(estimates.Plain, clients=4),
}
_DIGITS_3, _QUICKSTART_6 = "digits, cut 3, zo-projection P=16", "quickstart, cut 6, zo-projection P=16"
_DIGITS_2 = "digits, cut 2, zo-projection P=16"
RATES: Mapping[str, Mapping[str, float]] = {
    "plain, slower": {_QUICKSTART_6: 0.5},
    "normalised": {_DIGITS_3: 3, _QUICKSTART_6: 3},
    "derivatives cut at 1": {_DIGITS_3: 3, _QUICKSTART_6: 3},
    "derivatives cut at 0.3": {_DIGITS_3: 3},
    "single blocks, normalised": {_DIGITS_3: 3, _QUICKSTART_6: 3},
    "single blocks, normalised, twice the directions": {_DIGITS_2: 3, _DIGITS_3: 3, _QUICKSTART_6: 3},
    "sparse, a tenth": {_DIGITS_3: 3},
    "sparse, a hundredth": {_DIGITS_3: 3},
    "public data alone": {_DIGITS_3: 3},
    "learnt tensors": {_DIGITS_3: 0.3},
}
"""By variant and setting, the multiple of the plain row's rate at which it runs, where that is not 1."""


@dataclass(frozen=True)
class Outcome:
    """Accuracy of one run."""

    setting: str
    variant: str
    multiple: float
    steps: int
    seed: int
    accuracy: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_study(parser)
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument("--variants", default=";".join(VARIANTS), help="some of them, divided by semicolons")
    parser.add_argument(
        "--tune", metavar="MULTIPLES", help="run these multiples of the rate, on two seeds of their own"
    )
    parser.add_argument("--out", type=Path, help="CSV file that keeps every run")
    arguments = parser.parse_args()
    study = study_of(arguments)
    known = pd.read_csv(arguments.out) if arguments.out is not None and arguments.out.exists() else pd.DataFrame()
    names = arguments.variants.split(";")
    for setting, row, cut in settings_of(study, arguments):
        if arguments.tune:
            rates = [float(multiple) for multiple in arguments.tune.split(",")]
            wanted = [(name, rate, seed) for name in names for rate in rates for seed in TUNING_SEEDS]
        else:
            seeds = [int(seed) for seed in arguments.seeds.split(",")]
            wanted = [(name, rate_of(name, setting), seed) for seed in seeds for name in (FROZEN, *names)]
        for name, rate, seed in wanted:
            which = {"setting": setting, "variant": name, "multiple": rate, "steps": study.steps, "seed": seed}
            if len(known) and (known[list(which)] == pd.Series(which)).all(axis=1).any():
                continue
            of_row = study.rows[0] if name == FROZEN else row
            accuracy = trained(study, of_row, VARIANTS.get(name), cut, seed, rate)
            outcome = Outcome(setting, name, rate, study.steps, seed, accuracy)
            known = pd.concat([known, pd.DataFrame([asdict(outcome)])], ignore_index=True)
            print(f"{setting}: {name}, {rate:g} times the rate, seed {seed}: {accuracy:.1%}", flush=True)
            if arguments.out is not None:
                known.to_csv(arguments.out, index=False)
        if not arguments.tune:
            forwards = {FROZEN: 1.0} | {name: forwards_of(study, row, VARIANTS[name], cut) for name in names}
            print("\n".join(table(known, setting, study.steps, forwards)), flush=True)


def rate_of(variant: str, setting: str) -> float:
    """Return the multiple of the plain row's rate that a variant runs at."""
    return RATES.get(variant, {}).get(setting, 1.0)


def table(known: pd.DataFrame, setting: str, steps: int, forwards: Mapping[str, float]) -> Iterator[str]:
    """One line a variant, as Markdown; differences are paired over seeds, with their standard error.

    Parameters
    ----------
    known
        All runs, one a row, as :class:`Outcome`.
    setting, steps
        Which of them.
    forwards
        Passes of a batch through the client part in a step, by variant.
    """
    yield f"\n{setting}, {steps} steps\n"
    yield "| directions | rate | accuracy, % | minus plain | minus frozen | seeds | forwards a step |"
    yield "|---|---|---|---|---|---|---|"
    here = known[(known["setting"] == setting) & (known["steps"] == steps) & ~known["seed"].isin(TUNING_SEEDS)]

    def of(name: str) -> pd.Series:
        at_rate = here[(here["variant"] == name) & (here["multiple"] == rate_of(name, setting))]
        return 100 * at_rate.set_index("seed")["accuracy"]

    for name, passes in forwards.items():
        values = of(name)
        diverged = int(values.isna().sum())
        label = f"{name} ({diverged} of {len(values)} diverged)" if diverged else name
        beside = " | ".join(_difference(values - of(other)) if other != name else "0" for other in ("plain", FROZEN))
        spread = f"{values.mean():.1f} ± {values.std():.1f}"
        yield f"| {label} | {rate_of(name, setting):g} | {spread} | {beside} | {values.count()} | {passes:.1f} |"


def _difference(values: pd.Series) -> str:
    values = values.dropna()
    return f"{values.mean():+.1f} ± {values.std() / len(values) ** 0.5:.1f}" if len(values) else "-"


if __name__ == "__main__":
    main()
