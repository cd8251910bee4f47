"""Machine profiles kept between runs: one versioned file a machine and scenario, under a lock.

Kept in the user's folder for caches (:mod:`hybridsplit.scenarios.cache_folder`). The name of a file is a hash of all
that matters to the times in it, so that a new version of PyTorch, another thread count or another model is measured
afresh.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from hybridsplit.profiler.kept_files import keep, kept
from hybridsplit.profiler.machine.profile import (
    MACHINE_SCHEMA_VERSION,
    Machine,
    MachineProfile,
    measure_machine,
    this_machine,
)
from hybridsplit.scenarios.cache_folder import CACHE_VARIABLE, cache_folder, platform_folder, private_folder
from hybridsplit.scenarios.contracts.sealed import Kind
from hybridsplit.scenarios.device_files import write_device_file
from hybridsplit.scenarios.errors import UsageError
from hybridsplit.scenarios.schema import Scenario

THIS_MACHINE = "this-machine"
_KIND = Kind("a kept machine profile", MACHINE_SCHEMA_VERSION, "it is dropped, and the machine is measured again")


def machine_key(machine: Machine, scenario: Scenario) -> str:
    """Hash of all that the times depend on: machine, versions, threads, and the scenario's model, data and training."""
    resolved = scenario.resolved()
    parts = {
        "schema_version": MACHINE_SCHEMA_VERSION,
        "machine": machine.model_dump(mode="json"),
        "scenario": {name: resolved[name] for name in ("model", "data", "training", "seed")},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


def machine_profile(
    scenario: Scenario,
    folder: Path | None = None,
    *,
    again: bool = False,
    on_progress: Callable[[str, float], None] = lambda what, share: None,
) -> tuple[MachineProfile, Path]:
    """Return this machine's profile, from the cache if it is there, and the device file it made.

    Parameters
    ----------
    scenario
        Whose blocks are timed.
    folder
        Where profiles are kept; ``machines`` in the cache by default, filled even where keeping is off: its device
        file is the result.
    again
        Measure even if there is a kept profile.
    on_progress
        Called with what is being done and the share done.

    Raises
    ------
    ScenarioError, ProfileError
        If the scenario's model cannot be built or traced.
    OSError
        If the folder cannot be written.
    """
    try:
        folder = folder or (cache_folder() or platform_folder()) / "machines"
    except RuntimeError as error:
        raise UsageError(f"this user has no home folder ({error}); set {CACHE_VARIABLE} to a folder") from error
    private_folder(folder)
    key = machine_key(this_machine(), scenario)
    path, device_path = folder / f"machine-{key}.json", folder / f"device-{key}.yaml"
    # Two measurements at once would each find the machine busy.
    with FileLock(folder / "machine.lock"):
        profile = None if again else kept(path, key, _KIND, _profile_of)
        if profile is None:
            profile = measure_machine(scenario, on_progress)
            keep(path, key, profile.model_dump(mode="json"))
        write_device_file(
            device_path,
            {THIS_MACHINE: profile.device},
            "Measured by 'hybridsplit profile --machine'. Name this file under 'device_files' in a scenario, and\n"
            f"{THIS_MACHINE!r} as the device of a client or of the server.",
        )
    return profile, device_path


def _profile_of(document: Mapping[str, Any]) -> MachineProfile:
    return MachineProfile.model_validate_json(json.dumps(document))
