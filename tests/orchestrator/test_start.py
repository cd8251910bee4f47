"""The page of ``--help``, and what is told while a command works."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from hybridsplit.orchestrator import console, start
from hybridsplit.orchestrator.cli import app


def test_the_page_of_help_says_what_the_command_line_is() -> None:
    group = typer.main.get_command(app)
    assert group.help == start.SUMMARY
    commands = {name: command.help.splitlines()[0] for name, command in group.commands.items()}  # type: ignore[attr-defined]
    assert list(start.COMMANDS.items()) == list(commands.items())
    context = typer.Context(group)
    options = {param.opts[0]: getattr(param, "help", None) for param in group.get_params(context)}
    assert options == start.OPTIONS


@pytest.mark.parametrize("width", [40, 80, 120])
def test_the_page_of_help_fits_its_width_and_loses_no_word(width: int) -> None:
    page = start.help_page(width)
    assert max(map(len, page.splitlines())) <= width + (20 if width == 40 else 0)
    for text in (start.SUMMARY, *start.COMMANDS.values(), *start.OPTIONS.values()):
        assert re.search(r"\s+".join(map(re.escape, text.split())), page)


def lines_of(capsys: pytest.CaptureFixture[str], work: Callable[[Callable[[str, float], None]], None]) -> list[str]:
    with console.progress_bar("profiling city") as show:
        work(show)
    captured = capsys.readouterr()
    assert not captured.out
    return captured.err.splitlines()


def test_off_a_terminal_there_is_a_line_where_something_begins_and_then_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)

    def work(show: Callable[[str, float], None]) -> None:
        nonlocal now_s
        show("loading", 0.0)
        show("building", 0.0)
        for cut in range(10):
            now_s += 1.0
            show(f"cut {cut + 1} of 10", (cut + 1) / 10)

    assert lines_of(capsys, work) == [
        "profiling city: loading",
        "profiling city: building",
        "profiling city: cut 3 of 10 (30% done)",
        "profiling city: cut 6 of 10 (60% done)",
        "profiling city: cut 9 of 10 (90% done)",
    ]


def test_first_use_says_what_it_does_on_stderr_and_keeps_stdout_one_document(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hybridsplit", "plan", "quickstart", "--json"],
        env={**os.environ, "HYBRIDSPLIT_CACHE": str(tmp_path)},
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert json.loads(done.stdout)["scenario"]["name"] == "quickstart"
    lines = done.stderr.splitlines()
    assert lines[0] == "profiling quickstart: looking for a kept profile"
    assert lines[1].startswith("profiling quickstart: loading PyTorch"), "told before it is imported"
    assert lines[-1] == "planning quickstart: optimal, 6 clients"


def test_every_cut_that_is_traced_is_counted() -> None:
    from hybridsplit.profiler.model_profile import profile_model
    from hybridsplit.testing.families import family_scenario

    shown: list[tuple[str, float]] = []
    profile_model(family_scenario("opt-causal"), lambda what, share: shown.append((what, share)))
    assert any(re.search(r"client memory of \S+ \(\d+ of \d+\), cut \d+ of \d+", what) for what, _ in shown)
    shares = [share for _, share in shown]
    assert shares == sorted(shares), "a bar that only grows"
    assert shares[-1] == 1.0


@pytest.mark.parametrize("error", [SystemError, RuntimeError])
def test_a_termination_that_other_code_has_wrapped_is_one(
    error: type[Exception], capsys: pytest.CaptureFixture[str]
) -> None:
    @console.reports_errors
    def wraps() -> None:
        try:
            raise console._TerminatedError
        except BaseException as behind:
            raise error("returned a result with an exception set") from behind

    with pytest.raises(typer.Exit) as caught:
        wraps()
    assert caught.value.exit_code == 143
    assert capsys.readouterr().err == "terminated\n"


@pytest.mark.parametrize(("command", "has_advice"), [("run", True), ("plan", False), ("compare", False)])
def test_an_interrupt_ends_with_130_and_only_a_run_can_be_resumed(
    command: str, has_advice: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    interrupted.__name__ = command
    with pytest.raises(typer.Exit) as caught:
        console.reports_errors(interrupted)()
    assert caught.value.exit_code == 130
    said = capsys.readouterr().err
    assert said.startswith("interrupted")
    assert ("--resume" in said) is has_advice
