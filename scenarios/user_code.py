"""Python code of the user's own that a scenario names: where it is, what it is made of, and how it is called.

A scenario names a function as ``package.module:function`` or ``path/to/file.py:function``. Code in or below the
scenario's folder is meant first, an installed package otherwise. It runs because the scenario says so, in this process
and in the folder of its file, and imports what stands beside it.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.shown import gist, shown
from hybridsplit.scenarios.user_modules import files_of_package, fresh_module, imported_from, importing_from

_NAMED = re.compile(r"(?P<place>.+):(?P<function>[^\W\d]\w*(\.[^\W\d]\w*)*)")
_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_EXTRAS = {"timm": "timm", "datasets": "datasets", "PIL": "images"}
"""Extras of ours that install a package, by the name it is imported as."""
_FAILURES = (Exception, SystemExit)
"""What code of the user's may end with that is no wish to stop the command."""


@dataclass(frozen=True)
class UserFunction:
    """A function that a scenario names.

    Parameters
    ----------
    place
        An absolute path of a file, or the dotted name of a module of an installed package.
    function
        Its name inside; dotted where it is an attribute of a class.
    """

    place: str
    function: str

    @classmethod
    def parsed(cls, named: str) -> UserFunction:
        """Take apart what a scenario names.

        Raises
        ------
        ValueError
            If it is no ``package.module:function`` or ``path/to/file.py:function``.
        """
        match = _NAMED.fullmatch(named)
        if match is None or not (match["place"].endswith(".py") or _MODULE.fullmatch(match["place"])):
            raise ValueError(
                f"found {shown(named, 200)}; needs 'package.module:function' or 'path/to/file.py:function'"
            )
        return cls(match["place"], match["function"])

    @property
    def file(self) -> Path | None:
        """The file that it stands in; None for a module of an installed package."""
        return Path(self.place) if self.place.endswith(".py") else None

    @property
    def root(self) -> Path | None:
        """The folder that its imports start from: above its package, if the file is part of one."""
        if self.file is None:
            return None
        folder = self.file.parent
        while (folder / "__init__.py").is_file():
            folder = folder.parent
        return folder

    def sources(self) -> list[Path]:
        """Return the files that decide what it does: its own and those it imports from its folder, or its package."""
        if self.file is None or self.root is None:
            return files_of_package(self.place.partition(".")[0])
        return imported_from(self.root, self.file)

    def digest(self) -> str | None:
        """Return a hash of :meth:`sources`; None where there are none."""
        files = self.sources()
        if not files:
            return None
        digest = hashlib.sha256()
        for path in files:
            digest.update(str(path).encode())
            digest.update(path.read_bytes())
        return digest.hexdigest()

    def files_named_in(self, arguments: Any) -> list[Path]:
        """Return the files that arguments name: what the code reads decides what it gives."""
        folder = self.file.parent if self.file is not None else Path.cwd()
        found: list[Path] = []
        for text in _texts(arguments):
            with contextlib.suppress(OSError, ValueError):
                if (path := folder / text).exists():
                    found.append(path)
        return found

    def call(self, arguments: Mapping[str, Any], where: str) -> Any:
        """Import the code and call the function.

        Parameters
        ----------
        arguments
            By keyword.
        where
            Key path that names the function, for messages.

        Raises
        ------
        ScenarioError
            If there is no such module or function, it cannot be called, or its code raises anything; the message
            names file and line.
        """
        with self.running(where):
            thing: Any = self._module(where)
            for part in self.function.split("."):
                if not hasattr(thing, part):
                    offered = [name for name, value in vars(thing).items() if callable(value) and name[0] != "_"]
                    raise ScenarioError(
                        f"{where}: {self.place} has no {self.function!r}; what it has to call is "
                        f"{', '.join(offered[:12]) or 'nothing'}"
                    )
                thing = getattr(thing, part)
            if not callable(thing):
                raise ScenarioError(
                    f"{where}: {self.function} of {self.place} is {shown(thing)}, which cannot be called; needs a "
                    "function or a class"
                )
            return thing(**arguments)

    @contextlib.contextmanager
    def running(self, where: str, what: str = "") -> Iterator[None]:
        """Within it code of the user's runs: in its folder, and what it prints goes to stderr.

        Parameters
        ----------
        where
            Key path that names the function, for messages.
        what
            What is running, for messages; the function itself when empty.

        Raises
        ------
        ScenarioError
            If the code raises anything.
        """
        folder = None if self.file is None else self.file.parent
        try:
            with _in_folder(folder), importing_from(self.root), contextlib.redirect_stdout(sys.stderr):
                yield
        except ScenarioError:
            raise
        except _FAILURES as error:
            raise ScenarioError(f"{where}: {what or self.function} fails {self._said(error)}") from error

    def _said(self, error: BaseException) -> str:
        """Where an error arose in the user's code, what it is, and what to do about a package that is missing."""
        kind, said = type(error).__name__, " ".join(str(error).split())[:400]
        if isinstance(error, SyntaxError):
            return f"at {error.filename}:{error.lineno}: {kind}: {error.msg}"
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if self._is_own(frame.filename)]
        at = f"at {own[-1].filename}:{own[-1].lineno}" if own else f"in {self.place}"
        hint = ""
        if isinstance(error, ModuleNotFoundError) and error.name:
            missing = error.name.partition(".")[0]
            hint = f"; {how_to_install(missing)}"
        return f"{at}: {kind}{': ' if said else ''}{said}{hint}"

    def _is_own(self, filename: str) -> bool:
        if self.root is not None:
            return Path(filename).is_relative_to(self.root) and "site-packages" not in filename
        module = sys.modules.get(self.place.partition(".")[0])
        origin = getattr(module, "__file__", None)
        return origin is not None and Path(filename).is_relative_to(Path(origin).parent)

    def _module(self, where: str) -> ModuleType:
        if self.file is None or self.root is None:
            try:
                found = importlib.util.find_spec(self.place)
            except ModuleNotFoundError:
                found = None
            if found is None:
                raise ScenarioError(
                    f"{where}: no module {shown(self.place)}, neither from the scenario's folder on nor installed; "
                    "needs 'package.module:function' of an installed package, or a path such as 'model.py:function', "
                    f"relative to the scenario file ({how_to_install(self.place.partition('.')[0])})"
                )
            return importlib.import_module(self.place)
        if not self.file.is_file():
            raise ScenarioError(f"{where}: no such file {shown(str(self.file), 200)} on this machine")
        return fresh_module(self.file, self.root, self.sources(), str(self.digest()))


