"""Tell plans and folders of inference tasks from those of training, before anything heavy is imported."""

from __future__ import annotations

import json
from pathlib import Path

from hybridsplit.scenarios.inference.task import TASK


def is_inference_plan(path: Path) -> bool:
    """Return whether a file is the plan of an inference task; what is wrong with it is for its reader to say.

    Parameters
    ----------
    path
        The file.
    """
    try:
        text = path.read_text(encoding="utf-8")
        # Plans of training can be large, and are parsed once, by their reader.
        document = json.loads(text) if f'"{TASK}"' in text else None
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(document, dict) and document.get("task") == TASK


def is_inference_folder(path: Path) -> bool:
    """Return whether a folder holds the replay of an inference task.

    Parameters
    ----------
    path
        The folder.
    """
    return is_inference_plan(path / "plan.json")
