"""The scenario of every model: what of the scenario's own model a variant replaces."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from hybridsplit.orchestrator.search.candidates import candidates_of, scenario_with
from hybridsplit.scenarios.errors import UsageError
from hybridsplit.scenarios.loader import builtin_text, load_scenario, scenario_of_values
from hybridsplit.scenarios.model_variants import named_models
from hybridsplit.scenarios.schema import Scenario


def variant_of(model: dict[str, Any], **variant: Any) -> tuple[Scenario, Scenario]:
    """Return a scenario and that of its one variant."""
    document = yaml.safe_load(builtin_text("quickstart")) | {"model": model, "variants": [{"variant": "v", **variant}]}
    whole = scenario_of_values(document, {})
    (named,) = named_models(whole.model, whole.variants)
    return whole, scenario_with(whole, named)


def test_keys_of_a_configuration_are_replaced_and_then_scaled() -> None:
    config = {"model_type": "mobilevit", "conv_kernel_size": 3, "num_channels": 1, "image_size": 64}
    whole, own = variant_of(
        {"task": "image-classification", "config": config}, config={"conv_kernel_size": 5}, kernel=0.6
    )
    assert own.model.config == {**config, "conv_kernel_size": 3}
    assert whole.model.config == config
    assert own.name == "quickstart-v"
    assert own.variants == ()
    assert own.clients == whole.clients


def test_arguments_of_a_model_of_ones_own_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("")
    stated = {
        "task": "image-classification",
        "python": f"{tmp_path}/net.py:make",
        "arguments": {"width": 8, "depth": 2},
    }
    _, own = variant_of(stated, arguments={"depth": 3})
    assert own.model.arguments == {"width": 8, "depth": 3}


def test_another_checkpoint_is_found_beside_the_scenario(tmp_path: Path) -> None:
    for name in ("large", "small"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"model_type": "resnet"}))
    document = yaml.safe_load(builtin_text("quickstart"))
    document["model"] = {"task": "image-classification", "checkpoint": "large"}
    document["variants"] = [{"variant": "v", "checkpoint": "small"}]
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(document))
    whole = load_scenario(str(tmp_path / "s.yaml"))
    (named,) = named_models(whole.model, whole.variants)
    assert scenario_with(whole, named).model.checkpoint == str(tmp_path / "small")


def test_constants_of_one_models_pilots_say_nothing_of_another() -> None:
    whole = load_scenario("quickstart", ["variants=[{variant: v, width: 0.5}]"])
    pilot = {
        "formula": 2, "target_accuracy": 0.8, "rounds": 5, "batch_noise": 0.5,
        "untrained_clients": 0.3, "untrained_blocks": 0.3,
        "estimate_noise": 0.2, "num_pilots": 6, "held_out_error": 0.1, "block_share": [1, 0, 0, 0, 0, 0, 0],
    }  # fmt: skip
    values = whole.resolved()
    values["objective"] |= {"minimise": "time-to-target", "pilot": pilot}
    with pytest.raises(UsageError, match="time-to-target rests on pilots of one model"):
        candidates_of(scenario_of_values(values, {}), "optimal", scores=False)
