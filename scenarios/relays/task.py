"""Tell documents with a network of relays from all others, without loading what they need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KEY = "network"


def has_relays(document: Mapping[str, Any]) -> bool:
    """Return whether a document places a model over a network of relays; others have ``radio`` and ``server``.

    Parameters
    ----------
    document
        Plain values.
    """
    return KEY in document
