"""Build the documentation as a site: ``python docs/site/build.py [FOLDER]``, ``site`` by default.

Pages and pictures are copied beside the reference, which is made from the code, and Sphinx builds them together. Any
warning is an error: a link or an anchor that leads nowhere, a page that no list of contents names.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import reference  # noqa: E402
from sphinx.cmd.build import build_main  # noqa: E402


def build(folder: Path) -> int:
    """Build the site; return the exit code of Sphinx."""
    with tempfile.TemporaryDirectory() as temporary:
        pages = Path(temporary) / "docs"
        shutil.copytree(HERE.parent, pages, ignore=shutil.ignore_patterns("site", "__pycache__"))
        (pages / "reference").mkdir()
        (pages / "reference" / "keys.md").write_text(reference.scenario_keys(), encoding="utf-8")
        (pages / "reference" / "commands.md").write_text(reference.commands(), encoding="utf-8")
        (pages / "reference" / "python.md").write_text(reference.public_names(), encoding="utf-8")
        return build_main(
            ["-b", "html", "-W", "--keep-going", "-q", "-c", str(HERE), "-d", temporary, str(pages), str(folder)]
        )


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "site")
    code = build(target)
    if code == 0:
        print(f"{target / 'index.html'}: {len(list(target.rglob('*.html')))} pages")
    sys.exit(code)
