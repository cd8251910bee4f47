"""Sources of the plug-ins that a profile depends on: modes, the data source and model families of other packages."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from importlib.metadata import entry_points

from hybridsplit.scenarios.modes import MODES
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.user_modules import files_of_package

_OURS = "hybridsplit"


def plugin_sources(scenario: Scenario) -> dict[str, str] | None:
    """Return a digest of the sources of every plug-in package that a scenario's profile depends on, by its name.

    None where a plug-in has no source file, as one that was typed into a notebook. Families are taken from their entry
    points: importing them would load PyTorch, which a kept profile saves.
    """
    digests: dict[str, str] = {}
    for package in sorted(set(_packages(scenario)) - {_OURS}):
        files = files_of_package(package)
        if not files:
            return None
        digest = hashlib.sha256()
        for path in files:
            digest.update(path.name.encode())
            digest.update(path.read_bytes())
        digests[package] = digest.hexdigest()
    return digests


def _packages(scenario: Scenario) -> Iterator[str]:
    """Top-level packages, ours among them."""
    modes = [MODES[mode] for mode in scenario.training.modes]
    named = [
        *(type(mode).__module__ for mode in modes),
        *(mode.estimator for mode in modes),
        type(scenario.data).__module__,
        scenario.data.loader,
        *(point.value for point in entry_points(group="hybridsplit.families")),
    ]
    for name in named:
        yield name.partition(":")[0].partition(".")[0]
