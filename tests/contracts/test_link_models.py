"""The contract over every link model that ships."""

from __future__ import annotations

import numpy as np
import pytest

from hybridsplit.scenarios.sections.network import LINK_MODELS
from hybridsplit.solver.problem.links import FixedUplink, UplinkWork
from hybridsplit.solver.problem.shannon_link import ShannonUplink
from hybridsplit.testing import LinkModelContract

SIZE = 64


class TestFixed(LinkModelContract):
    link = {"uplink_bps_per_hz": 2.0, "downlink_bps_per_hz": 4.0}
    radio = {"link_model": "fixed", "uplink_hz": "5 MHz"}

    def uplinks(self, seed: int) -> UplinkWork:
        return FixedUplink(10 ** np.random.default_rng(seed).uniform(-6, 6, SIZE))


class TestShannon(LinkModelContract):
    link = {"path_gain_db": -100.0, "downlink_bps_per_hz": 4.0, "transmit_power_dbm": 20.0}
    radio = {"link_model": "shannon", "uplink_hz": "5 MHz"}

    def uplinks(self, seed: int) -> UplinkWork:
        rng = np.random.default_rng(seed)
        return ShannonUplink(10 ** rng.uniform(-6, 6, SIZE), 10 ** rng.uniform(-1, 7, SIZE))


@pytest.mark.parametrize("name", list(LINK_MODELS))
def test_every_model_of_ours_is_tested(name: str) -> None:
    tested = {kind.radio["link_model"] for kind in (TestFixed, TestShannon)}
    assert name in tested or not LINK_MODELS[name].__module__.startswith("hybridsplit.")
