"""What a profile depends on of the user's own code: its sources, and the files that its arguments name."""

from __future__ import annotations

from typing import Any

from hybridsplit.scenarios.schema import PythonData, Scenario
from hybridsplit.scenarios.user_code import UserFunction


def own_sources(scenario: Scenario) -> dict[str, Any] | None:
    """Return what is known of the files behind each function that a scenario names, by the function's name.

    None where one has no source file, so that nothing tells when it changes.
    """
    named = [(scenario.model.python, scenario.model.arguments)]
    if isinstance(scenario.data, PythonData):
        named.append((scenario.data.python, scenario.data.arguments))
    found: dict[str, Any] = {}
    for name, arguments in named:
        if name is None:
            continue
        user = UserFunction.parsed(name)
        digest = user.digest()
        if digest is None:
            return None
        stamps = [
            [str(member), member.stat().st_size, member.stat().st_mtime_ns]
            for path in user.files_named_in(arguments)
            for member in sorted(path.rglob("*") if path.is_dir() else [path])
        ]
        found[name] = [digest, stamps]
    return found
