"""Tell plans and folders of models that are cut several times from all others, before anything heavy is imported."""

from __future__ import annotations

import json
from pathlib import Path

_TASK = "relays"


def is_relay_plan(path: Path) -> bool:
    """Return whether a file is a plan over relays; what is wrong with it is for its reader to say.

    Parameters
    ----------
    path
        The file, or a folder that holds it as ``plan.json``.
    """
    try:
        text = (path / "plan.json" if path.is_dir() else path).read_text(encoding="utf-8")
        # Plans of training can be large, and are parsed once, by their reader.
        document = json.loads(text) if f'"{_TASK}"' in text else None
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(document, dict) and document.get("task") == _TASK
