"""Single figures of a device of the catalogue, stated by a scenario under ``devices``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hybridsplit.scenarios.devices import Confidence, catalogue

_NO_SECONDS = frozenset({"price", "max_power_w", "idle_power_w", "power_modes_w", "source", "confidence", "can_train"})
"""Keys that no seconds follow from."""


def with_catalogue_figures(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a scenario document in which every device that is stated in part is whole.

    An entry under ``devices`` that has the id of a device of the catalogue and no ``name`` changes the figures that it
    states; with a name, it is a device of its own that takes the place of the catalogue's. A device whose seconds
    follow from a changed figure is ``derived``, unless the entry says otherwise.

    Parameters
    ----------
    document
        Plain values of a scenario.
    """
    own = document.get("devices")
    if not isinstance(own, Mapping):
        return document
    changed = {
        device_id: _whole(str(device_id), entry)
        for device_id, entry in own.items()
        if isinstance(entry, Mapping) and "name" not in entry and device_id in catalogue()
    }
    return {**document, "devices": {**own, **changed}} if changed else document


def _whole(device_id: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    known = catalogue()[device_id].model_dump(mode="json", exclude_defaults=True)
    merged = {**known, **entry}
    for key, value in entry.items():
        if isinstance(value, Mapping) and isinstance(known.get(key), Mapping):
            merged[key] = {**known[key], **value}
    if entry.keys() - _NO_SECONDS and "confidence" not in entry:
        merged["confidence"] = str(Confidence.DERIVED)
    if entry.keys() - {"source"} and "source" not in entry:
        merged["source"] = f"{known.get('source', '')} Changed in the scenario: {', '.join(map(str, entry))}.".strip()
    return merged
