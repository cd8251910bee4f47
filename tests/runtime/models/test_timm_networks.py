"""Networks of timm by name: they are cut as any traced model, come out as they went in, and no weights are fetched."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import hybridsplit as hs
from hybridsplit.profiler.models import traced_model
from hybridsplit.runtime.data.sources import whole_model
from hybridsplit.runtime.models.saved import save_trained
from hybridsplit.runtime.split.parts import SplitModel, task_loss
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.testing.families import family_scenario

WHERE_ABSENT = "needs pip install 'hybridsplit[timm]'"
NETWORKS: dict[str, dict[str, Any]] = {
    "resnet10t": {"layers": [1, 1, 1, 1], "channels": [4, 4, 8, 8], "stem_width": 4},
    "mobilenetv3_small_050": {},
    "efficientformer_l1": {"depths": [1, 1, 1, 2], "embed_dims": [8, 8, 16, 16], "img_size": 224},
    "vit_tiny_patch16_224": {"img_size": 32, "depth": 2, "embed_dim": 24, "num_heads": 2, "drop_path_rate": 0.5},
}
"""Small settings of networks of several kinds."""


def of_timm(name: str, **more: Any) -> Scenario:
    """A scenario of a network on grey images."""
    arguments = {**NETWORKS.get(name, {}), "in_chans": 1}
    config = {"model_type": "timm_wrapper", "architecture": name, "num_labels": 10, "model_args": arguments}
    side = 224 if name.startswith("efficientformer") else 32
    return hs.load(
        family_scenario("vit").resolved(),
        **{"model": {"task": "image-classification", "config": config}, "data.image_size": side, **more},
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_every_cut_computes_and_trains_as_the_uncut_network(name: str) -> None:
    pytest.importorskip("timm", reason=WHERE_ABSENT)
    scenario = of_timm(name)
    side = scenario.data.image_size  # type: ignore[attr-defined]
    images = torch.randn(2, 1, side, side, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([3, 7])
    whole, blocks = whole_model(scenario)
    split = SplitModel(blocks)
    own = [p for _, p in split.whole.trainable()]
    split.whole.eval()  # normalised over few values, gradients of a fresh network would be of any size
    start = split.whole.snapshot()
    expected = torch.autograd.grad(task_loss(whole(pixel_values=images).logits, labels, "image-classification"), own)
    assert split.num_blocks > 2
    for cut in range(1, split.num_blocks, max(1, split.num_blocks // 4)):
        split.whole.load(start)
        h = split.client_part(cut)(images)
        found = torch.autograd.grad(task_loss(split.server_part(cut)(h), labels, "image-classification"), own)
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet10t", "vit_tiny_patch16_224"])
def test_a_trained_network_loads_as_it_computes(name: str, tmp_path: Path) -> None:
    pytest.importorskip("timm", reason=WHERE_ABSENT)
    scenario = of_timm(name)
    model, blocks = whole_model(scenario)
    split = SplitModel(blocks)
    split.whole.load({key: tensor + 0.05 for key, tensor in split.whole.exchanged().items()})
    images = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        expected = split.whole.eval()(images)
        loads_with = save_trained(model.eval(), scenario, tmp_path, [f"digit {i}" for i in range(10)])
        loaded = eval(loads_with, {"transformers": transformers, "folder": str(tmp_path)}).eval()
        assert torch.equal(loaded(pixel_values=images).logits, expected)
    assert loaded.config.id2label[3] == "digit 3"


def test_stochastic_depth_is_off() -> None:
    """Steps repeat, and modes compare."""
    pytest.importorskip("timm", reason=WHERE_ABSENT)
    whole, _ = whole_model(of_timm("vit_tiny_patch16_224"))
    rates = [m.drop_prob for m in whole.modules() if type(m).__name__ == "DropPath"]
    assert rates
    assert not any(rates)


def test_profiling_fetches_no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a network with its published weights shapes are enough; it is running that fetches them."""
    pytest.importorskip("timm", reason=WHERE_ABSENT)
    from timm.models import _builder

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("weights are asked for")

    monkeypatch.setattr(_builder, "load_pretrained", refuse)
    arguments = {"model_name": "resnet18", "pretrained": True, "num_classes": 10, "in_chans": 1}
    model = {"task": "image-classification", "python": "timm:create_model", "arguments": arguments}
    scenario = hs.load(family_scenario("vit").resolved(), model=model)
    assert traced_model(scenario).model.num_blocks == 10
    with pytest.raises((ScenarioError, AssertionError), match="weights are asked for"):
        whole_model(scenario)


@pytest.mark.parametrize(("name", "says"), [
    ("resnet81", "model.config.architecture: found 'resnet81', which timm .* does not have; .*such as resnet"),
    (None, "model.config.architecture: is needed"),
])  # fmt: skip
def test_a_name_that_timm_does_not_have_is_refused(name: str | None, says: str) -> None:
    pytest.importorskip("timm", reason=WHERE_ABSENT)
    config = {"model_type": "timm_wrapper", "num_labels": 10} | ({} if name is None else {"architecture": name})
    with pytest.raises(ScenarioError, match=says):
        traced_model(of_timm("resnet10t", **{"model.config": config}))


def test_where_timm_is_absent_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ScenarioError, match=r"needs the package timm: pip install 'hybridsplit\[timm\]'"):
        traced_model(of_timm("resnet10t"))


def test_images_have_the_channels_of_the_network() -> None:
    """Three unless ``in_chans`` says otherwise: digits of one channel are repeated."""
    pytest.importorskip("timm", reason=WHERE_ABSENT)
    from hybridsplit.runtime.data.sources import load_dataset

    config = {"model_type": "timm_wrapper", "architecture": "resnet10t", "num_labels": 10}
    assert load_dataset(of_timm("resnet10t", **{"model.config": config})).train.inputs.shape[1] == 3
    assert load_dataset(of_timm("resnet10t")).train.inputs.shape[1] == 1
