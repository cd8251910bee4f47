"""Named things of one kind, ours and those of installed packages: strategies, modes, data sources, links, families.

A registry is filled in three ways: with our own things when their module is imported, by :meth:`Registry.register` as a
decorator, and from the entry points of installed packages, which are read once, when the registry is first asked. A
plug-in that cannot be loaded, or whose name is taken, is named in a warning and left out: it never stops a command that
does not need it.
"""

from __future__ import annotations

import difflib
import importlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.metadata import EntryPoints, entry_points
from typing import Generic, TypeVar, cast

from hybridsplit.scenarios.errors import HybridSplitError, HybridSplitWarning, UsageError

T = TypeVar("T")
A = TypeVar("A")


class PluginWarning(HybridSplitWarning):
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
    ours
        Modules that register ours, where nothing else imports them in time: they come before all plug-ins.
    """

    def __init__(
        self,
        kind: str,
        group: str,
        name_of: Callable[[T], str],
        make: Callable[[object], T] | None = None,
        ours: tuple[str, ...] = (),
    ) -> None:
        self.kind, self.group = kind, group
        self._name_of = name_of
        self._make = make or _instance
        self._ours = ours
        self._has_imported_ours = False
        self._things: dict[str, T] = {}
        self._listeners: list[Callable[[], object]] = []
        self._has_read_entry_points = False

    def register(self, thing: A) -> A:
        """Register a class or an object; use it as a decorator.

        What is registered already is left as it is, so that a class may be decorated and named by an entry point too.

        Raises
        ------
        RegistrationError
            If the name is taken by something else, or the thing is not of this kind.
        """
        self._import_ours()
        try:
            made = self._make(thing)
            name = self._name_of(made)
        except (TypeError, AttributeError) as error:
            raise RegistrationError(f"{_shown(thing)} is no {self.kind}: {error}") from error
        if name in self._things:
            if _is_same(self._things[name], made):
                return thing
            raise RegistrationError(
                f"the {self.kind} {name!r} exists already ({_origin(self._things[name])}); "
                f"give {_origin(made)} another name"
            )
        self._things[name] = made
        for listener in self._listeners:
            listener()
        return thing

    def registered(self) -> tuple[T, ...]:
        """Return what has been registered so far; entry points are not read for it."""
        return tuple(self._things.values())

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

    def _import_ours(self) -> None:
        if not self._has_imported_ours:
            self._has_imported_ours = True
            for module in self._ours:
                importlib.import_module(module)

    def _read_entry_points(self) -> None:
        if self._has_read_entry_points:
            return
        self._has_read_entry_points = True
        self._import_ours()
        for point in _entry_points().select(group=self.group):
            try:
                self.register(point.load())
            except Exception as error:  # a plug-in may fail in as many ways as there are plug-ins
                package = point.dist.name if point.dist is not None else "?"
                why = " ".join(str(error).split())
                if not isinstance(error, RegistrationError):
                    why = f"{type(error).__name__}: {why}"
                warnings.warn(
                    f"the {self.kind} {point.name!r} of the package {package} is left out: {why}",
                    PluginWarning,
                    stacklevel=2,
                )


@cache
def _entry_points() -> EntryPoints:
    """Return those of all installed packages: reading them takes longer than all else that a registry does."""
    return cast("EntryPoints", entry_points())


def _instance(thing: object) -> T:  # type: ignore[type-var]
    return cast("T", thing() if isinstance(thing, type) else thing)


def _is_same(known: object, new: object) -> bool:
    """Whether two are the same class or equal values, or two instances of a class that hold the same."""
    if known == new:
        return True
    return not isinstance(new, type) and type(known) is type(new) and vars(known) == vars(new)


def _shown(thing: object) -> str:
    return _origin(thing) if isinstance(thing, type) else repr(thing)


def _origin(thing: object) -> str:
    kind = thing if isinstance(thing, type) else type(thing)
    return f"{kind.__module__}.{kind.__qualname__}"
