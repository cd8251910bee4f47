"""Tell documents of inference tasks from those of training, without loading what either needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hybridsplit.scenarios.errors import ScenarioError

TASK = "inference"


def is_inference(document: Mapping[str, Any], origin: str) -> bool:
    """Return whether a document states an inference task; one without the key ``task`` is about training.

    Parameters
    ----------
    document
        Plain values.
    origin
        Name of the document in messages.

    Raises
    ------
    ScenarioError
        If its task is neither.
    """
    if "task" not in document:
        return False
    if document["task"] != TASK:
        from hybridsplit.scenarios.shown import shown

        raise ScenarioError(
            f"{origin}: task: found {shown(document['task'])}; needs 'inference', or no such key for training"
        )
    return True
