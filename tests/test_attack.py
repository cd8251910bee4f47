"""A short version of ``python -m benchmarks.attack``: nothing altered is believed, nothing ends unexpectedly."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from benchmarks.attack import cache, files, kills, messages
from benchmarks.attack.alterations import of_bytes, of_json
from benchmarks.attack.tally import Said, Tally
from hybridsplit.scenarios.contracts.sealed import DIGEST, digest_of, sealed


def test_every_alteration_alters_and_only_a_forger_fits_the_digest() -> None:
    document = sealed(
        {"schema_version": 1, "seconds": 0.5, "names": ["a", "b"], "inner": {"is_on": True, "none": None}}
    )
    text = json.dumps(document)
    for forged in (False, True):
        found = list(of_json(text, seal=forged))
        assert len(found) > 20
        for one in found:
            altered = json.loads(one.content)
            assert altered != document, one.what
            fits = altered.get(DIGEST) == digest_of(altered)
            assert fits is forged, one.what
    assert all(one.content != text.encode() for one in of_bytes(text.encode(), random.Random(0), 50))


@pytest.mark.parametrize(
    ("code", "stderr", "refused"),
    [(2, "error: x", True), (0, "error: x", False), (1, "error: x", False), (4, "unexpected error: x", False)],
)
def test_a_refusal_is_a_planned_exit_with_a_message(code: int, stderr: str, refused: bool) -> None:
    assert Said(code, "", stderr).is_refused is refused


def test_one_bad_case_fails_a_section(capsys: pytest.CaptureFixture[str]) -> None:
    tally = Tally("some")
    tally.add("refused", "a", bad=False)
    assert tally.report()
    tally.add("believed", "b", bad=True)
    assert not tally.report()
    assert "2 tried, 1 refused, 1 believed" in capsys.readouterr().out


@pytest.mark.slow
def test_no_altered_file_is_believed(tmp_path: Path) -> None:
    assert files.attack(tmp_path, 2, 3)


@pytest.mark.slow
def test_no_altered_profile_is_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYBRIDSPLIT_CACHE", str(tmp_path / "cache"))
    assert cache.attack(tmp_path, 4, 3)


def test_trials_that_stand_in_a_results_file_are_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[int] = []

    def pretend(trial: kills.Trial, scratch: Path, wanted: Callable[[str], str]) -> kills.Trial:
        made.append(trial.number)
        return replace(trial, verdict="hangs" if trial.number == 1 else "went on", is_bad=trial.number == 1)

    monkeypatch.setattr(kills, "_carried_out", pretend)
    results = tmp_path / "results.jsonl"
    assert kills.attack(tmp_path, 1, 5, results)
    assert not kills.attack(tmp_path, 3, 5, results)
    assert not kills.attack(tmp_path, 3, 5, results)
    assert made == [0, 1, 2]
    assert kills.attack(tmp_path, 1, 6, results), "trials of another seed are others"
    assert "3 tried, 2 went on, 1 hangs" in capsys.readouterr().out


def test_trials_reach_every_kind_of_process_at_every_stage() -> None:
    trials = [kills.Trial.of(0, number) for number in range(len(kills.KINDS) * len(kills.STAGES_S))]
    assert {(one.kind, one.stage) for one in trials} == set(product(kills.KINDS, range(len(kills.STAGES_S))))
    ends_s = (*kills.STAGES_S[1:], kills.LAST_STAGE_ENDS_S)
    assert all(kills.STAGES_S[one.stage] <= one.after_s <= ends_s[one.stage] for one in trials)


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ("x: data.alpha: unknown key 'alpha'; did you mean 'alpha'?", "advises what was given"),
        ("x: data.alpha: found []; tuple should have at least 1 item", "technical words"),
        ("x: a date is no plain value", "names no key"),
        (f"x: data.alpha: found '{'x' * 300}'; needs a number", "quotes at length"),
        ("Traceback: KeyError: alpha", "unexpected"),
    ],
)
def test_a_message_that_helps_nobody_is_a_fault(said: str, fault: str) -> None:
    assert list(messages.faults_of(said, "data.alpha")) == [fault]
    assert list(messages.faults_of("x: data.alpha: found 3; needs a number below 1", "data.alpha")) == []


def test_messages_name_the_key_in_plain_words(tmp_path: Path) -> None:
    assert messages.attack(tmp_path, 5, 7)
