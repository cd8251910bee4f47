"""What code, docs and tests cite exists: pages, headings, anchors and files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = (
    "scenarios",
    "runtime",
    "profiler",
    "solver",
    "orchestrator",
    "src/hybridsplit",
    "tests",
    "benchmarks",
    "docs",
)
SUFFIXES = (".py", ".md", ".yaml", ".toml")
PAGES = sorted(str(page.relative_to(ROOT)) for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
CITATION = re.compile(r"docs/[\w/-]+\.md")
NOT_SHIPPED = re.compile(r"DESIGN sections? \d|(?:methods?|design) note|\bhouse\.md", re.IGNORECASE)
FILE_IN_CODE = re.compile(
    r"`((?:scenarios|runtime|profiler|solver|orchestrator|tests|benchmarks)/[\w/-]+\.(?:py|yaml|json))[`:]"
)


def texts() -> Iterator[tuple[Path, str]]:
    """Every text file that ships, with its lines joined: a citation may be wrapped."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in SUFFIXES and path != Path(__file__):
                yield path, re.sub(r"\s*\n\s*(?:# )?", " ", path.read_text(encoding="utf-8"))
    yield ROOT / "README.md", re.sub(r"\s*\n\s*", " ", (ROOT / "README.md").read_text(encoding="utf-8"))


def headings(page: Path) -> list[str]:
    return re.findall(r"^#{1,4} (.+?)\s*$", page.read_text(encoding="utf-8"), re.MULTILINE)


def anchor(heading: str) -> str:
    """The fragment under which GitHub shows a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_cited_pages_and_headings_exist() -> None:
    cited = 0
    for path, text in texts():
        for found in CITATION.finditer(text):
            page = ROOT / found[0]
            assert page.is_file(), f"{path}: {found[0]}"
            cited += 1
            # "docs/page.md, Heading": what follows a comma and begins with a capital is a heading of the page.
            if named := re.match(r", ([A-Z].{0,80})", text[found.end() :]):
                known = headings(page)
                assert named[1].startswith(tuple(known)), f"{path}: {found[0]} has no heading {named[1]!r}: {known}"
    assert cited > 40


def test_nothing_is_cited_that_does_not_ship() -> None:
    for path, text in texts():
        assert not (found := NOT_SHIPPED.search(text)), f"{path}: {found[0]}"


@pytest.mark.parametrize("page", PAGES)
def test_links_and_named_files_exist(page: str) -> None:
    path = ROOT / page
    text = path.read_text(encoding="utf-8")
    for target, _, fragment in re.findall(r"\]\(([^)#\s]*)(#([^)\s]+))?\)", text):
        if target.startswith("http"):
            continue
        linked = path.parent / target if target else path
        assert linked.exists(), f"{page}: {target}"
        if fragment:
            assert fragment in map(anchor, headings(linked)), f"{page}: {target}#{fragment}"
    for named in FILE_IN_CODE.findall(text):
        assert (ROOT / named).is_file(), f"{page}: {named}"
