"""What a real device sees of its memory, and the recording that comes of it."""

from __future__ import annotations

from pathlib import Path

from hybridsplit.runtime.replay.memory_files import load_memory
from hybridsplit.runtime.run.memory_seen import add_memory_seen
from hybridsplit.runtime.session.available_memory import available_bytes
from hybridsplit.runtime.split.reports import ClientReport
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.contracts.placement import Placement


def test_linux_says_it_in_kib(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  8000000 kB\nMemFree: 100 kB\nMemAvailable:    2048 kB\n", encoding="ascii")
    assert available_bytes(meminfo) == 2048 * 1024


def test_where_linux_does_not_say_it_another_way_or_none_is_taken(tmp_path: Path) -> None:
    found = available_bytes(tmp_path / "nothing")
    assert found is None or found > 0


def test_rounds_are_joined_into_a_recording_that_a_scenario_can_name(tmp_path: Path) -> None:
    def report(client: str, seen: tuple[tuple[float, int], ...]) -> ClientReport:
        who = Assignment(client, Placement(cut=1, mode=Mode.FO, batch_size=8), 0.5, 1 << 30)
        return ClientReport(who, 0.0, {}, {}, memory_seen=seen)

    folder = tmp_path / "memory"
    began_s = 1_750_000_000.0
    add_memory_seen(folder, [report("phone-0", ((began_s, 4096), (began_s + 0.5, 2048))), report("pi-0", ())])
    add_memory_seen(folder, [report("phone-0", ((began_s + 2.0, 8192),))])
    assert [path.name for path in folder.iterdir()] == ["phone-0.csv"]
    trace = load_memory(folder / "phone-0.csv")
    assert trace.budget_bytes == (4096, 2048, 8192)
    assert trace.durations_s[:2] == (0.5, 1.5)
