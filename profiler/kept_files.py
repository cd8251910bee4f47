"""Files kept between runs: private to their user, sealed, and dropped with a word where they are not as written."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from hybridsplit.scenarios.contracts.files import write_whole
from hybridsplit.scenarios.contracts.sealed import Kind, read_sealed, sealed_text
from hybridsplit.scenarios.errors import ContractError, Notice

_NOT_AS_WRITTEN = (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError, RecursionError)

Value = TypeVar("Value")


def keep(path: Path, key: str, document: Mapping[str, Any]) -> None:
    """Write a document for its user alone, under the key that it belongs to.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    text = sealed_text({"key": key, **document})

    def write(partial: Path) -> None:
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)

    write_whole(path, write)


def kept(path: Path, key: str, kind: Kind, value_of: Callable[[dict[str, Any]], Value]) -> Value | None:
    """Return what a kept file holds; None where there is none, or it was dropped since it is not as it was written.

    Parameters
    ----------
    path, key
        The file, and the key that it must belong to.
    kind
        What it must hold; ``remedy`` says what becomes of it.
    value_of
        Makes the value from its document; what it raises is damage too.
    """
    try:
        if not path.exists():
            return None
        return value_of(_document_of(path, key, kind))
    except _NOT_AS_WRITTEN as error:
        said = str(error) if isinstance(error, ContractError) else f"{path}: damaged ({error}): {kind.remedy}"
        warnings.warn(Notice(said), stacklevel=2)
        _drop(path)
        return None


def _document_of(path: Path, key: str, kind: Kind) -> dict[str, Any]:
    if hasattr(os, "getuid") and path.stat().st_uid != os.getuid():
        raise ContractError(f"{path}: belongs to another user: {kind.remedy}")
    document = read_sealed(path, kind)
    if document.pop("key", None) != key:
        raise ContractError(f"{path}: was written under another name: {kind.remedy}")
    return document


def _drop(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        # Another one takes its place as soon as it is written.
        return
