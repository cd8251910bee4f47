"""Units: one module parses and prints them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridsplit.scenarios import units
from hybridsplit.scenarios.errors import UnitError


@pytest.mark.parametrize(
    ("dimension", "text", "value"),
    [
        (units.BYTES, "512 MiB", 512 * 2**20),
        (units.BYTES, "8 GB", 8e9),
        (units.BYTES, "1.5KiB", 1536),
        (units.BYTES, 4096, 4096),
        (units.HERTZ, "20 MHz", 20e6),
        (units.BITS_PER_SECOND, "30 Mbit/s", 30e6),
        (units.BITS_PER_SECOND, "1 kbps", 1000),
        (units.SECONDS, "250 ms", 0.25),
        (units.WATTS, "7.2 W", 7.2),
        (units.FLOPS_PER_SECOND, "1.88 TFLOP/s", 1.88e12),
        (units.BYTES_PER_SECOND, "25.6 GB/s", 25.6e9),
    ],
)
def test_parses(dimension: units.Dimension, text: object, value: float) -> None:
    assert dimension.parse(text) == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize(
    ("dimension", "text", "hint"),
    [
        (units.BYTES, "30 Mbit/s", "measures a link rate"),
        (units.HERTZ, "20 mhz", "did you mean 'MHz'"),
        (units.BYTES, "much", "512 MiB"),
        (units.BYTES, "1_ KiB", "whose unit '_ KiB' is not one of"),
        (units.BYTES, "1__0 KiB", "whose unit '__0 KiB' is not one of"),
        (units.BYTES, "1.5.5 KiB", "whose unit '.5 KiB'"),
        (units.BYTES, "\u0661 KiB", "512 MiB"),
        (units.BYTES, [1, 2], r"found \[1, 2\]"),
        (units.BYTES, "1 " + "x" * 100_000, r"'1 x+\.\.\., whose unit 'x+\.\.\. is"),
        (units.BYTES, "1 a" + " " * 100_000 + "b", "whose unit 'a"),
        (units.HERTZ, 10**5000, "a number of about 5000 digits"),
        (units.BYTES, True, "512 MiB"),
        (units.BYTES, None, "512 MiB"),
        (units.BITS_PER_SECOND, "30 MB", "measures an amount of memory"),
    ],
    ids=itertools.count(),
)
def test_refuses_with_a_hint(dimension: units.Dimension, text: object, hint: str) -> None:
    with pytest.raises(UnitError, match=hint):
        dimension.parse(text)


@given(st.floats(min_value=1, max_value=1e15))
def test_printed_bytes_parse_back(size_bytes: float) -> None:
    assert units.BYTES.parse(units.format_bytes(size_bytes)) == pytest.approx(size_bytes, rel=0.006, abs=0.5)


@given(st.floats(min_value=1e-6, max_value=599))
def test_printed_seconds_parse_back(duration_s: float) -> None:
    printed = units.format_seconds(duration_s).replace("µ", "u")
    assert units.SECONDS.parse(printed) == pytest.approx(duration_s, rel=0.006)


@pytest.mark.parametrize(
    ("rendered", "expected"),
    [
        (units.format_bytes(1536), "1.50 KiB"),
        (units.format_bytes(3 * 2**30), "3.00 GiB"),
        (units.format_bytes(7), "7 B"),
        (units.format_rate(30e6), "30.0 Mbit/s"),
        (units.format_hertz(20e6), "20 MHz"),
        (units.format_seconds(0.0456), "45.6 ms"),
        (units.format_seconds(0), "0 s"),
        (units.format_seconds(float("nan")), "-"),
        (units.format_flops(1.2e9), "1.2 GFLOP"),
    ],
)
def test_rendered_units(rendered: str, expected: str) -> None:
    assert rendered == expected


@given(st.integers(min_value=0, max_value=2**60))
def test_a_byte_has_eight_bits(size_bytes: int) -> None:
    assert units.bits(size_bytes) == 8 * size_bytes
