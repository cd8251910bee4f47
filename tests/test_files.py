"""Files are written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from hybridsplit.scenarios.contracts.files import write_text_whole, write_whole


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    write_text_whole(path, "first")

    def fails(partial: Path) -> None:
        partial.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_whole(path, fails)
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]
