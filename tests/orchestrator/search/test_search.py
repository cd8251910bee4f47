"""Searches: what is planned, trained, shown and kept, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from hybridsplit.orchestrator.cli import app
from hybridsplit.orchestrator.pipeline import RunSettings
from hybridsplit.orchestrator.search.files import write_search
from hybridsplit.orchestrator.search.page import search_page
from hybridsplit.orchestrator.search.results import ModelSearch, SearchSettings
from hybridsplit.orchestrator.search.study import search_models
from hybridsplit.orchestrator.studies.over_seeds.runs import CutRun
from hybridsplit.orchestrator.views.search import search_lines
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.errors import ScenarioError, UsageError
from hybridsplit.scenarios.loader import builtin_text, load_scenario, scenario_of_values
from hybridsplit.scenarios.schema import Scenario

INLINE = RunSettings("inline", 1, num_rounds=2)
KNOWN = {"variant": "known", "config": {"hidden_sizes": [8, 8]}, "accuracy": 0.999, "accuracy_is": "stated"}


def values(*variants: dict[str, Any], **more: Any) -> dict[str, Any]:
    document = yaml.safe_load(builtin_text("quickstart")) | {"variants": list(variants)}
    document["model"]["config"] |= {"hidden_sizes": [8, 16], "depths": [1, 1], "embedding_size": 8}
    document["data"]["image_size"] = 8
    document["objective"] = {"minimise": "round-latency", "minimum_progress": 0.5}
    document["training"] |= {"local_steps": 1, "modes": ["fo"], "frozen_control": False}
    document["clients"] = [{**group, "min_cut": 1} for group in document["clients"][3:]]
    return document | more


def scenario(*variants: dict[str, Any], **more: Any) -> Scenario:
    return scenario_of_values(values(*variants, **more), {})


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelSearch, Path]:
    folder = tmp_path_factory.mktemp("search")
    of = scenario({"variant": "grid", "width": [0.5, 1], "depth": [1, 2]}, {"variant": "wide", "width": 4}, KNOWN)
    found = search_models(of, SearchSettings(train="all", seeds=2), INLINE, folder)
    write_search(found, folder)
    return found, folder


@pytest.mark.slow
def test_every_model_is_planned_and_trained_by_its_plan(searched: tuple[ModelSearch, Path]) -> None:
    found, _ = searched
    assert [one.name for one in found.models] == [
        "grid-depth-1-width-0.5", "grid-depth-1-width-1", "grid-depth-2-width-0.5", "grid-depth-2-width-1", "wide",
        "known",
    ]  # fmt: skip
    for one in found.models:
        assert one.cost is not None
        assert one.lower_bound is not None
        assert one.lower_bound <= one.cost * (1 + 1e-9)
        assert one.cost == one.round_latency_s
        assert one.test_score is not None
    assert [one.test_score_is for one in found.models] == ["trained"] * 5 + ["stated"]
    assert {name: [run.seed for run in runs] for name, runs in found.runs.items()} == {
        one.name: [0, 1] for one in found.models[:-1]
    }
    # Wider and deeper costs more, and nothing reaches what is stated of 'known'.
    costs = {one.name: one.cost for one in found.models}
    assert costs["grid-depth-1-width-0.5"] < costs["grid-depth-1-width-1"] < costs["wide"]  # type: ignore[operator]
    assert found.front[-1].name == "known"
    assert {one.place for one in found.models} <= {"front", "beaten", "not told apart"}
    assert {one.score for one in found.correlations} >= {"parameters", "operations", "third of the rounds"}


@pytest.mark.slow
def test_the_plan_of_a_model_is_that_of_its_scenario_alone(searched: tuple[ModelSearch, Path]) -> None:
    """The scenario that is kept plans to the same figure, and is verified with its plan."""
    found, folder = searched
    point = found.front[0]
    kept = load_scenario(str(folder / "front" / f"{point.name}.yaml"))
    plan = Plan.load(folder / "front" / f"{point.name}.plan.json")
    assert plan.objective_s == point.cost
    assert plan.scenario_hash == kept.content_hash()
    done = CliRunner().invoke(app, ["replay", str(folder / "front" / f"{point.name}.plan.json")])
    assert done.exit_code == 0, done.output


@pytest.mark.slow
def test_runs_that_are_kept_are_not_run_again(
    searched: tuple[ModelSearch, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    found, folder = searched

    def refused(*_: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(CutRun, "train", refused)
    of = scenario({"variant": "grid", "width": [0.5, 1], "depth": [1, 2]}, {"variant": "wide", "width": 4}, KNOWN)
    again = search_models(of, SearchSettings(train="all", seeds=2), INLINE, folder)
    assert again.runs == found.runs
    with pytest.raises(AssertionError, match="trained again"):
        search_models(of, SearchSettings(train="all", seeds=3), INLINE, folder)


@pytest.mark.slow
def test_files_say_what_the_search_found(searched: tuple[ModelSearch, Path]) -> None:
    found, folder = searched
    document = json.loads((folder / "search.json").read_text())
    assert [point["name"] for point in document["front"]] == [point.name for point in found.front]
    assert len((folder / "models.csv").read_text().splitlines()) == 1 + len(found.models)
    page = (folder / "search.html").read_text()
    assert all(one.name in page for one in found.models)
    assert any("known" in line for line in search_lines(found))


def test_the_front_of_another_search_leaves_none_of_the_old_one(tmp_path: Path) -> None:
    for variant in ("first", "second"):
        of = scenario({**KNOWN, "variant": variant})
        write_search(search_models(of, SearchSettings(), INLINE, tmp_path), tmp_path)
    assert {path.name for path in (tmp_path / "front").iterdir()} == {"second.yaml", "second.plan.json"}


@pytest.mark.slow
def test_only_the_front_of_the_score_is_trained(tmp_path: Path) -> None:
    """A model that is larger and cheaper than another keeps that one from being trained."""
    found = search_models(
        scenario({"variant": "v", "choices": {"hidden_sizes": [[8, 16], [24, 8], [8, 32]]}}),
        SearchSettings(score="parameters"), INLINE, tmp_path,
    )  # fmt: skip
    by_name = {one.name: one for one in found.models}
    best = {
        name
        for name, one in by_name.items()
        if not any(other.cost < one.cost and other.score >= one.score for other in found.models)  # type: ignore[operator]
    }
    assert set(found.runs) == best != set(by_name)
    assert {name for name, one in by_name.items() if one.place == "not trained"} == set(by_name) - best


def test_without_training_models_are_ranked_by_their_score(tmp_path: Path) -> None:
    found = search_models(scenario({"variant": "v", "width": [0.5, 1]}), SearchSettings(train="none"), INLINE, tmp_path)
    assert found.by_score
    assert not found.runs
    assert [point.name for point in found.front] == ["v-width-0.5", "v-width-1"]
    assert any("is not known: train at least 20" in line for line in search_lines(found))


def test_a_model_that_fits_nowhere_is_a_row_that_says_why(tmp_path: Path) -> None:
    of = scenario({"variant": "v", "width": [1, 16]}, KNOWN)
    found = search_models(of, SearchSettings(train="none"), INLINE, tmp_path)
    (huge,) = [one for one in found.models if one.name == "v-width-16"]
    assert huge.place == "no plan"
    assert "missing" in huge.infeasible
    assert "v-width-16: " in "\n".join(search_lines(found))
    assert huge.infeasible.split(":")[0] in search_page(found)


@pytest.mark.parametrize(
    ("variants", "more", "said"),
    [
        ([], {}, "has no models to choose from; list them under 'variants'"),
        ([{"variant": "v", "kernel": 0.5}], {}, "variant v: kernel: resnet states no kernel size"),
        ([{"variant": "v", "config": {"hiden_sizes": [8]}}], {}, "did you mean 'hidden_sizes'?"),
        ([{"variant": "v", "config": {"hidden_sizes": [8]}}], {}, "variant v: "),
    ],
)
def test_what_cannot_be_searched_is_refused(
    variants: list[dict[str, Any]], more: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises((ScenarioError, UsageError), match=r".") as refused:
        search_models(scenario(*variants, **more), SearchSettings(), INLINE, tmp_path)
    assert said in str(refused.value)


def test_settings_that_are_none_are_refused() -> None:
    for wrong in ({"train": "some"}, {"score": "luck"}, {"seeds": 0}):
        with pytest.raises(UsageError, match="needs"):
            SearchSettings(**wrong)  # type: ignore[arg-type]


def test_the_command_prints_what_it_found(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(yaml.safe_dump(values({"variant": "v", "width": [0.5, 1]}, KNOWN)))
    arguments = ["search", str(file), "--rounds", "1", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "Front of round latency against accuracy" in done.output
    assert (tmp_path / "out" / "search.html").is_file()
    as_json = CliRunner().invoke(app, [*arguments, "--json"])
    assert json.loads(as_json.stdout)["front"]
