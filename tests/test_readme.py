"""The README shows what the commands print, and names only files that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hybridsplit.orchestrator.cli import app

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_plan_of_the_readme_is_what_plan_prints() -> None:
    shown = re.search(r"<!-- plan quickstart -->\n```text\n(.*?)```", README, re.DOTALL)
    assert shown is not None
    printed = CliRunner().invoke(app, ["plan", "quickstart"], env={"COLUMNS": "100"}).stdout
    lines = [line.rstrip() for line in printed.splitlines()]
    for line in shown.group(1).splitlines():
        assert line.rstrip() in lines, line


@pytest.mark.parametrize("page", ["README.md", *sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))])
def test_links_lead_somewhere(page: str) -> None:
    path = ROOT / page
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (path.parent / target).exists(), f"{page}: {target}"


def test_benchmarks_of_the_readme_exist() -> None:
    named = re.findall(r"python (benchmarks/\w+\.py)", README)
    assert len(named) >= 4
    for name in named:
        assert (ROOT / name).is_file(), name


def test_nothing_of_this_workplace_is_named() -> None:
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "scenarios").rglob("*.yaml")]:
        assert "/root/" not in path.read_text(encoding="utf-8")
