"""Files with the constants of pilot runs: written by ``hybridsplit pilot``, named under ``objective.pilot_file``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hybridsplit.scenarios.contracts.sealed import Kind, read_sealed, write_sealed
from hybridsplit.scenarios.device_files import located
from hybridsplit.scenarios.errors import AlteredError, ContractError, ScenarioError
from hybridsplit.scenarios.sections.pilot import PilotConstants
from hybridsplit.scenarios.shown import shown

PILOT_SCHEMA_VERSION = 2
"""1 had constants of another formula, with rounds divided and not multiplied."""
_KIND = Kind("constants that 'hybridsplit pilot --out' wrote", PILOT_SCHEMA_VERSION, "run 'hybridsplit pilot' again")


def write_pilot_file(path: Path, constants: PilotConstants, runs: list[dict[str, Any]]) -> None:
    """Write constants and the pilots they were fitted to, whole or not at all.

    Parameters
    ----------
    path
        Where to.
    constants
        The constants.
    runs
        What every pilot did and reached; for people, nothing is computed from it again.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    body = {"constants": constants.model_dump(mode="json"), "runs": runs}
    write_sealed(path, {"schema_version": PILOT_SCHEMA_VERSION, **body})


def read_pilot_file(path: Path, where: str) -> dict[str, Any]:
    """Return the constants of a file, checked, as plain values.

    Parameters
    ----------
    path
        The file.
    where
        Key path that names it, for messages.

    Raises
    ------
    ScenarioError
        If it is absent, damaged, changed or of another version; the message names file and key.
    """
    if not path.is_file():
        raise ScenarioError(
            f"{where}: no such file {shown(str(path), 200)}; write it with 'hybridsplit pilot SCENARIO --out FILE', or "
            "give a path relative to the scenario file"
        )
    try:
        document = read_sealed(path, _KIND)
        constants = PilotConstants.model_validate_json(json.dumps(document.get("constants")))
    except (ContractError, AlteredError) as error:
        raise ScenarioError(f"{where}: {error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(["constants", *(str(part) for part in first["loc"])])
        raise ScenarioError(f"{where}: {path}: {key}: {first['msg']}; found {shown(first['input'])}") from error
    return constants.model_dump(mode="json")


def with_pilot_file(document: Mapping[str, Any], folder: Path, origin: str) -> dict[str, Any]:
    """Return a scenario document whose pilot file is read into ``objective.pilot``.

    Parameters
    ----------
    document
        Plain values of a scenario.
    folder
        Folder that relative file names start from.
    origin
        Name of the document in messages.

    Raises
    ------
    ScenarioError
        If the file is wrong, or constants are stated as well.
    """
    objective = document.get("objective")
    name = objective.get("pilot_file") if isinstance(objective, dict) else None
    if not isinstance(objective, dict) or not isinstance(name, str):
        return dict(document)
    where = f"{origin}: objective.pilot_file"
    if objective.get("pilot") is not None:
        raise ScenarioError(f"{where}: found beside objective.pilot; needs one source of constants: remove either key")
    constants = read_pilot_file(located(name, folder, where), where)
    # Read in, they are part of the scenario: a plan made from it needs no file.
    return {**document, "objective": {**objective, "pilot": constants, "pilot_file": None}}
