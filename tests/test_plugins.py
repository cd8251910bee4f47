"""Packages that add strategies, data sources and modes: installed, used, and left out if broken."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import ClassVar

import pytest

from hybridsplit import plugins
from hybridsplit.scenarios.modes import MODES
from hybridsplit.scenarios.registry import PluginWarning, RegistrationError, Registry
from hybridsplit.scenarios.sections.data import DATA_SOURCES
from hybridsplit.scenarios.sections.network import LINK_MODELS
from hybridsplit.solver.strategies import STRATEGIES
from tests.installed import ROOT, install, run_python, write_distribution

LARGE = [f"clients.{group}.memory_budget_bytes=8MiB" for group in ("pi4", "pi5", "nano", "phone")]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the plug-in of ``tests/plugin`` is installed in."""
    return install(ROOT / "tests" / "plugin", tmp_path_factory.mktemp("plugin"))


def hybridsplit(site: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_python(["-m", "hybridsplit", *arguments], site, folder=folder)


def test_its_names_are_among_ours_and_come_last(site: Path, tmp_path: Path) -> None:
    code = (
        "import warnings; warnings.simplefilter('error')\n"
        "from hybridsplit.scenarios.modes import MODES\nfrom hybridsplit.scenarios.sections.data import DATA_SOURCES\n"
        "from hybridsplit.scenarios.sections.network import LINK_MODELS\n"
        "from hybridsplit.runtime.models.blocks import MODEL_FAMILIES\n"
        "from hybridsplit.solver.strategies import STRATEGIES\n"
        "print([list(registry)[-1] for registry in (STRATEGIES, DATA_SOURCES, LINK_MODELS, MODES, MODEL_FAMILIES)])"
    )
    done = run_python(["-c", code], site, folder=tmp_path)
    assert done.stdout.strip() == "['least-memory', 'checkerboards', 'log-distance', 'fo-sign', 'mobilenet_v2']", (
        done.stderr
    )
    schema = hybridsplit(site, tmp_path, "scenarios", "--schema").stdout
    assert "Checkerboards" in json.loads(schema)["$defs"]
    assert "fo-sign" in schema


def test_it_plans_with_the_strategy(site: Path, tmp_path: Path) -> None:
    done = hybridsplit(site, tmp_path, "plan", "quickstart", "--strategy", "least-memory", "--out", "plan.json")
    assert done.returncode == 0, done.stderr
    plan = json.loads((tmp_path / "plan.json").read_text())
    assert plan["strategy"] == "least-memory"
    assert {client["mode"] for client in plan["clients"]} == {"zo-projection"}
    assert "warning" not in done.stderr


def test_it_trains_with_the_data_source_and_the_mode(site: Path, tmp_path: Path) -> None:
    settings = ["training.modes=[fo-sign]", "data={source: checkerboards, image_size: 16}", *LARGE]
    flags = [flag for setting in settings for flag in ("--set", setting)]
    done = hybridsplit(
        site, tmp_path, "run", "quickstart", "--executor", "inline", "--rounds", "1", "--out", "run", "--json", *flags
    )
    assert done.returncode == 0, done.stderr
    import pandas as pd

    ledger = pd.read_parquet(tmp_path / "run" / "ledger.parquet")
    by_phase = ledger.pivot_table(index=["client", "phase"], columns="source", values="bytes", aggfunc="sum")
    crossed = by_phase[by_phase["planned"] > 0]
    assert len(crossed) >= 20
    assert (crossed["measured"] == crossed["planned"]).all()
    assert (crossed["replayed"] == crossed["planned"]).all()


def test_a_profile_is_made_anew_when_a_plugin_changes(site: Path, tmp_path: Path) -> None:
    code = (
        "from hybridsplit.profiler.cache import profile_key\nfrom hybridsplit.scenarios.loader import load_scenario\n"
        "for modes in ('fo', 'fo-sign'):\n"
        "    print(profile_key(load_scenario('quickstart', [f'training.modes=[{modes}]']), []))"
    )
    before, again = (run_python(["-c", code], site, folder=tmp_path).stdout.split() for _ in range(2))
    source = site / "hybridsplit_example" / "fo_sign.py"
    text = source.read_text()
    source.write_text(text + "\n# changed\n")
    try:
        after = run_python(["-c", code], site, folder=tmp_path).stdout.split()
    finally:
        source.write_text(text)
    assert len(set(before)) == 2
    assert again == before
    # The package declares a model family too, on which any profile may depend.
    assert not set(after) & set(before)


STRATEGY = """
from hybridsplit.plugins import Strategy, Proposal

class Mine(Strategy):
    name = "{name}"
    summary = "of a test"

    def propose(self, problem, effort):
        return Proposal(problem.starts, equal_shares=True)
"""


def test_a_broken_plugin_and_one_whose_name_is_taken_are_named_and_left_out(tmp_path: Path) -> None:
    group = "hybridsplit.strategies"
    broken = write_distribution(tmp_path / "a", "broken-plugin", "import nothing_of_this_name", {group: {"b": "B"}})
    taken = write_distribution(
        tmp_path / "b", "greedy-plugin", STRATEGY.format(name="greedy"), {group: {"greedy": "Mine"}}
    )
    data = write_distribution(
        tmp_path / "c", "old-plugin", "class Old:\n    pass", {"hybridsplit.data_sources": {"old": "Old"}}
    )
    done = run_python(["-m", "hybridsplit", "plan", "quickstart"], broken, taken, data, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "round latency" in done.stdout
    # Progress is told beside the warnings, a line each.
    lines = [line for line in done.stderr.strip().splitlines() if not line.startswith(("profiling ", "planning "))]
    assert [line.partition(":")[0] for line in lines] == ["warning"] * 3, done.stderr
    assert "'b' of the package broken-plugin is left out: ModuleNotFoundError: No module named 'nothing" in done.stderr
    assert "'greedy' of the package greedy-plugin is left out: the strategy 'greedy' exists already" in done.stderr
    assert "the package old-plugin is left out: old_plugin.Old is no data source" in done.stderr
    assert "does not derive from hybridsplit.plugins.ImageSource" in done.stderr
    assert ".py" not in done.stderr


def test_what_is_decorated_may_be_an_entry_point_too(tmp_path: Path) -> None:
    source = STRATEGY.format(name="mine").replace("class Mine", "@register_strategy\nclass Mine")
    site = write_distribution(
        tmp_path,
        "mine",
        source.replace("Strategy, Proposal", "Strategy, Proposal, register_strategy"),
        {"hybridsplit.strategies": {"mine": "Mine"}},
    )
    code = "from hybridsplit.solver.strategies import STRATEGIES\nprint(list(STRATEGIES).count('mine'))"
    done = run_python(["-W", "error", "-c", code], site, folder=tmp_path)
    assert done.stdout.strip() == "1", done.stderr


@pytest.mark.slow
def test_it_passes_its_own_tests_of_the_contracts(site: Path, tmp_path: Path) -> None:
    """Run where its author would run them: beside the plug-in, with nothing of our tests."""
    arguments = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(site.parent), "test_contracts.py"]
    done = run_python(arguments, site, folder=site.parent / "source")
    assert done.returncode == 0, done.stdout[-4000:]
    assert "warning" not in done.stdout.lower()


def test_the_page_of_plugins_has_what_it_names() -> None:
    for name in plugins.__all__:
        assert getattr(plugins, name) is not None
    assert set(plugins.__all__) == set(dir(plugins))
    assert plugins.register_strategy == STRATEGIES.register
    assert plugins.register_mode == MODES.register
    assert plugins.register_data_source == DATA_SOURCES.register
    assert plugins.register_link_model == LINK_MODELS.register
    with pytest.raises(AttributeError, match="no attribute 'register_nothing'"):
        plugins.register_nothing  # noqa: B018


def test_a_link_without_a_key_of_its_own_is_refused() -> None:
    class Same(plugins.LinkModel):
        name: ClassVar[str] = "same"
        work: ClassVar[str] = "hybridsplit.solver.problem.links:fixed_work"

        def uplink_bps(self, radio: plugins.Radio, share: float) -> float:
            return share

    with pytest.raises(RegistrationError, match="needs a required key of its own"):
        plugins.register_link_model(Same)


@pytest.mark.parametrize(
    ("registry", "base"),
    [
        (STRATEGIES, "Strategy"),
        (MODES, "TrainingMode"),
        (DATA_SOURCES, r"ImageSource or hybridsplit\.plugins\.TextSource"),
        (LINK_MODELS, "LinkModel"),
    ],
    ids=["strategy", "mode", "data", "link"],
)
def test_what_is_of_no_kind_is_refused_with_the_class_to_derive_from(registry: Registry[object], base: str) -> None:
    with pytest.raises(RegistrationError, match=rf"it does not derive from hybridsplit\.plugins\.{base}"):
        registry.register(dict)
    assert issubclass(PluginWarning, UserWarning)
