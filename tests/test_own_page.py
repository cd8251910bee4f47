"""The tutorial, and the page on own models and data: their files are written as they stand, and their commands run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hybridsplit.orchestrator.cli import app

DOCS = Path(__file__).resolve().parent.parent / "docs"
PART = re.compile(r"<!-- (file: (?P<name>[\w./-]+)|run) -->\n```\w+\n(?P<text>.*?)```", re.DOTALL)


@pytest.mark.parametrize(
    ("page", "report"),
    [
        ("own-model-and-data.md", "leaves-run/report.html"),
        pytest.param("tutorial.md", "boards-compared/comparison.tex", marks=pytest.mark.slow),
    ],
)
def test_the_page_goes_from_files_to_reports(
    page: str, report: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    commands = 0
    for part in PART.finditer((DOCS / page).read_text(encoding="utf-8")):
        if part["name"]:
            (tmp_path / part["name"]).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / part["name"]).write_text(part["text"], encoding="utf-8")
            assert not part["name"].endswith(".yaml") or len(part["text"].splitlines()) < 15
            continue
        for line in part["text"].splitlines():
            program, *words = shlex.split(line.removeprefix("$ "))
            if program == "python":
                exec(compile((tmp_path / words[0]).read_text(encoding="utf-8"), words[0], "exec"), {})
                continue
            done = CliRunner().invoke(app, words)
            assert done.exit_code == 0, (line, done.output)
            commands += 1
    assert commands >= 4
    assert (tmp_path / report).is_file()
