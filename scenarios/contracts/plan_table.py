"""The clients of a large plan as columns: a Parquet file beside a small ``plan.json``, which holds its digest.

A hundred thousand clients are a hundred megabytes of JSON and a few of columns, since alike clients repeat their
figures. A column is a field of :class:`hybridsplit.scenarios.contracts.plan.ClientPlan`; what is by phase has a column
a phase, such as ``phases_s.uplink``, empty where the client has no such phase.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hybridsplit.scenarios.contracts.alike import alike
from hybridsplit.scenarios.contracts.client_plan import for_alike_clients
from hybridsplit.scenarios.contracts.ladder import ladder_text
from hybridsplit.scenarios.contracts.manifest import FileFacts
from hybridsplit.scenarios.contracts.parquet import read_parquet, write_parquet
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.errors import AlteredError, ContractError

if TYPE_CHECKING:
    from hybridsplit.scenarios.contracts.plan import ClientPlan

PLAN_CLIENTS_SCHEMA_VERSION = 4
_KIND = "clients of a plan"
_BY_PHASE = ("phases_s", "waiting_s")
_LEVELS = "levels"
"""The one column of text that stands for values of its own: a ladder's levels."""
_REMEDY = "make the plan again"


def table_beside(plan_file: Path) -> Path:
    """Return where the clients of a large plan are: ``plan.clients.parquet`` beside ``plan.json``."""
    return plan_file.with_name(f"{plan_file.stem}.clients.parquet")


def write_clients(clients: Sequence[ClientPlan], path: Path) -> dict[str, Any]:
    """Write clients as columns; return what stands for them in ``plan.json``: file, number and digest.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    fields = list(type(clients[0]).model_fields)
    kinds, kind = _kinds(clients, itemgetter(*(name for name in fields if name != "id")))
    columns: dict[str, Any] = {}
    for name, values in zip((name for name in fields if name != "id"), zip(*kinds, strict=True), strict=True):
        if name in _BY_PHASE:
            columns |= _by_phase(name, values)
        else:
            columns[name] = _column([ladder_text(one) for one in values] if name == _LEVELS else list(values))
    frame = pd.DataFrame(columns).take(kind)
    frame.index = pd.RangeIndex(len(frame))
    frame.insert(fields.index("id"), "id", [client.id for client in clients])
    write_parquet(frame, path, _KIND, PLAN_CLIENTS_SCHEMA_VERSION)
    return {"file": path.name, "number": len(clients), "sha256": FileFacts.of(path).sha256}


def _kinds(
    clients: Sequence[ClientPlan], facts_of: Callable[[Mapping[str, Any]], tuple[Any, ...]]
) -> tuple[list[tuple[Any, ...]], list[int]]:
    """Return the facts of every kind of clients, and the kind of every client; of a kind are those that share them."""
    kinds: list[tuple[Any, ...]] = []
    number: dict[tuple[int, ...], int] = {}
    kind: list[int] = []
    latest = 0
    last: tuple[Any, ...] = ()
    for client in clients:
        facts = facts_of(vars(client))
        # Compared by identity first, so that clients of one kind in a row take no time.
        if facts != last or not kind:
            shared = tuple(map(id, facts))
            if shared not in number:
                number[shared] = len(kinds)
                kinds.append(facts)
            latest, last = number[shared], facts
        kind.append(latest)
    return kinds, kind


def _by_phase(name: str, values: Sequence[Mapping[Phase, float]]) -> dict[str, Any]:
    """Return a column for every phase that some client has; alike clients share what is read once."""
    once = {id(one): one for one in values}
    place = {known: number for number, known in enumerate(once)}
    of_each = np.array([place[id(one)] for one in values])
    seconds = {phase: np.array([one.get(phase, np.nan) for one in once.values()]) for phase in Phase}
    return {f"{name}.{phase}": found[of_each] for phase, found in seconds.items() if not np.isnan(found).all()}


def _column(values: list[Any]) -> Any:
    """[N] values as a column; what is unknown of a number is NaN there."""
    if isinstance(values[0], str):
        return pd.Categorical(values)
    return [np.nan if value is None else value for value in values]


def read_clients(
    stated: Mapping[str, Any], plan_file: Path, facts: Mapping[str, Any], validate: Callable[[Any], ClientPlan]
) -> tuple[ClientPlan, ...]:
    """Read what :func:`write_clients` wrote.

    Parameters
    ----------
    stated
        What it returned.
    plan_file
        The ``plan.json`` that the file stands beside.
    facts
        The rest of the plan.
    validate
        Makes a client of a document.

    Raises
    ------
    AlteredError
        If the file is a table, and not the one that was written.
    ContractError
        If it is missing or damaged, or holds no clients.
    pydantic.ValidationError
        If a client is none.
    """
    name = stated.get("file")
    if set(stated) != {"file", "number", "sha256"} or not isinstance(name, str) or Path(name).name != name:
        raise ContractError(f"{plan_file}: clients: needs a list, or file, number and sha256 of a table; {_REMEDY}")
    path = plan_file.with_name(name)
    if not path.is_file():
        raise ContractError(
            f"{path}: no such file; {plan_file.name} keeps its {stated['number']} clients in it: keep both in one "
            f"folder, or {_REMEDY}"
        )
    frame = read_parquet(path, _KIND, PLAN_CLIENTS_SCHEMA_VERSION)
    if FileFacts.of(path).sha256 != stated["sha256"]:
        raise AlteredError(
            f"{path}: was changed after it was written: {_REMEDY}", {**facts, "clients": _documents(frame)}
        )
    if len(frame) != stated["number"] or not len(frame) or "id" not in frame or len(frame.columns) < 2:
        raise ContractError(f"{path}: found {len(frame)} clients; needs {stated['number']}, by id: {_REMEDY}")
    first, kind = alike(_numbers(frame[name], path) for name in frame.columns if name != "id")
    made = [validate(document) for document in _documents(frame.iloc[first])]
    ids = frame["id"].tolist()
    if not all(isinstance(one, str) for one in ids):
        raise ContractError(f"{path}: id: needs text; {_REMEDY}")
    return tuple(for_alike_clients(made, kind.tolist(), ids))


def _numbers(column: pd.Series, path: Path) -> NDArray[Any]:
    """[N] the values of a column, text as numbers that tell it apart."""
    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy()
    if not isinstance(column.dtype, pd.CategoricalDtype):
        raise ContractError(f"{path}: {column.name}: needs numbers, or text that repeats; {_REMEDY}")
    return column.cat.codes.to_numpy()


def _documents(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return clients as they stand in a small plan."""
    documents: list[dict[str, Any]] = []
    for row in frame.to_dict("records"):
        document: dict[str, Any] = {name: {} for name in _BY_PHASE}
        for column, value in row.items():
            field, _, phase = str(column).partition(".")
            if field == _LEVELS:
                document[field] = json.loads(value)
            elif not phase:
                document[field] = None if isinstance(value, float) and np.isnan(value) else value
            elif not np.isnan(value):
                document.setdefault(field, {})[phase] = value
        documents.append(document)
    return documents
