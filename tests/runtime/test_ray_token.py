"""Ray's token is for its owner alone, from the first moment."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from hybridsplit.runtime.executors.ray_token import ensure_private_token
from hybridsplit.scenarios.errors import RunError


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_a_new_token_is_private(home: Path) -> None:
    ensure_private_token()
    token = home / ".ray" / "auth_token"
    assert len(token.read_text()) == 64
    assert (mode_of(token), mode_of(token.parent)) == (0o600, 0o700)


def test_a_token_that_others_could_read_is_kept_and_closed(home: Path) -> None:
    token = home / ".ray" / "auth_token"
    token.parent.mkdir(mode=0o755)
    token.write_text("known")
    token.chmod(0o644)
    ensure_private_token()
    assert token.read_text() == "known"
    assert (mode_of(token), mode_of(token.parent)) == (0o600, 0o700)


@pytest.mark.parametrize(
    ("name", "value"), [("RAY_AUTH_MODE", "disabled"), ("RAY_AUTH_TOKEN", "x"), ("RAY_AUTH_TOKEN_PATH", "/elsewhere")]
)
def test_what_the_user_set_up_is_left_alone(name: str, value: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    ensure_private_token()
    assert not (home / ".ray").exists()


def test_a_place_that_cannot_be_written_is_named(home: Path) -> None:
    (home / ".ray").write_text("a file")
    with pytest.raises(RunError, match=r"auth_token.*RAY_AUTH_TOKEN_PATH"):
        ensure_private_token()


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", _nobodys_home)
    with pytest.raises(RunError, match="set HOME, or RAY_AUTH_TOKEN_PATH"):
        ensure_private_token()


def _nobodys_home() -> Path:
    raise RuntimeError("Could not determine home directory.")
