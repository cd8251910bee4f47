"""Mutations of scenarios, device files and recordings, each given by a seed, a kind and a number.

Mutations know the structure: values change into others that are near, of another type or hostile; keys are dropped,
misspelt, moved and taken from other variants of their section; text is cut, repeated and disordered.
"""

from __future__ import annotations

import datetime
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from hybridsplit.scenarios.devices import catalogue
from hybridsplit.scenarios.inference.accelerators import accelerator_catalogue
from hybridsplit.scenarios.inference.schema import InferenceScenario
from hybridsplit.scenarios.loader import builtin_names, builtin_text, load_task
from hybridsplit.scenarios.modes import MODES
from hybridsplit.scenarios.relays.schema import RelayScenario
from hybridsplit.scenarios.relays.task import has_relays
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.shown import shown
from hybridsplit.scenarios.variants import choices_of, models_at

Path = tuple[str | int, ...]

HOSTILE: tuple[Any, ...] = (
    None, True, False, "", " ", "null", "NA", 0, -1, 2**31, 2**63, 10**400, -(10**400), 1e-320, 1e308, 0.5,
    float("nan"), float("inf"), "1_ KiB", "5 MHz", "5 MiB", "5 Mbit/s", "-3 MiB", "0 B", "1e400 B", "x" * 100_000,
    "\0", "\u00e9\u202e", "~nosuchuser/x", "../../nowhere", "/dev/null", "a\nb", [], [[]], [None], {}, {"": 1},
    {"a": {"b": [1, {"c": None}]}}, [{"a": 1}] * 3, {1: 2}, datetime.date(2021, 2, 3), b"\x00\xff", {1, 2}, [0] * 1000,
)  # fmt: skip
FACTORS = (-1, 0, 0.001, 0.1, 0.5, 0.99, 1.01, 2, 3, 10)
MOST_SCALED = 4_000
"""Larger whole numbers are not scaled up: a hundred thousand clients are slow to plan, and no fault."""
NUMBERS = (
    "nan",
    "inf",
    "-1",
    "0",
    "1e-320",
    "1e308",
    "1000",
    "1500000000000",
    "9" * 400,
    "0x10",
    "1_0",
    "",
    "1,5",
    "١",
)
TEXT_KINDS = 8


@dataclass(frozen=True)
class Case:
    """What is tried.

    Parameters
    ----------
    target
        ``scenario``, ``device`` or ``trace``; ``apps`` for a scenario of an inference task, ``relays`` for one of a
        model that is cut several times.
    text
        Content of the file.
    steps
        What was done to the original, in words.
    """

    target: str
    text: str
    steps: tuple[str, ...]


def make_case(seed: int, kind: str, number: int) -> Case:
    """Return a case: the same for the same seed, kind (``load`` or ``plan``) and number."""
    draw = random.Random(f"{seed}:{kind}:{number}")
    if kind == "plan":
        name = draw.choices(builtin_names(), [12, 4, 2, 1])[0]
        if draw.random() < 0.2:
            return draw.choice((_apps, _relays))(draw, hostile=0.1, in_text=0.0)
        return _scenario(draw, name, hostile=0.1, in_text=0.0)
    target = draw.choices(["scenario", "device", "trace", "apps", "relays"], [14, 3, 3, 5, 5])[0]
    if target in ("apps", "relays"):
        return (_apps if target == "apps" else _relays)(draw, hostile=0.4, in_text=0.2)
    if target == "scenario":
        return _scenario(draw, draw.choice(builtin_names()), hostile=0.4, in_text=0.2)
    return _device(draw) if target == "device" else _trace(draw)


def _scenario(draw: random.Random, name: str, *, hostile: float, in_text: float) -> Case:
    return _mutated(draw, "scenario", yaml.safe_load(builtin_text(name)), name, hostile=hostile, in_text=in_text)


def _apps(draw: random.Random, *, hostile: float, in_text: float) -> Case:
    """Mutate an inference task: as it ships, or with its networks and an accelerator written out."""
    document = yaml.safe_load(builtin_text("wearables"))
    if draw.random() < 0.5:
        document = load_task("wearables").resolved()
        kind = draw.choice(sorted(accelerator_catalogue()))
        document["devices"] = {"own": accelerator_catalogue()[kind].model_dump(mode="json", exclude_none=True)}
        document["accelerators"][0]["device"] = "own"
    return _mutated(draw, "apps", document, "wearables", hostile=hostile, in_text=in_text)


