"""Named things of one kind, ours and those of installed packages: strategies, modes, data sources, links, families.

A registry is filled in three ways: with our own things when their module is imported, by :meth:`Registry.register` as a
decorator, and from the entry points of installed packages, which are read once, when the registry is first asked. A
plug-in that cannot be loaded, or whose name is taken, is named in a warning and left out: it never stops a command that
does not need it.
"""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import entry_points
from typing import Generic, TypeVar, cast

from hybridsplit.scenarios.errors import HybridSplitError, UsageError

T = TypeVar("T")
A = TypeVar("A")


class PluginWarning(UserWarning):
    """A plug-in was left out: it cannot be loaded, is not what it should be, or its name is taken."""


class RegistrationError(HybridSplitError, ValueError):
    """Something cannot be registered: its name is taken, or it lacks what its kind needs."""


class Registry(Mapping[str, T], Generic[T]):
    """Things of one kind by name, in the order of registration.

    Parameters
    ----------
    kind
        What is registered, in words: ``strategy``.
    group
        Entry-point group of plug-ins: ``hybridsplit.strategies``.
    name_of
        Gives a thing's name, and refuses what is not of this kind by raising ``TypeError`` or ``AttributeError``.
    make
        Turns what was decorated, or an entry point names, into the thing; by default a class is instantiated.
    """

    def __init__(
        self, kind: str, group: str, name_of: Callable[[T], str], make: Callable[[object], T] | None = None
    ) -> None:
        self.kind, self.group = kind, group
        self._name_of = name_of
        self._make = make or _instance
        self._things: dict[str, T] = {}
        self._listeners: list[Callable[[], object]] = []
        self._has_read_entry_points = False

    def register(self, thing: A) -> A:
        """Register a class or an object; use it as a decorator.

        Raises
        ------
        RegistrationError
            If the name is taken, or the thing is not of this kind.
        """
        try:
            made = self._make(thing)
            name = self._name_of(made)
        except (TypeError, AttributeError) as error:
            raise RegistrationError(f"{thing!r} is no {self.kind}: {error}") from error
        if name in self._things:
            raise RegistrationError(
                f"the {self.kind} {name!r} exists already ({_origin(self._things[name])}); "
                f"give {_origin(made)} another name"
            )
        self._things[name] = made
        for listener in self._listeners:
            listener()
        return thing

    def when_it_grows(self, listener: Callable[[], object]) -> None:
        """Call a function whenever something is registered from now on."""
        self._listeners.append(listener)

    def find(self, name: str) -> T:
        """Return the thing of a name.

        Raises
        ------
        UsageError
            If there is none; the message names the nearest.
        """
        if name in self:
            return self[name]
        near = difflib.get_close_matches(name, list(self), n=1, cutoff=0.4)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise UsageError(f"unknown {self.kind} {name!r}; needs one of {', '.join(self)}{hint}")

    def __getitem__(self, name: str) -> T:
        """Return the thing of a name; ``KeyError`` if there is none."""
        self._read_entry_points()
        return self._things[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over names, ours first."""
        self._read_entry_points()
        return iter(dict(self._things))

    def __len__(self) -> int:
        """Return how many there are."""
        self._read_entry_points()
        return len(self._things)

    def _read_entry_points(self) -> None:
        if self._has_read_entry_points:
            return
        self._has_read_entry_points = True
        for point in entry_points(group=self.group):
            try:
                self.register(point.load())
            except Exception as error:  # a plug-in may fail in as many ways as there are plug-ins
                package = point.dist.name if point.dist is not None else "?"
                warnings.warn(
                    f"the {self.kind} {point.name!r} of the package {package} is left out: {error}",
                    PluginWarning,
                    stacklevel=2,
                )


def _instance(thing: object) -> T:  # type: ignore[type-var]
    return cast("T", thing() if isinstance(thing, type) else thing)


def _origin(thing: object) -> str:
    kind = thing if isinstance(thing, type) else type(thing)
    return f"{kind.__module__}.{kind.__qualname__}"
