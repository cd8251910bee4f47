"""Code of docs/plugins.md is that of the plug-in which tests install and run, or runs here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.installed import ROOT, run_python

PAGE = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"(?:<!-- from (\S+) -->\n)?```(?:python|toml)\n(.*?)```", PAGE, re.DOTALL)


def test_the_page_shows_every_kind() -> None:
    shown = {Path(source).stem for source, _ in BLOCKS if source}
    files = {path.stem for path in (ROOT / "tests" / "plugin" / "hybridsplit_example").glob("[a-z]*.py")}
    assert shown == files | {"pyproject", "test_contracts"}


@pytest.mark.parametrize(("source", "code"), [block for block in BLOCKS if block[0]], ids=lambda text: text[-24:-1])
def test_what_is_shown_stands_in_the_plugin(source: str, code: str) -> None:
    assert code.strip() in (ROOT / source).read_text(encoding="utf-8")


def test_the_rest_runs(tmp_path: Path) -> None:
    code = "\n".join(code for source, code in BLOCKS if not source)
    used = (
        "\nfrom hybridsplit.profiler.options import profile_scenario\n"
        "from hybridsplit.scenarios.loader import load_scenario\nfrom hybridsplit.solver.planner import make_plan\n"
        "scenario = load_scenario('quickstart')\n"
        "print(make_plan(scenario, profile_scenario(scenario), 'starts').strategy)"
    )
    done = run_python(["-W", "error::UserWarning", "-c", code + used], folder=tmp_path)
    assert done.stdout.split() == ["starts"], done.stderr


def test_facts_of_the_page_are_those_of_a_mode() -> None:
    from hybridsplit.plugins import TrainingMode

    rows = re.findall(r"^\| (`.*?`) \| ", PAGE.partition("What the facts decide")[2].partition("Memory is no")[0], re.M)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)} - {"fact"}
    stated = {name for name in (*vars(TrainingMode), *TrainingMode.__annotations__) if not name.startswith("_")}
    assert named == stated - {"name", "summary", "estimator", "probes"}
