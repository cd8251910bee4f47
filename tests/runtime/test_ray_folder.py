"""Ray's sockets have room for their names wherever temporary files go."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from hybridsplit.runtime.executors.ray_folder import session_folder
from hybridsplit.scenarios.errors import RunError


@pytest.fixture(autouse=True)
def _forgets_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.delenv("RAY_TMPDIR", raising=False)


@pytest.mark.parametrize("variable", ["TMPDIR", "RAY_TMPDIR"])
def test_a_long_or_absent_folder_is_replaced_by_a_short_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    for folder in (long, tmp_path / "absent"):
        monkeypatch.setenv(variable, str(folder))
        assert session_folder() == "/tmp/ray"


def test_a_short_folder_is_left_to_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/tmp")
    assert session_folder() is None
    monkeypatch.delenv("TMPDIR")
    assert session_folder() is None


def test_without_any_folder_the_variable_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / ("x" * 100)))
    monkeypatch.setattr("hybridsplit.runtime.executors.ray_folder._is_usable", lambda folder: False)
    with pytest.raises(RunError, match=r"TMPDIR=.*at most 39 characters: set TMPDIR=/tmp"):
        session_folder()
