"""The contract over every training mode that ships."""

from __future__ import annotations

from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.modes import MODES
from hybridsplit.testing import ModeContract

for _mode in MODES:
    _name = f"Test_{_mode.replace('-', '_')}"
    globals()[_name] = type(_name, (ModeContract,), {"mode": _mode, "__module__": __name__})


def test_our_names_are_registered() -> None:
    assert set(Mode) <= set(MODES)
