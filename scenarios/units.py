"""The one place where units are parsed and printed.

Amounts of memory are bytes (binary prefixes when printed), link rates are bits a second (SI prefixes), bandwidth is
hertz. Nothing else in the package multiplies by 8 or by 1024.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from hybridsplit.scenarios.errors import UnitError
from hybridsplit.scenarios.shown import shown

BITS_PER_BYTE = 8
KIB = 1024
MIB = 1024**2
GIB = 1024**3

_NUMBER = re.compile(r"[+-]?(?:\d+(?:_\d+)*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True)
class Dimension:
    """A kind of quantity with its accepted unit spellings.

    Parameters
    ----------
    name
        What the quantity is, for messages.
    base
        The unit a bare number is taken in; also the suffix convention of the field names.
    factors
        Unit spelling to the factor that turns it into the base unit.
    example
        A valid value, for messages.
    """

    name: str
    base: str
    factors: Mapping[str, float]
    example: str

    def parse(self, value: object) -> float:
        """Turn text such as ``"20 MHz"``, or a bare number in the base unit, into a number in the base unit.

        Raises
        ------
        UnitError
            If the text has no number, an unknown unit, or a unit of another dimension.
        """
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise UnitError(f"found {shown(value)}; needs {self.name} such as {self.example!r}")
        if isinstance(value, (int, float)):
            try:
                return float(value)
            except OverflowError:
                raise UnitError(f"found {shown(value)}; needs {self.name}") from None
        text = value.strip()
        match = _NUMBER.match(text)
        if match is None:
            raise UnitError(f"found {shown(value)}; needs {self.name} such as {self.example!r}")
        number, unit = match[0], text[match.end() :].lstrip()
        if unit == "":
            return float(number)
        if unit not in self.factors:
            raise UnitError(
                f"found {shown(value)}, whose unit {shown(unit)} is not one of {', '.join(self.factors)}; "
                f"needs {self.name} such as {self.example!r}{_other_dimension_hint(unit, self)}"
            )
        return float(number) * self.factors[unit]


def _si(base: str, prefixes: str) -> dict[str, float]:
    exponents = {"": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "m": -3, "u": -6}
    return {f"{prefix}{base}": 10.0 ** exponents[prefix] for prefix in ["", *prefixes]}


BYTES = Dimension(
    "an amount of memory",
    "B",
    {
        "B": 1,
        "KiB": KIB,
        "MiB": MIB,
        "GiB": GIB,
        "TiB": 1024**4,
        **{k: v for k, v in _si("B", "kMGT").items() if k != "B"},
    },
    "512 MiB",
)
HERTZ = Dimension("a bandwidth", "Hz", _si("Hz", "kMG"), "20 MHz")
BITS_PER_SECOND = Dimension("a link rate", "bit/s", {**_si("bit/s", "kMGT"), **_si("bps", "kMGT")}, "30 Mbit/s")
SECONDS = Dimension("a time", "s", {**_si("s", "mu"), "min": 60.0, "h": 3600.0}, "1.5 s")
WATTS = Dimension("a power", "W", _si("W", "mk"), "15 W")
FLOPS_PER_SECOND = Dimension("a compute rate", "FLOP/s", _si("FLOP/s", "kMGTP"), "1.88 TFLOP/s")
BYTES_PER_SECOND = Dimension("a memory bandwidth", "B/s", _si("B/s", "kMGT"), "25.6 GB/s")

_DIMENSIONS = (BYTES, HERTZ, BITS_PER_SECOND, SECONDS, WATTS, FLOPS_PER_SECOND, BYTES_PER_SECOND)


def _other_dimension_hint(unit: str, wanted: Dimension) -> str:
    for dimension in _DIMENSIONS:
        if dimension is not wanted and unit in dimension.factors:
            return f" ({unit!r} measures {dimension.name})"
    folded = {spelling.lower(): spelling for spelling in wanted.factors}
    if unit.lower() in folded:
        return f" (did you mean {folded[unit.lower()]!r}? case matters: Mbit is not MB)"
    return ""


def _whole_bytes(value: object) -> int:
    amount = BYTES.parse(value)
    if not math.isfinite(amount):
        raise UnitError(f"found {shown(value)}; needs a finite amount of memory such as {BYTES.example!r}")
    return round(amount)


def _quantity(dimension: Dimension, parse: Callable[[object], float] | None = None) -> Any:
    schema = {
        "anyOf": [
            {"type": "number", "minimum": 0, "description": f"in {dimension.base}"},
            {"type": "string", "pattern": r"^\s*[0-9.]+(e[+-]?[0-9]+)?\s*[A-Za-z/]*\s*$"},
        ],
        "description": f"{dimension.name}, as text with a unit or as a number in {dimension.base}",
        "examples": [dimension.example],
    }
    return (BeforeValidator(parse or dimension.parse), WithJsonSchema(schema, mode="validation"))


Bytes = Annotated[int, *_quantity(BYTES, _whole_bytes), Field(ge=0, lt=2**62)]
BitsPerSecond = Annotated[float, *_quantity(BITS_PER_SECOND), Field(ge=0, allow_inf_nan=False)]
Hertz = Annotated[float, *_quantity(HERTZ), Field(ge=0, allow_inf_nan=False)]
Seconds = Annotated[float, *_quantity(SECONDS), Field(ge=0, allow_inf_nan=False)]
Watts = Annotated[float, *_quantity(WATTS), Field(ge=0, allow_inf_nan=False)]
FlopsPerSecond = Annotated[float, *_quantity(FLOPS_PER_SECOND), Field(ge=0, allow_inf_nan=False)]
BytesPerSecond = Annotated[float, *_quantity(BYTES_PER_SECOND), Field(ge=0, allow_inf_nan=False)]


def bits(size_bytes: float) -> float:
    """Bits in an amount of bytes: what a link of so many bit/s has to carry."""
    return size_bytes * BITS_PER_BYTE


def bits_per_second_from_kbps(rate_kbps: float) -> float:
    """Bit/s from the kbit/s of recorded traces (SI: 1 kbit = 1000 bit)."""
    return rate_kbps * 1e3


def bits_per_second_from_mbps(rate_mbps: float) -> float:
    """Bit/s from the Mbit/s of recorded traces (SI: 1 Mbit = 10^6 bit)."""
    return rate_mbps * 1e6


def counted(number: int, thing: str) -> str:
    """Render a count with its noun, for example ``"1 round"`` or ``"1,200 rounds"``."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def format_bytes(size_bytes: float) -> str:
    """Render an amount of memory with a binary prefix, for example ``"1.50 MiB"``."""
    if not math.isfinite(size_bytes):
        return "-"
    for unit, factor in (("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if abs(size_bytes) >= factor:
            return f"{size_bytes / factor:.2f} {unit}"
    return f"{size_bytes:.0f} B"


def format_bytes_of(used_bytes: float, limit_bytes: float) -> str:
    """Render an amount of memory beside its limit, both in the limit's unit, for example ``"0.99 / 1.00 MiB"``."""
    limit = format_bytes(limit_bytes)
    unit = limit.rsplit(" ", 1)[-1]
    factor = BYTES.factors[unit]
    return f"{used_bytes / factor:.{0 if unit == 'B' else 2}f} / {limit}"


def round_up_bytes(size_bytes: int) -> int:
    """Round an amount of memory up to three digits of the unit it is printed in: 411.5 KiB to 412 KiB."""
    step = _step_bytes(size_bytes)
    return math.ceil(math.ceil(size_bytes / step) * step)


def format_bytes_short(size_bytes: float) -> str:
    """Render an amount of memory with three digits, for example ``"412 KiB"`` or ``"1.5 MiB"``."""
    factor, unit = _binary_unit(size_bytes)
    decimals = _decimals(size_bytes / factor)
    text = f"{size_bytes / factor:.{decimals}f}"
    return f"{text.rstrip('0').rstrip('.') if decimals else text} {unit}"


def _binary_unit(size_bytes: float) -> tuple[int, str]:
    for factor, unit in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if size_bytes >= factor:
            return factor, unit
    return 1, "B"


def _decimals(value: float) -> int:
    """Return how many decimals make three digits of a number."""
    return 2 if value < 10 else 1 if value < 100 else 0


def _step_bytes(size_bytes: float) -> float:
    factor, _ = _binary_unit(size_bytes)
    return float(max(1.0, factor / 10.0 ** _decimals(size_bytes / factor)))


def format_rate(rate_bps: float) -> str:
    """Render a link rate with an SI prefix, for example ``"30.0 Mbit/s"``."""
    return _format_si(rate_bps, "bit/s", digits=1)


def format_hertz(bandwidth_hz: float) -> str:
    """Render a bandwidth with an SI prefix, for example ``"20 MHz"``."""
    return _format_si(bandwidth_hz, "Hz", digits=0 if bandwidth_hz % 1e6 == 0 else 2)


def format_flops_per_s(rate_flops_per_s: float) -> str:
    """Render a compute rate, for example ``"4.0 GFLOP/s"``."""
    return _format_si(rate_flops_per_s, "FLOP/s", digits=0 if rate_flops_per_s >= 1e14 else 1)


def format_flops(amount_flops: float) -> str:
    """Render an amount of floating-point operations, for example ``"1.2 GFLOP"``."""
    return _format_si(amount_flops, "FLOP", digits=1)


def _format_si(value: float, unit: str, digits: int) -> str:
    for prefix, factor in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= factor:
            return f"{value / factor:.{digits}f} {prefix}{unit}"
    return f"{value:.{digits}f} {unit}"


def format_joules(energy_j: float) -> str:
    """Render an energy with three significant digits, for example ``"34.3 J"`` or ``"1.20 kJ"``."""
    for unit, factor in (("MJ", 1e6), ("kJ", 1e3), ("J", 1.0)):
        if abs(energy_j) >= factor:
            return f"{energy_j / factor:#.3g}".rstrip(".") + f" {unit}"
    return f"{energy_j * 1e3:.3g} mJ"


def format_seconds(duration_s: float) -> str:
    """Render a duration with three significant digits, for example ``"1.23 s"`` or ``"45.6 ms"``."""
    if not math.isfinite(duration_s):
        return "-"
    magnitude = abs(duration_s)
    if magnitude < 1e-9:
        return "0 s"
    if magnitude >= 600:
        return f"{duration_s / 60:.1f} min"
    if magnitude >= 100:
        return f"{duration_s:.0f} s"
    if magnitude >= 10:
        return f"{duration_s:.1f} s"
    if magnitude >= 1:
        return f"{duration_s:.2f} s"
    if magnitude >= 1e-3:
        return f"{duration_s * 1e3:.3g} ms"
    return f"{duration_s * 1e6:.3g} µs"
