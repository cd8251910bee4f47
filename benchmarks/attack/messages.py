"""Every key of the built-in scenarios gets values that are wrong in many ways: the message names it, in plain words.

Wrong are keys of another variant of a section, misspelt keys, empty lists and mappings, dates, sets and bytes, units
that are none, numbers and texts far too long, and file names that cannot be.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from benchmarks.attack.tally import Tally, TookTooLongError, limited
from hybridsplit.scenarios.errors import HybridSplitError
from hybridsplit.scenarios.loader import builtin_names, builtin_text, load_scenario
from hybridsplit.scenarios.variants import models_at

VALUES = {
    "empty list": "[]",
    "empty mapping": "{}",
    "empty text": "''",
    "nothing": "null",
    "list in a list": "[[[]]]",
    "mapping": "{a: {b: 1}}",
    "date": "2021-02-03",
    "set": "!!set {a, b}",
    "bytes": "!!binary AP8=",
    "no unit": "1_ KiB",
    "negative": "-3",
    "not finite": ".nan",
    "400 digits": "9" * 400,
    "long text": "x" * 100_000,
    "long list": f"[{', '.join(['7'] * 5_000)}]",
    "no user": "'~nosuchuser/x'",
    "NUL": '"a\\0b"',
}
MOST_CHARACTERS = 2_000
"""Of a line: it names choices, of which there are dozens, and quotes at most some hundred characters of a value."""
_TECHNICAL = (
    "tuple", "Input should", "valid dictionary", "NoneType", "float()", "int()", "discriminator", "Traceback",
    "pydantic", "function-", "frozenset", "model_type_error",
)  # fmt: skip


def attack(scratch: Path, trials: int, seed: int) -> bool:
    """Give wrong values; return whether every message was one that a user can act on.

    Parameters
    ----------
    scratch
        Not used: nothing is written.
    trials
        Keys of each built-in scenario that get all the values.
    seed
        Chooses the keys.
    """
    chance, tally = random.Random(seed), Tally("messages")
    for name in builtin_names():
        cases = list(_cases(yaml.safe_load(builtin_text(name))))
        keys = sorted({key for key, _, _ in cases})
        chosen = set(chance.sample(keys, min(trials, len(keys))))
        for key, what, override in cases:
            if key in chosen:
                said = _said(name, override)
                faults = [] if said is None else list(faults_of(said, key))
                verdict = ", ".join(dict.fromkeys(faults)) or ("taken" if said is None else "refused in plain words")
                tally.add(verdict, f"{name}, {key}, {what}: {(said or '')[:300]}", bad=bool(faults))
    return tally.report()


def _cases(document: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield keys, what is done to them, and the override that does it."""
    for path in _paths(document):
        key = ".".join(path)
        for what, value in VALUES.items():
            yield key, what, f"{key}={value}"
        yield key, "misspelt", f"{key}x=1"
        yield key, "with a hyphen", f"{key.replace('_', '-')}-=1"
        here: Any = document
        for part in path:
            here = here[int(part)] if isinstance(here, list) else here[part]
        if isinstance(here, dict):
            fields = {field for model in models_at(path) for field in model.model_fields}
            for field in sorted(fields - set(here)):
                yield key, f"key {field} of another variant", f"{key}.{field}=1"


def _paths(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _paths(inner, (*path, str(key)))


def _said(name: str, override: str) -> str | None:
    """Return the message, or None where the scenario was taken."""
    try:
        with limited(20):
            load_scenario(name, [override])
    except HybridSplitError as error:
        return str(error)
    except TookTooLongError:
        return "Traceback: took too long"
    except Exception as error:
        return f"Traceback: {type(error).__name__}: {str(error)[:200]}"
    return None


def faults_of(said: str, key: str) -> Iterator[str]:
    """Yield what is wrong with a message about a key.

    Parameters
    ----------
    said
        The message, of one line or more.
    key
        The key path that was set; the message is to name it, or a part of it that is no number.
    """
    if said.startswith("Traceback"):
        yield "unexpected"
        return
    if any(given == meant for given, meant in re.findall(r"'([^']*)'[^']*did you mean '([^']*)'", said)):
        yield "advises what was given"
    if any(word in said for word in _TECHNICAL):
        yield "technical words"
    parts = [part for part in key.split(".") if not part.isdigit()]
    if not any(part in said for part in parts):
        yield "names no key"
    if any(len(line) > MOST_CHARACTERS for line in said.splitlines()) or "x" * 200 in said or "9" * 200 in said:
        yield "quotes at length"
