"""Tampered plans are noticed, and what does not fit is explained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hybridsplit.profiler.accelerators.space import virtual_space
from hybridsplit.scenarios.contracts.inference_plan import InferencePlan
from hybridsplit.scenarios.errors import InfeasibleError, ProfileError
from hybridsplit.scenarios.inference.schema import InferenceScenario
from hybridsplit.scenarios.loader import load_task
from hybridsplit.solver.verify.inference_plan import inference_violations
from hybridsplit.solver.virtual_space.planner import make_inference_plan
from tests.solver.virtual_space.tasks import random_task, tiny

Document = dict[str, Any]
SCENARIO = random_task(11, apps=3, devices=3)


@pytest.fixture(scope="module")
def plan() -> InferencePlan:
    return make_inference_plan(SCENARIO, virtual_space(SCENARIO))


def part(key: str, change: Callable[[Any], Any]) -> Callable[[Document], None]:
    def tamper(document: Document) -> None:
        first = document["apps"][0]["parts"][0]
        first[key] = change(first[key])

    return tamper


def app(key: str, change: Callable[[Any], Any]) -> Callable[[Document], None]:
    def tamper(document: Document) -> None:
        document["apps"][0][key] = change(document["apps"][0][key])

    return tamper


def whole(key: str, change: Callable[[Any], Any]) -> Callable[[Document], None]:
    def tamper(document: Document) -> None:
        document[key] = change(document[key])

    return tamper


def busier(document: Document) -> None:
    document["devices"][0]["busy"]["cnn"] += 0.1


def fewer_kernels(document: Document) -> None:
    used = next(one for one in document["devices"] if one["kernel_bytes"])
    used["kernel_bytes"] -= 1


TAMPERED: list[tuple[Callable[[Document], None], str]] = [
    (part("end", lambda end: end + 1), "do not follow|ends after|names other layers"),
    (part("start", lambda start: start + 1), "do not follow"),
    (part("layers", lambda names: ["x", *names[1:]]), "names other layers"),
    (part("kernel_bytes", lambda size: size + 1), "kernel_bytes"),
    (part("data_bytes", lambda size: size + 1), "data_bytes"),
    (part("weight_bytes", lambda size: size + 1), "weight_bytes"),
    (part("input_bytes", lambda size: size + 1), "input_bytes"),
    (part("compute_s", lambda seconds: 2 * seconds), "latency_s"),
    (app("rate_hz", lambda rate: 1.01 * rate), "rate_hz"),
    (app("rate_hz", lambda rate: 0.9 * rate), "rate_hz"),
    (app("latency_s", lambda seconds: 0.9 * seconds), "latency_s"),
    (app("target", lambda name: "d0" if name != "d0" else "d1"), "another model, source or target"),
    (whole("period_s", lambda seconds: 0.99 * seconds), "period_s"),
    (whole("lower_bound_s", lambda seconds: 1.5 * seconds), "lower_bound_s"),
    (whole("gap", lambda gap: gap + 0.1), "gap"),
    (whole("apps", lambda apps: apps[:-1]), "apps or devices"),
    (busier, "busy.cnn"),
    (fewer_kernels, "kernel_bytes"),
]


@pytest.mark.parametrize(("tamper", "words"), TAMPERED)
def test_tampered_plans_are_noticed(plan: InferencePlan, tamper: Callable[[Document], None], words: str) -> None:
    import re

    space = virtual_space(SCENARIO)
    assert list(inference_violations(plan, SCENARIO, space)) == []
    document = plan.model_dump(mode="json")
    tamper(document)
    found = list(inference_violations(InferencePlan.model_validate(document), SCENARIO, space))
    assert any(re.search(words, one) for one in found), found


def test_a_layer_that_nothing_runs_is_named_with_its_reason() -> None:
    scenario = load_task("wearables", ["apps.faces.model=mobilenetv2-0.5"])
    assert isinstance(scenario, InferenceScenario)
    with pytest.raises(InfeasibleError, match=r"faces: no accelerator runs layer l1 of mobilenetv2-0.5.*16 groups"):
        make_inference_plan(scenario, virtual_space(scenario))


def test_what_does_not_fit_comes_with_a_relaxation_that_works() -> None:
    document = random_task(2, apps=3, devices=2, reloads=False).resolved()
    document["devices"]["tiny"] = {**tiny(800), "most_layers": 4}
    scenario = InferenceScenario.model_validate(document, strict=False)
    with pytest.raises(InfeasibleError) as caught:
        make_inference_plan(scenario, virtual_space(scenario))
    text = str(caught.value)
    assert "layers: the apps take 9 layers together, the devices have 8" in text
    assert "Cheapest relaxation that makes a plan possible: state reload_bytes_per_s" in text
    for group in document["accelerators"]:
        group["reload_bytes_per_s"] = 20e6
    document["search"]["reloads"] = True
    relaxed = InferenceScenario.model_validate(document, strict=False)
    assert make_inference_plan(relaxed, virtual_space(relaxed)).period_s > 0


def test_a_rate_that_the_best_plan_does_not_reach_is_named() -> None:
    document = random_task(4, apps=2).resolved()
    document["apps"][1]["least_rate_hz"] = 1e6
    scenario = InferenceScenario.model_validate(document, strict=False)
    with pytest.raises(InfeasibleError, match=r"a1: runs at .* Hz in the best plan .* least_rate_hz is 1e\+06"):
        make_inference_plan(scenario, virtual_space(scenario))


@pytest.mark.parametrize(
    ("key", "words"),
    [("bus_bytes_per_s", "bus_bytes_per_s of tiny is not known"), ("active_power_w", "active_power_w is not known")],
)
def test_a_cost_that_is_not_known_is_never_zero(key: str, words: str) -> None:
    document = random_task(4, apps=1).resolved()
    document["objective"] = {"minimise": "energy", "most_period_s": 1.0}
    document["devices"]["tiny"].pop(key)
    scenario = InferenceScenario.model_validate(document, strict=False)
    with pytest.raises(ProfileError, match=words):
        virtual_space(scenario)
