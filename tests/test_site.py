"""The documentation as a site: it builds without a warning, and its reference has every key, command and name."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from pathlib import Path

import pytest

import hybridsplit
from hybridsplit.orchestrator.command_line import COMMANDS
from hybridsplit.scenarios.schema import Scenario

ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("furo", reason="needs pip install 'hybridsplit[docs]'")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "site" / "build.py"), str(folder)],
        capture_output=True, text=True, check=False, cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def words(page: Path) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8")))


def test_every_page_is_there(site: Path) -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        assert (site / page.relative_to(ROOT / "docs").with_suffix(".html")).is_file(), page


def test_the_reference_is_whole(site: Path) -> None:
    keys, commands, names = (words(site / "reference" / f"{page}.html") for page in ("keys", "commands", "python"))
    assert all(key in keys for key in Scenario.model_fields)
    assert "memory_budget_bytes" in keys, "a key of a section"
    assert all(f"hybridsplit {name}" in commands for name in COMMANDS)
    assert "--strategy" in commands
    assert all(name in names for name in hybridsplit.__all__)
    assert "Parameters" in names, "docstrings of functions"


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        loaded = re.findall(
            r"<(?:script|link|img|iframe)\b[^>]*?(?:src|href)=\"([^\"]+)\"", page.read_text(encoding="utf-8")
        )
        assert loaded
        assert not [target for target in loaded if target.startswith(("http", "//"))], page
