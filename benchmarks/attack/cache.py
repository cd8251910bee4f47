"""Alter and damage kept profiles: a plan must be that of an empty cache."""

from __future__ import annotations

import json
import os
import random
import stat
from pathlib import Path
from typing import Any

from benchmarks.attack.alterations import of_bytes, of_json
from benchmarks.attack.tally import Tally, call

_TIMES = ("solve_s", "compile_s", "digest")


def attack(scratch: Path, trials: int, seed: int) -> bool:
    """Alter kept profiles; return whether none was believed, and nothing ended unexpectedly or hung.

    Parameters
    ----------
    scratch
        A folder to work in.
    trials
        Alterations.
    seed
        Of what is altered.
    """
    chance, tally = random.Random(seed), Tally("cache")
    folder = Path(os.environ["HYBRIDSPLIT_CACHE"]) / "profiles"
    wanted = _plan()
    (entry,) = folder.iterdir()
    content = entry.read_bytes()
    values = list(of_json(content.decode(), seal=False))
    for one in [*of_bytes(content, chance, trials // 4), *chance.sample(values, min(trials, len(values)))]:
        entry.write_bytes(one.content)
        said = call("plan", "quickstart", "--json")
        if said is None:
            tally.add("hangs", one.what, bad=True)
        elif said.is_unexpected or said.exit_code:
            tally.add("unexpected errors", f"{one.what}: {said.stderr[-300:]}", bad=True)
        elif _figures(said.stdout) != wanted:
            tally.add("believed", one.what, bad=True)
        else:
            tally.add("dropped and made again", one.what, bad=False)
    for path in (folder, *folder.iterdir()):
        is_open = bool(stat.S_IMODE(path.stat().st_mode) & 0o077)
        tally.add("open to others" if is_open else "private", str(path), bad=is_open)
    return tally.report()


def _plan() -> Any:
    said = call("plan", "quickstart", "--json")
    assert said is not None
    assert said.exit_code == 0, said.stderr
    return _figures(said.stdout)


def _figures(text: str) -> Any:
    return {key: value for key, value in json.loads(text).items() if key not in _TIMES}
