"""The manifest of a folder: size and SHA-256 of its files, so that readers see what is not as it was written.

It lists the files of its folder that are complete. A file is taken from the list before it is written anew and listed
again afterwards: after a kill in between it counts as not written, never as altered.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self

from pydantic import TypeAdapter, ValidationError

from hybridsplit.scenarios.contracts.sealed import Kind, read_sealed, write_sealed
from hybridsplit.scenarios.errors import AlteredError, ContractError

MANIFEST_SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
_KIND = Kind("the manifest of a run folder", MANIFEST_SCHEMA_VERSION, "run again into another folder (--out)")
_PARQUET_MARK = b"PAR1"


@dataclass(frozen=True)
class FileFacts:
    """Size and digest of a file."""

    bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> Self:
        """Return those of a file.

        Raises
        ------
        OSError
            If it cannot be read.
        """
        with path.open("rb") as handle:
            return cls(path.stat().st_size, hashlib.file_digest(handle, "sha256").hexdigest())


@cache
def _files() -> TypeAdapter[dict[str, FileFacts]]:
    return TypeAdapter(dict[str, FileFacts])


@dataclass(frozen=True)
class Manifest:
    """What a folder holds.

    Parameters
    ----------
    folder
        The folder.
    files
        Size and digest by name.
    """

    folder: Path
    files: Mapping[str, FileFacts]

    @classmethod
    def write(cls, folder: Path, names: Iterable[str]) -> None:
        """List those of some files that exist, and no others.

        Raises
        ------
        OSError
            If a file cannot be read, or the manifest not be written.
        """
        facts = {name: FileFacts.of(folder / name) for name in names if (folder / name).is_file()}
        document = {"schema_version": MANIFEST_SCHEMA_VERSION, "files": {n: vars(f) for n, f in facts.items()}}
        write_sealed(folder / MANIFEST, document)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read a folder's manifest.

        Raises
        ------
        ContractError
            If it is missing, damaged, altered or of another schema version.
        """
        document = read_sealed(folder / MANIFEST, _KIND)
        try:
            files = _files().validate_json(json.dumps(document.get("files")), strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(["files", *map(str, first["loc"])])
            raise ContractError(f"{folder / MANIFEST}: {where}: {first['msg']}; {_KIND.remedy}") from error
        if strangers := [name for name in files if Path(name).name != name]:
            raise ContractError(f"{folder / MANIFEST}: files.{strangers[0]}: is no name of a file here; {_KIND.remedy}")
        return cls(folder, files)

    def check(self, names: Iterable[str]) -> None:
        """See that some of the listed files are as they were written.

        Raises
        ------
        AlteredError
            If one is whole, with other content.
        ContractError
            If one is missing or damaged.
        """
        for name in names:
            self._check(self.folder / name, self.files[name])

    def _check(self, path: Path, facts: FileFacts) -> None:
        if not path.is_file():
            raise ContractError(f"{path}: is missing, and the manifest of the run lists it; {_KIND.remedy}")
        try:
            found = FileFacts.of(path)
        except OSError as error:
            raise ContractError(f"{path}: cannot be read ({error.strerror}); make it readable") from error
        if found == facts:
            return
        sizes = f"{found.bytes:,} bytes, {facts.bytes:,} were written"
        if _is_whole(path):
            raise AlteredError(f"{path}: was changed after the run wrote it ({sizes}); {_KIND.remedy}")
        raise ContractError(f"{path}: is damaged or cut off ({sizes}); {_KIND.remedy}")


def _is_whole(path: Path) -> bool:
    """Say whether a file could be one that somebody wrote: JSON that parses, a table with both ends, any text."""
    content = path.read_bytes()
    if path.suffix == ".parquet":
        return content[:4] == content[-4:] == _PARQUET_MARK
    try:
        text = content.decode()
        return path.suffix != ".json" or json.loads(text) is not None
    except (ValueError, RecursionError):
        return False
