"""Whether the sections of a scenario agree: all of what does not, at once, also while single keys are still wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hybridsplit.scenarios.label_agreement import of_labels
from hybridsplit.scenarios.sections.data import DATA_SOURCES, TextSource
from hybridsplit.scenarios.sections.network import LINK_MODELS, RATED, link_kind

_MOST_NAMED = 8
_IMAGES, _SAVED = "image-classification", "saved-dataset"


def disagreements(document: Mapping[str, Any]) -> list[str]:
    """Return a sentence a disagreement, each beginning with its key.

    Parameters
    ----------
    document
        The scenario's values. What is absent or of a wrong kind there is passed over: others say so.
    """
    found = [*_of_data(document), *of_labels(document)]
    training = document.get("training")
    if _text(document, "objective", "late") == "skip" and isinstance(training, Mapping):
        shared, steps = training.get("server_model", "per-client"), training.get("local_steps", 1)
        if shared != "per-client" and isinstance(steps, int) and steps > 1:
            found.append(
                f"objective.late: found 'skip' with training.server_model {shared!r}, where all clients wait for each "
                "other after every step; use late: wait, server_model: per-client, or local_steps: 1"
            )
    found += _of_replanning(document)
    groups = document.get("clients")
    found += _of_overlap(document, groups)
    if isinstance(groups, Sequence) and not isinstance(groups, str):
        mappings = [(index, group) for index, group in enumerate(groups) if isinstance(group, Mapping)]
        numbers = Counter(name for _, group in mappings if isinstance(name := group.get("group"), str))
        if twice := sorted(name for name, number in numbers.items() if number > 1):
            found.append(f"clients: the group names {', '.join(twice)} occur twice; each needs its own")
        link_model = _text(document, "radio", "link_model")
        minimises = _text(document, "objective", "minimise")
        if link_model is None and isinstance(document.get("radio", {}), Mapping):
            link_model = "fixed" if "link_model" not in document.get("radio", {}) else None
        alike: dict[str, list[int]] = {}
        for index, group in mappings:
            for fault in _of_group(group, link_model, minimises):
                alike.setdefault(fault, []).append(index)
        found += [f"clients.{first}.{fault}{_others(others)}" for fault, (first, *others) in alike.items()]
        found += _of_band(document.get("radio", {}), mappings)
    return found


def _of_overlap(document: Mapping[str, Any], groups: object) -> Iterator[str]:
    """Refuse what cannot go with work that overlaps."""
    if not (lists := _overlaps(document.get("training"))):
        return
    named = " and ".join(f"training.overlap.{key} lists {', '.join(map(str, listed))}" for key, listed in lists.items())
    without = " and ".join(f"{key}: [{_NO_OVERLAP[key]}]" for key in lists)
    if _text(document, "objective", "late") == "skip":
        yield f"objective.late: found 'skip' while {named}; use late: wait, or {without}"
    if _text(document, "objective", "links") == "recorded":
        yield (
            f"objective.links: found 'recorded' while {named}; plans are chosen over recordings for clients that do "
            f"one thing after another only: use links: nominal, or {without}"
        )
    if _text(document, "objective", "minimise") == "time-to-target":
        yield (
            f"objective.minimise: found 'time-to-target' while {named}; pilot runs say nothing about steps that "
            f"overlap: minimise time-to-progress, or use {without}"
        )
    for index, group in enumerate(groups if isinstance(groups, Sequence) and not isinstance(groups, str) else ()):
        if isinstance(group, Mapping) and group.get("memory_trace") is not None:
            yield (
                f"clients.{index}.memory_trace: is given while {named}; the orders that memory over time chooses from "
                f"are those of steps that wait for their gradient: remove the recording, or use {without}"
            )


_NO_OVERLAP: Mapping[str, int] = {"staleness": 0, "micro_batches": 1}
"""Keys of ``training.overlap``, and what each is where nothing overlaps."""


def _overlaps(training: object) -> dict[str, Sequence[object]]:
    """Return by key what a training section lists, where some of it overlaps."""
    overlap = training.get("overlap") if isinstance(training, Mapping) else None
    found: dict[str, Sequence[object]] = {}
    for key, without in _NO_OVERLAP.items():
        listed = overlap.get(key) if isinstance(overlap, Mapping) else None
        if isinstance(listed, Sequence) and any(isinstance(one, int) and one > without for one in listed):
            found[key] = listed
    return found


def _of_band(radio: object, groups: Sequence[tuple[int, Mapping[str, Any]]]) -> Iterator[str]:
    """Ask for the band of links that state what they carry on it."""
    if not isinstance(radio, Mapping):
        return
    on_band = [
        index for index, group in groups if isinstance(link := group.get("link"), Mapping) and link_kind(link) != RATED
    ]
    for key in ("uplink_hz", "downlink_hz") if on_band else ():
        if key not in radio:
            yield (
                f"radio.{key}: is needed, for example '{key}: 20 MHz', since clients.{on_band[0]}.link is a share of "
                "that band; or state the link's own rates there: uplink_bps and downlink_bps"
            )


def _of_replanning(document: Mapping[str, Any]) -> Iterator[str]:
    """Refuse what a plan that changes between rounds does not go with."""
    training = document.get("training")
    if not (isinstance(training, Mapping) and training.get("changes_plans")):
        return
    beside = "training.replanning: found a policy that changes the plan, with"
    if _text(document, "objective", "late") == "skip":
        yield (f"{beside} objective.late 'skip': a deadline is chosen for one plan; use late: wait, or policy: static")
    if lists := _overlaps(training):
        without = " and ".join(f"{key}: [{_NO_OVERLAP[key]}]" for key in lists)
        yield (
            f"{beside} training.overlap, whose gradients under way belong to one cut; use {without}, or policy: static"
        )
    if _text(document, "objective", "minimise") == "energy":
        yield f"{beside} objective.minimise 'energy', which no link changes; use policy: static"
    groups = document.get("clients")
    mappings = [group for group in groups or () if isinstance(group, Mapping)]
    priced = [str(group["group"]) for group in mappings if group.get("drop_price_s") is not None]
    if priced:
        yield (
            f"{beside} a drop_price_s of {', '.join(priced)}: who takes part is decided once, for all rounds; remove "
            "drop_price_s, or use policy: static"
        )


def _others(indices: Sequence[int]) -> str:
    """Name further groups with the same fault; many are counted."""
    if not indices:
        return ""
    named = ", ".join(map(str, indices[:_MOST_NAMED]))
    more = len(indices) - _MOST_NAMED
    return f" (the same in clients {named}{f' and {more:,} more' if more > 0 else ''})"


def _of_data(document: Mapping[str, Any]) -> Iterator[str]:
    task, source = _text(document, "model", "task"), _text(document, "data", "source")
    if task is None or not any(task in known.tasks for known in DATA_SOURCES.values()):
        return
    if source is not None and source in DATA_SOURCES and task not in DATA_SOURCES[source].tasks:
        yield f"data.source: found {source!r}, which does not fit model.task {task!r}"
    data = document.get("data")
    for key, tasks, of in (("tokenizer", TextSource.tasks, "text"), ("image_size", (_IMAGES,), "images")):
        if source == _SAVED and isinstance(data, Mapping) and data.get(key) is not None and task not in tasks:
            yield f"data.{key}: is for {of}, and model.task is {task!r}; remove the key"
    training = document.get("training")
    if not isinstance(training, Mapping):
        return
    is_text, has_length = task in TextSource.tasks, training.get("sequence_length") is not None
    if not is_text and has_length:
        what = "images" if task == _IMAGES else "samples of numbers"
        yield f"training.sequence_length: {what} have none; remove the key"
    if is_text and not has_length:
        yield "training.sequence_length: is needed for text; add it, for example 'sequence_length: 128'"


def _of_group(group: Mapping[str, Any], link_model: str | None, minimises: str | None) -> Iterator[str]:
    link = group.get("link")
    if isinstance(link, Mapping) and link_kind(link) == RATED:
        if link.get("medium") == "shared" and link_model not in (None, "fixed"):
            yield (
                f"link.medium: found 'shared', which needs radio.link_model 'fixed', and it is {link_model!r}: with "
                "that one a link's rate is no fixed part of stated rates; use medium: dedicated, or the keys of "
                f"{link_model!r}"
            )
    elif link_model is not None and link_model in LINK_MODELS and isinstance(link, Mapping):
        needed = LINK_MODELS[link_model].model_fields
        absent = [name for name, field in needed.items() if field.is_required() and name not in link]
        foreign = [str(name) for name in link if name not in needed]
        if absent or foreign:
            keys = ", ".join(name for name, field in needed.items() if field.is_required())
            yield (
                f"link: radio.link_model is {link_model!r}, which needs the keys {keys}"
                + (f"; add {', '.join(absent)}" if absent else "")
                + (f"; remove {', '.join(foreign)}" if foreign else "")
            )
    if group.get("drop_price_s") is not None and minimises == "energy":
        yield (
            "drop_price_s: a price in seconds has no value in joules; remove the key, or minimise time-to-progress or "
            "round-latency"
        )


def _text(document: Mapping[str, Any], section: str, key: str) -> str | None:
    values = document.get(section)
    value = values.get(key) if isinstance(values, Mapping) else None
    return value if isinstance(value, str) else None
