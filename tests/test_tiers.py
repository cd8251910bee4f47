"""The list of slow tests names tests that there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import tiers


def test_slow_tests_exist_and_are_in_order() -> None:
    named = tiers.SLOW_TESTS.read_text(encoding="utf-8").splitlines()
    assert named == sorted(set(named))
    for one in named:
        file, *_, name = one.partition("[")[0].split("::")
        assert f"def {name}(" in _text(file), f"{one}: there is no such test any more: remove the line"


def _text(file: str) -> str:
    own = (tiers.ROOT / file).read_text(encoding="utf-8")
    # Contracts are classes of the package, which a file here names.
    shipped = (tiers.ROOT / "src" / "hybridsplit" / "testing").glob("*.py")
    return own + "".join(path.read_text(encoding="utf-8") for path in shipped)


def test_a_report_names_what_took_long(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(
        "<testsuites><testsuite>"
        '<testcase classname="tests.test_tiers" name="test_a[x-1]" time="3.5"/>'
        '<testcase classname="tests.contracts.test_modes.Test_fo" name="test_b" time="4"/>'
        '<testcase classname="tests.test_tiers" name="test_c" time="0.5"/>'
        "</testsuite></testsuites>",
        encoding="utf-8",
    )
    expected = {"tests/test_tiers.py::test_a[x-1]", "tests/contracts/test_modes.py::Test_fo::test_b"}
    assert tiers.took_longer(report, 3.0) == expected
    report.write_text('<testsuite><testcase classname="nowhere.at_all" name="a" time="9"/></testsuite>')
    with pytest.raises(ValueError, match="no file of tests"):
        tiers.took_longer(report, 3.0)
