"""What the benchmark of real packets counts by; it needs root, and is not run here."""

from __future__ import annotations

import os
import sys

import pytest

from benchmarks import packet_links, real_packets
from benchmarks.packet_links import HEADER_BYTES, SEGMENT_BYTES, wire_bytes
from hybridsplit.scenarios.contracts.phases import Phase
from tests.runtime.replay.conftest import make_client


def test_every_segment_has_one_header() -> None:
    assert wire_bytes(1) == 1 + HEADER_BYTES
    assert wire_bytes(SEGMENT_BYTES) == SEGMENT_BYTES + HEADER_BYTES
    assert wire_bytes(SEGMENT_BYTES + 1) == SEGMENT_BYTES + 1 + 2 * HEADER_BYTES


def test_transfers_carry_every_byte_of_the_plan() -> None:
    client = make_client("pi-0", 1, uplink_bytes=1_000_007, model_upload_bytes=250_000, model_download_bytes=0)
    sizes = list(real_packets.sizes_of(client, 4))
    for phase in (Phase.MODEL_DOWNLOAD, Phase.UPLINK, Phase.DOWNLINK, Phase.MODEL_UPLOAD):
        assert sum(size for one, size in sizes if one is phase) == client.phase_bytes(phase)
    assert [phase for phase, _ in sizes] == [Phase.UPLINK, Phase.DOWNLINK] * 4 + [Phase.MODEL_UPLOAD]


def test_it_says_where_it_cannot_measure(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(packet_links.os, "geteuid", lambda: os.getpid() + 1, raising=False)
    monkeypatch.setattr(sys, "argv", ["real_packets"])
    with pytest.raises(SystemExit) as stopped:
        real_packets.main()
    assert stopped.value.code == 2
    assert "cannot be measured here: " in capsys.readouterr().out


def test_clients_of_one_kind_are_sent_once() -> None:
    alike = [make_client(f"pi-{index}", 3) for index in range(3)]
    other = make_client("nano-0", 3, cut=5)
    assert [one.id for one in real_packets.different([*alike, other], 9)] == ["pi-0", "nano-0"]
    assert [one.id for one in real_packets.different([*alike, other], 1)] == ["pi-0"]