def how_to_install(package: str) -> str:
    """Return in a few words how a package that is missing is installed: with an extra of ours where there is one."""
    return f"pip install {f'{chr(39)}hybridsplit[{_EXTRAS[package]}]{chr(39)}' if package in _EXTRAS else package}"


def located_function(named: str, folder: Path, where: str) -> str:
    """Return what a scenario names with the absolute path of its file, where that is in or below a folder.

    Parameters
    ----------
    named
        As the scenario names it; returned as it is where it is no name of a function.
    folder
        The scenario's.
    where
        Key path that names it, for messages.

    Raises
    ------
    ScenarioError
        If no file can have this name.
    """
    try:
        user = UserFunction.parsed(named)
    except ValueError:
        return named
    try:
        if user.file is not None:
            path = (folder / user.file.expanduser()).resolve()
            path.is_file()  # raises for what no file can be called
            return f"{path}:{user.function}"
        place = folder.joinpath(*user.place.split("."))
        for candidate in (place.with_name(f"{place.name}.py"), place / "__init__.py"):
            if candidate.is_file():
                return f"{candidate.resolve()}:{user.function}"
    except (OSError, ValueError, RuntimeError) as error:
        raise ScenarioError(f"{where}: found {shown(named)}, which is no path of a file ({gist(error)})") from error
    return named


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)


@contextlib.contextmanager
def _in_folder(folder: Path | None) -> Iterator[None]:
    if folder is None or not folder.is_dir():
        yield
        return
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
