"""Bytes on air: what crosses is counted, nothing crosses twice, and the cost model says the same."""

from __future__ import annotations

import itertools

import pytest
import torch

from hybridsplit.runtime.estimators import make_estimator
from hybridsplit.runtime.session.row_ids import needs_row_ids
from hybridsplit.runtime.session.steps import run_step
from hybridsplit.runtime.split.link import Batch, CountingLink, MeteredLink, Traffic
from hybridsplit.runtime.split.live_bytes import LiveBytes
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.modes import MODES, StepSizes
from hybridsplit.testing.families import FAMILIES, family_batch
from tests.modes import LOCAL_MODES, ZEROTH_ORDER_MODES
from tests.runtime.steps import KEY, Sides
from tests.tiers import one_of

SETTINGS = [
    *(
        (Mode.ZO_LOSS, {"loss_sides": sides, "anchor": anchor})
        for sides, anchor in itertools.product(("one", "two"), ("clean", "first-plus", "all-plus"))
    ),
    *((Mode.ZO_PROJECTION, {"projection_sides": sides}) for sides in ("one", "two")),
    (Mode.ZO_PROJECTION, {"derivative": "forward-mode"}),
    *((mode, {}) for mode in (Mode.FO, Mode.FO_RECOMPUTE, Mode.FROZEN)),
]
A = 1 << 20


@pytest.mark.parametrize(("mode", "settings"), SETTINGS)
@pytest.mark.parametrize("family", one_of(3, FAMILIES))
def test_bytes_on_air_are_those_of_the_cost_model(family: str, mode: Mode, settings: dict[str, object]) -> None:
    """Whichever side holds the labels, padded or not, under a memory meter or not."""
    for holder, padded, meter in (("client", False, None), ("client", True, LiveBytes()), ("server", True, None)):
        sides = Sides.of(family, label_holder=holder, zeroth_order={"directions": 3, **settings})
        batch = family_batch(sides.scenario, padded=padded)
        part, traffic = sides.part(), Traffic()
        row_ids = needs_row_ids(part, mode, labels_name_rows=sides.scenario.model.task == "causal-lm")
        link = CountingLink(sides.server(), traffic, row_ids, labels_cross=holder == "client")
        estimator = make_estimator(mode, part, sides.scenario.training)
        with torch.no_grad():
            smashed = part(batch.inputs, batch.mask_BS)
        run_step(estimator, batch, link, KEY, meter)
        estimator.close()
        sizes = StepSizes(
            size_of(smashed),
            size_of(batch.mask_BS) + (size_of(batch.labels) if holder == "client" else 0),
            batch.inputs.numel() * 4 if row_ids else 0,
        )
        found = MODES[mode].step_bytes(sizes, sides.scenario.training.zeroth_order, client_trains=True)
        assert traffic.bytes_by_phase[Phase.UPLINK] == found.uplink
        assert traffic.bytes_by_phase[Phase.DOWNLINK] == found.downlink


def size_of(tensor: torch.Tensor | None) -> int:
    return 0 if tensor is None else tensor.numel() * tensor.element_size()


@pytest.mark.parametrize(
    ("mode", "settings", "uplink", "downlink"),
    [
        # docs/methods/training-modes.md, What crosses per step, with Q = P = 3, A = 1 MiB and 100 bytes of labels
        (Mode.FO, {}, A + 100, A),
        (Mode.ZO_PROJECTION, {}, A + 100 + 12, A + 24),
        (Mode.ZO_PROJECTION, {"projection_sides": "two"}, A + 100 + 12, A + 24),
        (Mode.ZO_LOSS, {}, 7 * A + 100, 6 * 4),
        (Mode.ZO_LOSS, {"anchor": "first-plus"}, 6 * A + 100, 6 * 4),
        (Mode.ZO_LOSS, {"anchor": "all-plus"}, 6 * A + 100, 6 * 4),
        (Mode.ZO_LOSS, {"loss_sides": "one"}, 4 * A + 100, 4 * 4),
        (Mode.ZO_LOSS, {"loss_sides": "one", "anchor": "first-plus"}, 4 * A + 100, 4 * 4),
        (Mode.FROZEN, {}, A + 100, 0),
    ],
)
def test_the_table_of_the_methods(mode: Mode, settings: dict[str, object], uplink: int, downlink: int) -> None:
    zeroth_order = Sides.of("vit", zeroth_order={"directions": 3, **settings}).scenario.training.zeroth_order
    rows = 7 if mode in ZEROTH_ORDER_MODES else 0
    sizes = StepSizes(A, 100, rows)
    found = MODES[mode].step_bytes(sizes, zeroth_order, client_trains=True)
    assert (found.uplink, found.downlink) == (uplink + rows, downlink)
    if mode in LOCAL_MODES:
        local = MODES[mode].bytes_without_server(sizes, zeroth_order)
        assert (local.uplink, local.downlink) == (12 + 7 if mode == Mode.ZO_LOSS else 0, 0)


def test_what_the_server_keeps_is_not_the_clients_memory() -> None:
    """With ``all-plus`` the server holds every positive probe; the client's peak is that of one."""
    peaks = []
    for anchor in ("clean", "all-plus"):
        sides = Sides.of("vit", zeroth_order={"directions": 8, "anchor": anchor})
        meter = LiveBytes()
        run_step(sides.estimator(Mode.ZO_LOSS), sides.batch, CountingLink(sides.server(), Traffic()), KEY, meter)
        peaks.append(meter.peak_bytes)
    assert peaks[0] == peaks[1]


def test_labels_cross_once_a_step() -> None:
    sides = Sides.of("bert")
    traffic = Traffic()
    link = MeteredLink(CountingLink(sides.server(), traffic), LiveBytes())
    batch = Batch(sides.batch.inputs, sides.batch.labels)
    sent = []
    for _ in range(2):
        link.begin_step(KEY)
        with torch.no_grad():
            for _ in range(2):
                before = traffic.bytes_by_phase[Phase.UPLINK]
                link.probe(torch.zeros(8, 12, 16), batch)
                sent.append(traffic.bytes_by_phase[Phase.UPLINK] - before)
    a_bytes, label_bytes = 8 * 12 * 16 * 4, batch.labels.numel() * 8
    assert sent == [a_bytes + label_bytes, a_bytes] * 2
