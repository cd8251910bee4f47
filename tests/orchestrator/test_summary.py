"""Figures of a run that are computed, not copied."""

from __future__ import annotations

import pytest

from hybridsplit.orchestrator.ledger_sums import bytes_agree
from hybridsplit.scenarios.contracts.ledger import LedgerEntry, Source
from hybridsplit.scenarios.contracts.phases import Phase

SENT = {("pi-0", 0): 100, ("pi-1", 0): 300, ("pi-0", 1): 100, ("pi-1", 1): 300}


def entries(source: Source, sent: dict[tuple[str, int], int]) -> list[LedgerEntry]:
    return [
        LedgerEntry(source, client, round_index, phase, 1.0, bytes=size if phase is Phase.UPLINK else 0)
        for (client, round_index), size in sent.items()
        for phase in (Phase.UPLINK, Phase.CLIENT_COMPUTE)
    ]


def agree(measured: dict[tuple[str, int], int], left_out: set[tuple[str, int]] | None = None) -> bool:
    sources = [(Source.PLANNED, SENT), (Source.REPLAYED, SENT), (Source.MEASURED, measured)]
    return bytes_agree([entry for source, sent in sources for entry in entries(source, sent)], left_out or set())


def test_bytes_agree_where_all_sources_count_the_same() -> None:
    assert agree(SENT)
    assert agree({}), "a replay measures nothing"


def test_a_client_that_did_not_count_in_a_round_is_not_compared_there() -> None:
    without = {key: size for key, size in SENT.items() if key != ("pi-1", 1)}
    assert agree(without, {("pi-1", 1)})
    assert not agree(without), "nobody said that it was left out"
    assert not agree(without, {("pi-1", 0)})


@pytest.mark.parametrize("key", sorted(SENT))
def test_one_byte_more_is_noticed(key: tuple[str, int]) -> None:
    assert not agree({**SENT, key: SENT[key] + 1})


def test_clients_that_send_each_others_bytes_are_noticed() -> None:
    """The totals are the same."""
    assert not agree({**SENT, ("pi-0", 0): 300, ("pi-1", 0): 100})
