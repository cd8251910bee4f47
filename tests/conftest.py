"""What all tests share: a cache of profiles of their own, and a path on which workers find the tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.tiers import slow_tests

# The tests of a plug-in run where it is installed, see tests/test_plugins.py.
collect_ignore = ["plugin"]

# The gate gives the same answer for the same code, on busy machines too; `make test-explore` looks for new examples.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("explore", print_blob=True, deadline=None)
settings.load_profile("same")


@pytest.fixture(scope="session", autouse=True)
def own_profile_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Neither read nor fill the user's cache; profiles are shared within a session, which is what it is for."""
    with pytest.MonkeyPatch.context() as patch:
        own = tmp_path_factory.getbasetemp()
        # Workers of one session have folders side by side.
        patch.setenv("HYBRIDSPLIT_CACHE", str((own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "cache"))
        # Ray's workers import the faulty workers of these tests, which no installed package holds.
        root = str(Path(__file__).resolve().parent.parent)
        patch.setenv("PYTHONPATH", os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])]))
        yield


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that are slow by measurement."""
    named = slow_tests()
    for item in items:
        if item.nodeid in named:
            item.add_marker(pytest.mark.slow)