def _relays(draw: random.Random, *, hostile: float, in_text: float) -> Case:
    """Mutate a model that is cut several times: as it ships, or with all defaults written out; its model is small."""
    document = yaml.safe_load(builtin_text("factory"))
    if draw.random() < 0.5:
        document = load_task("factory").resolved()
    document["model"]["config"]["num_hidden_layers"] = 2
    return _mutated(draw, "relays", document, "factory", hostile=hostile, in_text=in_text)


def _device(draw: random.Random) -> Case:
    names = draw.sample(sorted(catalogue()), 2)
    devices = {f"own-{name}": catalogue()[name].model_dump(mode="json", exclude_none=True) for name in names}
    document = {"schema_version": 1, "devices": devices}
    return _mutated(draw, "device", document, "device file", hostile=0.5, in_text=0.3)


def _mutated(
    draw: random.Random, target: str, document: dict[str, Any], name: str, *, hostile: float, in_text: float
) -> Case:
    steps = [name, *(_mutate(draw, document, hostile) for _ in range(draw.choice((1, 1, 1, 2, 3))))]
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    if draw.random() < in_text:
        text, step = _disorder(draw, text)
        steps.append(step)
    return Case(target, text, tuple(steps))


def _mutate(draw: random.Random, document: dict[str, Any], hostile: float) -> str:
    paths = [path for path in _paths(document) if path]
    path = draw.choice(paths)
    holder, key = _at(document, path[:-1]), path[-1]
    value, where = holder[key], ".".join(map(str, path))
    if draw.random() < hostile:
        holder[key] = draw.choice(HOSTILE)
        return f"{where} became {shown(holder[key])} ({type(holder[key]).__name__})"
    changes: list[Callable[[], str]] = [lambda: _near(draw, holder, key), lambda: _near(draw, holder, key)]
    if isinstance(holder, dict):
        changes += [
            lambda: _drop(holder, key),
            lambda: _misspell(draw, holder, key),
            lambda: _variant(draw, document, path),
        ]
    if isinstance(holder, list):
        changes += [lambda: _repeat(draw, holder, int(key))]
    if isinstance(value, (dict, list)):
        changes = [*changes[2:], lambda: _swap(draw, document, paths, holder, key)]
    return f"{where}: {draw.choice(changes)()}"


def _near(draw: random.Random, holder: Any, key: Any) -> str:
    value = holder[key]
    if isinstance(value, bool):
        holder[key] = not value
    elif isinstance(value, int) and value.bit_length() > 64:
        holder[key] = value // 10
    elif isinstance(value, (int, float)):
        factor = draw.choice([f for f in FACTORS if abs(value) <= MOST_SCALED or f <= 1])
        changed = value * factor
        holder[key] = round(changed) if isinstance(value, int) and draw.random() < 0.9 else changed
    elif isinstance(value, str) and value[:1].isdigit():
        number, _, unit = value.partition(" ")
        scaled = f"{float(number) * draw.choice(FACTORS):g}" if number.isdecimal() else f"{number}0"
        holder[key] = f"{scaled} {draw.choice([unit, unit, unit.lower(), 'GB', ''])}"
    elif isinstance(value, str):
        words = [
            *catalogue(),
            *MODES,
            "iid",
            "dirichlet",
            "sgd",
            "adamw",
            "bert",
            "vit",
            "opt",
            "shannon",
            value[:-1],
            value * 2,
        ]
        holder[key] = draw.choice(words)
    else:
        holder[key] = draw.choice([None, 1, "x", {}, []])
    return f"{shown(value)} became {shown(holder[key])}"


def _drop(holder: dict[Any, Any], key: Any) -> str:
    del holder[key]
    return "dropped"


def _misspell(draw: random.Random, holder: dict[Any, Any], key: Any) -> str:
    letters = list(str(key))
    place = draw.randrange(len(letters)) if letters else 0
    changed = "".join(letters[:place] + draw.choice([[], ["x"], letters[place : place + 1] * 2]) + letters[place + 1 :])
    holder[changed] = holder.pop(key)
    return f"key became {changed!r}"


def _variant(draw: random.Random, document: dict[str, Any], path: Path) -> str:
    """Choose another variant of a section, or take a key of one."""
    root = InferenceScenario if "task" in document else RelayScenario if has_relays(document) else Scenario
    members = models_at([str(part) for part in path[:-1]], root)
    if not members:
        return "left as it is"
    holder = _at(document, path[:-1])
    name, value = choices_of(members)[draw.randrange(len(members))]
    if name is not None and "." not in name and draw.random() < 0.5:
        holder[name] = value
        return f"{name} became {value!r}"
    field = draw.choice(list(draw.choice(members).model_fields))
    holder[field] = draw.choice([1, 2, 0.5, "x", [1], ["fo"], {}, "1 MiB", True])
    return f"{field} became {holder[field]!r}"


