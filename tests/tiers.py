"""Which tests run every time, and which in the slow tier (``make test-slow``).

A case is slow where its decorator says so, or where ``slow_tests.txt`` names it: those that took longest when all were
measured. To measure anew, run the tests with ``--junitxml=report.xml`` and then ``python -m tests.tiers report.xml``,
which adds those that took longer than ``--over`` seconds.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parent.parent
SLOW_TESTS = Path(__file__).with_name("slow_tests.txt")
OVER_S = 3.0
"""Seconds from which on a test is slow by default."""


def slow_tests() -> frozenset[str]:
    """Return the ids of the tests that ``slow_tests.txt`` names."""
    return frozenset(SLOW_TESTS.read_text(encoding="utf-8").splitlines())


def took_longer(report: Path, over_s: float) -> set[str]:
    """Return the ids of the tests of a report that took longer than some seconds, fixtures included."""
    cases = ElementTree.parse(report).iter("testcase")
    return {_id(case.attrib["classname"], case.attrib["name"]) for case in cases if float(case.attrib["time"]) > over_s}


def _id(classname: str, name: str) -> str:
    """Return the id that pytest gives a test, from what a report says of it."""
    parts = classname.split(".")
    for length in range(len(parts), 0, -1):
        file = Path(*parts[:length]).with_suffix(".py")
        if (ROOT / file).is_file():
            return "::".join([file.as_posix(), *parts[length:], name])
    raise ValueError(f"{classname}: no file of tests has this name")


def main() -> None:
    """Add the tests of a report that took long."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("report", type=Path, help="written by pytest --junitxml")
    parser.add_argument("--over", type=float, default=OVER_S, metavar="SECONDS")
    arguments = parser.parse_args()
    named = sorted(slow_tests() | took_longer(arguments.report, arguments.over))
    SLOW_TESTS.write_text("".join(f"{one}\n" for one in named), encoding="utf-8")
    print(f"{len(named)} tests are named in {SLOW_TESTS.relative_to(ROOT)}")


def one_of(number: int, values: Iterable[Any]) -> list[Any]:
    """Return the values, all but one of so many marked slow, the first one of each stretch not.

    Parameters
    ----------
    number
        Length of a stretch.
    values
        The values of a parameter.
    """
    return [
        value if place % number == 0 else pytest.param(value, marks=pytest.mark.slow)
        for place, value in enumerate(values)
    ]


def one_row_of(number: int, rows: Iterable[tuple[Any, ...]]) -> list[Any]:
    """Return rows of several parameters as :func:`one_of` does values of one.

    Parameters
    ----------
    number, rows
        Length of a stretch, and a tuple of values for every case.
    """
    return [
        row if place % number == 0 else pytest.param(*row, marks=pytest.mark.slow) for place, row in enumerate(rows)
    ]


if __name__ == "__main__":
    main()
