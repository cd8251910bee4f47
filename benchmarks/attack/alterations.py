"""Ways to alter a file: bytes of any, values of JSON documents, cells of tables."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from hybridsplit.scenarios.contracts.sealed import DIGEST, WRITTEN_BY, sealed


@dataclass(frozen=True)
class Alteration:
    """One way to alter a file.

    Parameters
    ----------
    what
        In words.
    key
        Key path of the value that changes; empty where bytes do.
    content
        Bytes of the altered file.
    """

    what: str
    key: tuple[str | int, ...]
    content: bytes


def of_bytes(content: bytes, chance: random.Random, number: int) -> Iterator[Alteration]:
    """Yield flipped bits, cut ends, and an empty file."""
    yield Alteration("emptied", (), b"")
    yield Alteration("cut in the middle", (), content[: len(content) // 2])
    yield Alteration("its last byte cut off", (), content[:-1].rstrip(b"\n}"))
    yield Alteration("zeros", (), bytes(len(content)))
    for _ in range(number):
        at, bit = chance.randrange(len(content)), chance.randrange(8)
        flipped = bytearray(content)
        flipped[at] ^= 1 << bit
        yield Alteration(f"bit {bit} of byte {at} flipped", (), bytes(flipped))


def of_json(text: str, *, seal: bool) -> Iterator[Alteration]:
    """Yield a document with one value changed, removed or added.

    Parameters
    ----------
    text
        The document.
    seal
        Whether its digest is taken again, as somebody would who knows how.
    """
    document = json.loads(text)
    paths = [path for path in _paths(document) if path[0] not in (DIGEST, WRITTEN_BY)] if seal else _paths(document)
    for path in paths:
        for what, change in _changes(path, _value(document, path)):
            altered = copy.deepcopy(document)
            change(altered)
            if altered != document:
                written = sealed({k: v for k, v in altered.items() if k != DIGEST}) if seal else altered
                key = ".".join(map(str, path))
                yield Alteration(f"{key}: {what}", path, json.dumps(written, indent=1).encode())


def of_table(path: Path, chance: random.Random, number: int) -> Iterator[Alteration]:
    """Yield a table with one cell changed, or without its last row, stamped as before."""
    stamp = pq.read_schema(path).metadata
    frame = pq.read_table(path).to_pandas()
    yield Alteration("its last row removed", (), _table_bytes(frame.iloc[:-1], stamp))
    yield Alteration("its first row twice", (), _table_bytes(pd.concat([frame.iloc[:1], frame]), stamp))
    for column in frame.columns:
        yield Alteration(f"{column}: removed", (column,), _table_bytes(frame.drop(columns=column), stamp))
    for _ in range(number):
        row, column = chance.randrange(len(frame)), chance.choice(list(frame.columns))
        altered = frame.copy()
        value = altered[column].iloc[row]
        at = altered.columns.get_loc(column)
        is_switch = frame[column].dtype == bool
        altered.iloc[row, at] = f"{value}x" if isinstance(value, str) else not value if is_switch else value * 2 + 1
        if not altered.equals(frame):
            yield Alteration(f"{column} of row {row}", (column, row), _table_bytes(altered, stamp))


def _table_bytes(frame: pd.DataFrame, stamp: dict[bytes, bytes]) -> bytes:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    ours = {key: value for key, value in stamp.items() if key.startswith(b"hybridsplit.")}
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata({**(table.schema.metadata or {}), **ours}), sink)
    return bytes(sink.getvalue().to_pybytes())


def _paths(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield (*path, key)
        yield from _paths(one, (*path, key))


def _value(document: Any, path: tuple[str | int, ...]) -> Any:
    for key in path:
        document = document[key]
    return document


def _changes(path: tuple[str | int, ...], value: Any) -> Iterator[tuple[str, Callable[[Any], None]]]:
    def put(new: Any) -> Callable[[Any], None]:
        return lambda document: _value(document, path[:-1]).__setitem__(path[-1], new)

    def without(document: Any) -> None:
        del _value(document, path[:-1])[path[-1]]

    yield "removed", without
    yield "null", put(None)
    match value:
        case bool():
            yield "the opposite", put(not value)
        case int() | float():
            for new in (value * 2 + 1, -value - 1, 0, 10**400 if isinstance(value, int) else 1e308, value / 3):
                yield f"{new:.6g}" if abs(new) < 1e300 else "huge", put(new)
            yield "text", put(str(value))
        case str():
            yield "another word", put(f"{value}x")
            yield "empty", put("")
        case list():
            yield "empty", put([])
            yield "its first entry twice", put([*value[:1], *value])
            yield "reversed", put(value[::-1])
        case dict():
            yield "an unknown key", put({**value, "unknown": 1})
            yield "a list", put([value])