def _repeat(draw: random.Random, holder: list[Any], index: int) -> str:
    what = draw.choice(("repeated", "dropped", "shuffled"))
    if what == "repeated":
        holder.append(holder[index])
    elif what == "dropped":
        del holder[index]
    else:
        draw.shuffle(holder)
    return what


def _swap(draw: random.Random, document: Any, paths: list[Path], holder: Any, key: Any) -> str:
    other = draw.choice(paths)
    holder[key] = json.loads(json.dumps(_at(document, other), default=str))
    return f"became a copy of {'.'.join(map(str, other))}"


def _paths(value: Any, path: Path = ()) -> Iterator[Path]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        if len(path) < 12:
            yield from _paths(inner, (*path, key))


def _at(value: Any, path: Path) -> Any:
    for part in path:
        value = value[part]
    return value


def _disorder(draw: random.Random, text: str) -> tuple[str, str]:
    lines = text.splitlines(keepends=True) or [""]
    place = draw.randrange(len(lines))
    kind = draw.randrange(TEXT_KINDS)
    if kind == 0:
        del lines[place]
    elif kind == 1:
        lines.insert(place, lines[draw.randrange(len(lines))])
    elif kind == 2:
        lines[place] = " " * draw.randrange(1, 5) + lines[place]
    elif kind == 3:
        lines[place] = lines[place].replace(":", draw.choice(["", ": &a", ": *a", ": !!set", ": |", "::", ":\t"]), 1)
    elif kind == 4:
        lines.insert(place, "".join(f"z{n}: &z{n} [{', '.join([f'*z{n - 1}' if n else 'z'] * 9)}]\n" for n in range(9)))
    elif kind == 5:
        lines[place] = draw.choice("[{\"'&*!|>%@`") * draw.choice((1, 100, 5000)) + lines[place]
    elif kind == 6:
        return "".join(lines)[: draw.randrange(len(text) + 1)], "cut"
    else:
        symbol = draw.choice(["\0", "\ufeff", "\u2028", "\x85", "\x7f", "\ud7ff", "١"])
        lines[place] = symbol + lines[place]
    return "".join(lines), f"text mutation {kind} at line {place + 1}"


def _as_recorded(draw: random.Random, words: list[list[str]]) -> str:
    """Write samples in one of the formats of recordings."""
    form = draw.choice(["list", "iperf3", "columns", "columns", "packets", "lines", "lines"])
    if form == "list":
        items = [f'{{"duration_ms": {a or "null"}, "bandwidth_kbps": {b or "null"}}}' for a, b in words]
        return "[" + ", ".join(items) + "]"
    if form == "iperf3":
        sums = [f'{{"sum": {{"start": {a or "null"}, "end": 99, "bytes": {b or "null"}}}}}' for a, b in words]
        return '{"start": {"test_start": {"protocol": "TCP"}}, "intervals": [' + ", ".join(sums) + "]}"
    if form == "columns":
        header = draw.choice(["time_s,dl_mbps", "Timestamp,DL_bitrate", "time_ms,cqi_table1", "t (s),rtt_ms", "a,b"])
        return header + "\n" + "".join(f"{a},{b}\n" for a, b in words)
    if form == "packets":
        return "".join(f"{a}\n" for a, _ in words for _ in range(3))
    return "".join(draw.choice(["\t", "\t", " ", ","]).join(pair) + "\n" for pair in words)


def _trace(draw: random.Random) -> Case:
    step, rate = draw.choice([0.2, 1, 1, 1000]), draw.choice([1, 10, 1000])
    rows = [(round(index * step, 3), round(draw.uniform(0, 20) * rate, 2)) for index in range(draw.choice([1, 2, 40]))]
    words = [[str(stamp), str(value)] for stamp, value in rows]
    steps = [f"{len(rows)} samples, step {step}, rate {rate}"]
    for _ in range(draw.choice((0, 1, 1, 2))):
        row, column = draw.randrange(len(words)), draw.randrange(2)
        words[row][column] = draw.choice(NUMBERS)
        steps.append(f"sample {row + 1}: {words[row][column][:20]!r}")
    text = _as_recorded(draw, words)
    if draw.random() < 0.3:
        text, what = _disorder(draw, text)
        steps.append(what)
    return Case("trace", text, tuple(steps))
