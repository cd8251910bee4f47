"""Single figures of a device of the catalogue, stated by a scenario under ``devices``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hybridsplit.scenarios.devices import Confidence, catalogue, find_device

_NO_SECONDS = frozenset(
    {"name", "price", "max_power_w", "idle_power_w", "power_modes_w", "source", "confidence", "can_train"}
)
"""Keys that no seconds follow from."""


LIKE = "like"
"""Key of a device of one's own that names one of the catalogue, whose figures it has where it states no others."""


def with_catalogue_figures(document: Mapping[str, Any], origin: str) -> Mapping[str, Any]:
    """Return a scenario document in which every device that is stated in part is whole.

    An entry under ``devices`` that has the id of a device of the catalogue and no ``name`` changes the figures that it
    states; with a name, it is a device of its own that takes the place of the catalogue's. An entry with ``like`` is a
    device of its own that has the figures of that one of the catalogue where it states no others. A device whose
    seconds follow from a changed figure is ``derived``, unless the entry says otherwise.

    Parameters
    ----------
    document
        Plain values of a scenario.
    origin
        Name of the document in messages.

    Raises
    ------
    ScenarioError
        If ``like`` names no device of the catalogue; the message names the nearest ones.
    """
    own = document.get("devices")
    if not isinstance(own, Mapping):
        return document
    changed = {}
    for device_id, entry in own.items():
        if not isinstance(entry, Mapping):
            continue
        if isinstance(like := entry.get(LIKE), str):
            find_device(like, {}, f"{origin}: devices.{device_id}.{LIKE}")
            stated = {key: value for key, value in entry.items() if key != LIKE}
            changed[device_id] = _whole(like, {"name": f"{device_id} (like {catalogue()[like].name})", **stated})
        elif "name" not in entry and device_id in catalogue():
            changed[device_id] = _whole(str(device_id), entry)
    return {**document, "devices": {**own, **changed}} if changed else document


def _whole(device_id: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    known = catalogue()[device_id].model_dump(mode="json", exclude_defaults=True)
    merged = {**known, **entry}
    for key, value in entry.items():
        if isinstance(value, Mapping) and isinstance(known.get(key), Mapping):
            merged[key] = {**known[key], **value}
    if entry.keys() - _NO_SECONDS and "confidence" not in entry:
        merged["confidence"] = str(Confidence.DERIVED)
    if (own := [str(key) for key in entry if key not in ("name", "source")]) and "source" not in entry:
        merged["source"] = f"{known.get('source', '')} Changed in the scenario: {', '.join(own)}.".strip()
    return merged
