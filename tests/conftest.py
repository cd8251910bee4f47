"""What all tests share: a cache of profiles of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def own_profile_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Neither read nor fill the user's cache; profiles are shared within a session, which is what it is for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HYBRIDSPLIT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
