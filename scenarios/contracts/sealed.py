"""JSON documents that carry a digest of themselves, so that a reader tells an edit from damage.

The digest is taken over the values in canonical form (sorted keys, no spaces): a document that was only laid out anew
is still the one that was written. It proves no author, since anyone can take it again; whoever relies on figures checks
them as well (:mod:`hybridsplit.solver.verify`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic_core import from_json, to_json

from hybridsplit.scenarios.contracts.files import write_text_whole
from hybridsplit.scenarios.errors import AlteredError, ContractError

DIGEST = "digest"
WRITTEN_BY = "written_by"


@dataclass(frozen=True)
class Kind:
    """What a file holds.

    Parameters
    ----------
    what
        In words, such as ``a plan``.
    schema_version
        The version that is read.
    remedy
        What to do where it cannot be used.
    """

    what: str
    schema_version: int
    remedy: str


def package_version() -> str:
    """Return name and version of this package."""
    try:
        return f"hybridsplit {version('hybridsplit')}"
    except PackageNotFoundError:
        return "hybridsplit"


def digest_of(document: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a document in canonical form, its own digest left out."""
    facts = {key: value for key, value in document.items() if key != DIGEST}
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def sealed(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document with its writer and its digest."""
    written = {**document, WRITTEN_BY: package_version()}
    return {**written, DIGEST: digest_of(written)}


def sealed_text(document: Mapping[str, Any]) -> str:
    """Return the text of a sealed document."""
    # Python's own writer of indented JSON takes ten times as long, minutes for a hundred thousand clients.
    return to_json(sealed(document), indent=1).decode() + "\n"


def write_sealed(path: Path, document: Mapping[str, Any]) -> None:
    """Write a document with its writer and its digest, whole or not at all.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    write_text_whole(path, sealed_text(document))


def read_sealed(path: Path, kind: Kind) -> dict[str, Any]:
    """Read what :func:`write_sealed` wrote, without its writer and its digest.

    Parameters
    ----------
    path
        The file.
    kind
        What it must hold.

    Raises
    ------
    AlteredError
        If its values are not those that were written.
    ContractError
        If it is missing, damaged or of another schema version.
    """
    document = read_json(path, kind)
    found = document.get("schema_version")
    if found != kind.schema_version or isinstance(found, bool):
        raise ContractError(f"{path}: {another_version(document, kind)}: {kind.remedy}")
    stated, writer = document.get(DIGEST), document.get(WRITTEN_BY)
    facts = {key: value for key, value in document.items() if key not in (DIGEST, WRITTEN_BY)}
    if not isinstance(stated, str) or not isinstance(writer, str):
        missing = DIGEST if not isinstance(stated, str) else WRITTEN_BY
        raise AlteredError(f"{path}: its {missing} is missing, so it is not as it was written: {kind.remedy}", facts)
    if stated != digest_of(document):
        raise AlteredError(f"{path}: was changed after {writer[:40]} wrote it: {kind.remedy}", facts)
    return facts


def read_json(path: Path, kind: Kind) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    ContractError
        If the file is missing, cannot be read, or is not whole.
    """
    if not path.is_file():
        raise ContractError(f"{path}: no such file; needs {kind.what}: {kind.remedy}")
    try:
        document = from_json(path.read_bytes())
    except OSError as error:
        raise ContractError(f"{path}: cannot be read ({error.strerror}); needs {kind.what}") from error
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise ContractError(
            f"{path}: damaged or cut off: not JSON ({reason}); needs {kind.what}: {kind.remedy}"
        ) from error
    if not isinstance(document, dict):
        raise ContractError(f"{path}: found {type(document).__name__} as its content; needs {kind.what}: {kind.remedy}")
    return document


def another_version(document: Mapping[str, Any], kind: Kind) -> str:
    """Say which version wrote a document, and which one is needed."""
    found, writer = document.get("schema_version"), document.get(WRITTEN_BY)
    if isinstance(found, int) and not isinstance(found, bool):
        age = "an older" if found < kind.schema_version else "a newer"
        named = writer[:40] if isinstance(writer, str) else f"{age} hybridsplit"
        return f"found schema version {found}, written by {named}; needs version {kind.schema_version}"
    return f"found no schema version; needs {kind.what} of version {kind.schema_version}"


def check_scenario_inside(
    stated: Mapping[str, Any], stated_hash: str, resolved: Mapping[str, Any], content_hash: str, origin: str
) -> None:
    """Check that a plan carries the resolved scenario that its hash stands for.

    Parameters
    ----------
    stated, stated_hash
        What the plan carries.
    resolved, content_hash
        What loading that gives.
    origin
        Where the plan comes from, for messages.

    Raises
    ------
    ContractError
        If they differ; the message names the first place.
    """
    if stated != resolved:
        where = first_difference(stated, resolved)
        raise ContractError(f"{origin}: scenario.{where}: not as a resolved scenario has it; make the plan again")
    if stated_hash != content_hash:
        raise ContractError(
            f"{origin}: scenario_hash: found {stated_hash[:12]}, the scenario inside has {content_hash[:12]}; make the "
            "plan again"
        )


def first_difference(found: object, wanted: object) -> str:
    """Return the key path of the first difference between two documents; empty where they are not comparable."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in dict.fromkeys((*wanted, *found)):
            if key not in found or key not in wanted:
                return str(key)
            if found[key] != wanted[key]:
                rest = first_difference(found[key], wanted[key])
                return f"{key}.{rest}" if rest else str(key)
    if isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        for position, (one, other) in enumerate(zip(found, wanted, strict=True)):
            if one != other:
                rest = first_difference(one, other)
                return f"{position}.{rest}" if rest else str(position)
    return ""
