"""Contracts of strategies, training modes, data sources and link models, as test classes to subclass.

A plug-in's author writes, in a file that pytest collects::

    from hybridsplit.testing import StrategyContract


    class TestMine(StrategyContract):
        strategy = "mine"

The same classes run over everything that ships. Needs ``pip install "hybridsplit[testing]"``; docs/plugins.md says what
each contract asks for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hybridsplit.testing.data_sources import DataSourceContract
    from hybridsplit.testing.link_models import LinkModelContract
    from hybridsplit.testing.modes import ModeContract
    from hybridsplit.testing.strategies import StrategyContract

__all__ = ["DataSourceContract", "LinkModelContract", "ModeContract", "StrategyContract"]

_MODULE_OF = {
    "DataSourceContract": "data_sources",
    "LinkModelContract": "link_models",
    "ModeContract": "modes",
    "StrategyContract": "strategies",
}

# Failed assertions of a contract then show their values, as those of a test file do.
pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in _MODULE_OF.values()))


def __getattr__(name: str) -> object:
    if name in _MODULE_OF:
        return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
