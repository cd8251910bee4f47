"""What hybridsplit asks of a plug-in, and what is particular to this one."""

import torch
from hybridsplit_example.mobilenet_v2 import Layer

from hybridsplit.runtime.models.build import build_blocks, build_model
from hybridsplit.runtime.models.configuration import model_config
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.testing import DataSourceContract, LinkModelContract, ModeContract, StrategyContract


class TestLeastMemory(StrategyContract):
    strategy = "least-memory"


class TestSignSteps(ModeContract):
    mode = "fo-sign"


class TestCheckerboards(DataSourceContract):
    section = {"source": "checkerboards", "image_size": 16, "num_samples": 200}


class TestLogDistance(LinkModelContract):
    link = {"distance_m": 400.0, "downlink_bps_per_hz": 2.0}
    radio = {"link_model": "log-distance", "uplink_hz": "5 MHz"}


def test_blocks_in_order_are_the_model():
    config = "{model_type: mobilenet_v2, num_channels: 1, num_labels: 10, image_size: 16, depth_multiplier: 0.2}"
    scenario = load_scenario("quickstart", [f"model.config={config}"])
    blocks = build_blocks(scenario)
    model = build_model(scenario, model_config(scenario.model), meta=False).eval()
    assert isinstance(blocks[0], Layer)
    images = x = torch.randn(4, 1, 16, 16)
    for block in blocks:
        x = block.eval()(x, None)
    torch.testing.assert_close(x, model(images).logits)
