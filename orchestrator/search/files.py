"""A search as files: a table, a page, and for every model of the front the scenario and the plan to run it by."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from hybridsplit.orchestrator.search.results import ModelSearch
from hybridsplit.scenarios.contracts.files import write_text_whole


def write_search(search: ModelSearch, folder: Path) -> None:
    """Write ``models.csv``, ``search.json``, ``search.html``, and ``front/MODEL.yaml`` with ``front/MODEL.plan.json``.

    Parameters
    ----------
    search
        The search.
    folder
        Where to.

    Raises
    ------
    OSError
        If a file cannot be written.
    """
    from hybridsplit.orchestrator.search.page import search_page

    front = folder / "front"
    front.mkdir(parents=True, exist_ok=True)
    write_text_whole(folder / "models.csv", search.frame.to_csv(index=False))
    write_text_whole(folder / "search.json", json.dumps(search.document(), indent=1, allow_nan=False) + "\n")
    write_text_whole(folder / "search.html", search_page(search))
    by_name = {one.name: one for one in search.candidates}
    kept = {point.name for point in search.front}
    for old in front.glob("*"):
        if old.is_file() and old.name.removesuffix(".yaml").removesuffix(".plan.json") not in kept:
            old.unlink()
    for name in kept:
        candidate = by_name[name]
        assert candidate.plan is not None
        text = yaml.safe_dump(candidate.scenario.resolved(), sort_keys=False, allow_unicode=True)
        write_text_whole(front / f"{name}.yaml", text)
        candidate.plan.save(front / f"{name}.plan.json")
