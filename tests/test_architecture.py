"""The rooms are as the picture shows them, and no arrow runs upwards."""

from __future__ import annotations

import pytest

from tests.draw_rooms import PICTURE, svg
from tests.structure import FOLDERS, ROOT, arrows, floors


def test_the_picture_shows_the_code() -> None:
    assert PICTURE.read_text(encoding="utf-8") == svg(), "draw it again: python -m tests.draw_rooms"


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_rooms_import_each_other(folder: str) -> None:
    graph = arrows(folder)
    assert len([room for floor in floors(graph) for room in floor]) == len(graph)


@pytest.mark.parametrize(("folder", "rooms", "most_arrows"), [("solver", 13, 33), ("runtime", 14, 32)])
def test_rooms_stay_few_and_loosely_tied(folder: str, rooms: int, most_arrows: int) -> None:
    graph = arrows(folder)
    assert len(graph) <= rooms
    assert sum(map(len, graph.values())) <= most_arrows


def test_no_file_holds_two_ideas() -> None:
    """About 300 lines; a longer file is two."""
    long = {
        str(path.relative_to(ROOT)): lines
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 320
    }
    assert not long, long
