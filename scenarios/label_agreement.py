"""Whether data, their partition and targets fit what a label is (``model.problem_type``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hybridsplit.scenarios.scores import MULTI_LABEL, REGRESSION, SINGLE_LABEL, score_for
from hybridsplit.scenarios.sections.data import DATA_SOURCES

_PROBLEM_TYPES = (SINGLE_LABEL, MULTI_LABEL, REGRESSION)


def of_labels(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield what does not fit, each beginning with its key.

    Parameters
    ----------
    document
        The scenario's values; what is absent or of a wrong kind there is passed over.
    """
    model, data = _section(document, "model"), _section(document, "data")
    kind = model.get("problem_type", SINGLE_LABEL)
    if kind not in _PROBLEM_TYPES:
        return
    yield from _of_source(kind, data)
    yield from _of_partition(kind, data.get("partition"))
    yield from _of_target(kind, _section(document, "objective"))


def _of_source(kind: str, data: Mapping[str, Any]) -> Iterator[str]:
    source = data.get("source")
    if isinstance(source, str) and source in DATA_SOURCES and kind not in DATA_SOURCES[source].problem_types:
        able = [name for name, known in DATA_SOURCES.items() if kind in known.problem_types]
        yield (
            f"data.source: found {source!r}, whose labels are single classes, with model.problem_type {kind!r}; use "
            f"{', '.join(able)}, or remove model.problem_type"
        )
    if data.get("label_columns") is not None and kind == SINGLE_LABEL:
        yield (
            f"data.label_columns: is for several labels or numbers, and model.problem_type is {kind!r}; state "
            f"label_column, or problem_type: {MULTI_LABEL} or {REGRESSION}"
        )
    if data.get("label_separator") is not None and kind != MULTI_LABEL:
        yield (
            f"data.label_separator: is for several labels of a sample, and model.problem_type is {kind!r}; remove the "
            f"key, or state problem_type: {MULTI_LABEL}"
        )


def _of_partition(kind: str, partition: object) -> Iterator[str]:
    partition = _plain(partition)
    scheme, bins = partition.get("scheme"), partition.get("label_bins")
    if kind != REGRESSION and bins is not None:
        yield (
            f"data.partition.label_bins: is for numbers, and model.problem_type is {kind!r}, whose labels are dealt as "
            "they are; remove the key"
        )
    if kind == REGRESSION and scheme == "dirichlet" and bins is None:
        yield (
            "data.partition.label_bins: is needed to deal numbers by label, for hardly two samples have the same one; "
            "state label_bins: 10 to deal them by ten bins of equally many samples, or use scheme: iid"
        )
    if kind == REGRESSION and scheme == "by-key" and partition.get("key") == "label":
        yield (
            "data.partition.key: found 'label', which is a number with model.problem_type 'regression', and hardly two "
            "samples have the same one; name a key column, or use scheme: dirichlet with label_bins"
        )


def _of_target(kind: str, objective: Mapping[str, Any]) -> Iterator[str]:
    score = score_for(kind)
    if objective.get("target_accuracy") is not None and kind != SINGLE_LABEL:
        yield (
            f"objective.target_accuracy: is for single classes, and model.problem_type is {kind!r}, whose score is "
            f"{score.label}; state target_score instead"
        )
    if objective.get("target_score") is not None and kind == SINGLE_LABEL:
        yield f"objective.target_score: the score of {kind!r} is accuracy; state target_accuracy instead"


def _section(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return _plain(document.get(name))


def _plain(value: object) -> Mapping[str, Any]:
    """A section as a mapping, read from a document or already a section; empty for anything else."""
    if isinstance(value, Mapping):
        return value
    fields = getattr(type(value), "model_fields", None)
    return {} if fields is None else {name: getattr(value, name) for name in fields}
