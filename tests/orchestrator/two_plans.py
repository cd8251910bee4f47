"""Two plans of quickstart and a folder of recordings, which replays are tried on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from hybridsplit.orchestrator.cli import app


def done(*arguments: str, code: int = 0) -> str:
    """Return what a command prints, or the errors of one that is to fail."""
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, f"{result.stdout}\n{result.stderr}\n{result.exception!r}"
    return result.stdout if code == 0 else result.stderr


def two_plans(folder: Path, *strategies: str) -> Path:
    """Fill a folder with a plan of every strategy, and recordings of links; return it."""
    (folder / "traces").mkdir()
    generator = np.random.default_rng(5)
    for name in "abcdefg":
        rates = np.clip(generator.normal(9, 4, 400), 0, None)
        text = "time_s,dl_mbps,ul_mbps\n" + "".join(f"{t},{rate},{rate / 2}\n" for t, rate in enumerate(rates))
        (folder / "traces" / f"{name}.csv").write_text(text, encoding="utf-8")
    for strategy in strategies:
        done("plan", "quickstart", "--strategy", strategy, "--out", str(folder / f"{strategy}.json"))
    return folder
