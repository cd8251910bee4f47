"""Functions over flat vectors in two forms of one source: as Python, and compiled by Numba where that pays.

Compiled functions give the same bits: Numba keeps the order of additions and fuses none of them unless it is told to.
Importing Numba and loading what it has compiled takes a moment, and compiling takes seconds, so that short work does
without. What was compiled is kept: :mod:`hybridsplit.scenarios.compiled.keeping`.
"""

from __future__ import annotations

import importlib.util
import math
import os
import sys
import warnings
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from functools import cache
from operator import attrgetter
from types import FunctionType
from typing import Any, TypeVar, cast, get_args, get_type_hints

from hybridsplit.scenarios.compiled.borrowing import borrowed, let_numba_borrow
from hybridsplit.scenarios.compiled.keeping import is_kept, keeping, kept_in, seal
from hybridsplit.scenarios.errors import InputWarning, UsageError

VARIABLE = "HYBRIDSPLIT_COMPILED"
"""``off`` never compiles, ``on`` always; by how long the work takes where it is not set."""
_LOADING_S, _AT_HAND_S = 0.7, 0.02
"""What it takes to import Numba and load what was compiled, and to use it once more in the same process."""
_FOR_ONE = 0.5
"""The part of compiling that one piece of work pays for, where what is compiled is kept: later ones save without it."""

Vectors = TypeVar("Vectors", bound=tuple[Any, ...])
Item = TypeVar("Item")
Function = TypeVar("Function", bound=Callable[..., Any])
_OF_NUMBER = {int: "i8", float: "f8", bool: "?"}


class Form:
    """A form in which functions are called: this one is Python, over lists of numbers and of objects."""

    is_compiled = False

    def of(self, function: Function) -> Function:
        """Return a function in this form."""
        return function

    def vector(self, items: list[Item], kind: type[Item]) -> list[Item]:
        """Return a list as what functions of this form take for it."""
        return items

    def vectors(self, lists: Vectors) -> Vectors:
        """Return named lists likewise."""
        return lists

    def filled(self, item: Item, count: int) -> list[Item]:
        """Return a vector that holds the same number everywhere."""
        return [item] * count

    def listed(self, vector: list[Item]) -> list[Item]:
        """Return a vector of numbers as a list."""
        return vector

    def read(self, vector: list[Item], place: int, name: str) -> Any:
        """Return what an object in a vector has."""
        return getattr(vector[place], name)


class _Compiled(Form):
    """Compiled functions, over arrays: of numbers, and structured ones in the place of objects."""

    is_compiled = True

    def of(self, function: Function) -> Function:
        return cast("Function", _compiled(function))

    def vector(self, items: list[Item], kind: type[Item]) -> list[Item]:
        import numpy as np

        dtype = _dtype(cast("Any", kind))
        if kind in _OF_NUMBER or not items:
            return cast("list[Item]", np.array(items, dtype=dtype))
        return cast("list[Item]", np.array([*map(attrgetter(*dtype.names), items)], dtype=dtype))

    def vectors(self, lists: Vectors) -> Vectors:
        kinds = _kinds(type(lists))
        given = [
            self.vectors(value) if isinstance(value, tuple) else self.vector(value, kind)
            for value, kind in zip(lists, kinds, strict=True)
        ]
        return type(lists)(*given)

    def filled(self, item: Item, count: int) -> list[Item]:
        import numpy as np

        return cast("list[Item]", np.full(count, item, dtype=_dtype(cast("Any", type(item)))))

    def listed(self, vector: Any) -> list[Any]:
        return cast("list[Any]", vector.tolist())

    def read(self, vector: Any, place: int, name: str) -> Any:
        return vector[name][place].item()


PYTHON, COMPILED = Form(), _Compiled()


def form_for(function: Callable[..., Any], saved_s: float, compile_s: float) -> Form:
    """Return the form in which a function is to be called.

    Parameters
    ----------
    function
        The function.
    saved_s
        By how much longer Python takes for it.
    compile_s
        How long it takes to compile.

    Raises
    ------
    UsageError
        If ``HYBRIDSPLIT_COMPILED`` is neither of its words, or ``on`` where Numba is not installed.
    """
    wanted = os.environ.get(VARIABLE, "")
    if wanted not in ("", "on", "off"):
        raise UsageError(f"found {VARIABLE}={wanted[:40]}; needs 'on' or 'off', or not to be set")
    if wanted == "on" and not has_numba():
        raise UsageError(f"found {VARIABLE}=on, and Numba is not installed; needs pip install 'hybridsplit[fast]'")
    if wanted == "on":
        return COMPILED
    pays = wanted != "off" and saved_s > _AT_HAND_S and has_numba() and saved_s > _cost_s(function, compile_s)
    return COMPILED if pays and _is_usable() else PYTHON


def has_numba() -> bool:
    """Say whether Numba is installed."""
    return "numba" in sys.modules or importlib.util.find_spec("numba") is not None


@cache
def _is_usable() -> bool:
    """Say whether Numba can be imported: it refuses versions of NumPy that it does not know."""
    try:
        import numba
    except ImportError as error:
        warnings.warn(InputWarning(f"nothing is compiled: Numba cannot be imported ({error})"), stacklevel=2)
        return False
    return numba is not None


def _cost_s(function: Callable[..., Any], compile_s: float) -> float:
    """Return how long it takes until the compiled function is at hand."""
    folder = kept_in(function.__module__)
    if not is_kept(folder, function.__name__):
        return compile_s if folder is None else compile_s * _FOR_ONE
    return _AT_HAND_S if _compiled.cache_info().currsize > 0 else _LOADING_S


@cache
def _kinds(named: type) -> list[type]:
    """Return of what each vector of a named tuple is."""
    return [next(iter(get_args(hint)), hint) for hint in get_type_hints(named).values()]


@cache
def _dtype(kind: Any) -> Any:
    """Return how a number, or an object of numbers, stands in an array."""
    import numpy as np

    if kind in _OF_NUMBER:
        return np.dtype(_OF_NUMBER[kind])
    return np.dtype([(name, _OF_NUMBER[hint]) for name, hint in get_type_hints(kind).items()], align=True)


@cache
def _compiled(function: FunctionType) -> Any:
    """Compile a function; it is kept where the folder can be written."""
    _teach_numba()
    import numba

    own, folder = _with_compiled_calls(function, {}), kept_in(function.__module__)
    # Other threads go on meanwhile: nobody else writes to the vectors of a walk.
    with keeping(folder) as is_kept_there:
        compiled = numba.njit(own, cache=is_kept_there, nogil=True)
    if folder is None or not is_kept_there:
        return compiled

    def called(*arguments: Any) -> Any:
        misses = compiled.stats.cache_misses.total()
        found = compiled(*arguments)
        if compiled.stats.cache_misses.total() > misses:
            seal(folder)
        return found

    return called


def _with_compiled_calls(function: FunctionType, known: dict[str, Any]) -> FunctionType:
    """Return the function with the functions of its package that it calls compiled."""
    names, package = dict(function.__globals__), function.__module__.rpartition(".")[0]
    for name in function.__code__.co_names:
        called = names.get(name)
        if called is borrowed:
            continue
        if isinstance(called, FunctionType) and called.__module__.startswith(package):
            if called.__qualname__ not in known:
                known[called.__qualname__] = _part(_with_compiled_calls(called, known))
            names[name] = known[called.__qualname__]
    own = FunctionType(function.__code__, names, function.__name__, function.__defaults__)
    own.__module__, own.__qualname__ = function.__module__, function.__qualname__
    return own


@cache
def _teach_numba() -> None:
    """Teach Numba what walks use of the standard library, and it does not know."""
    from numba.extending import overload

    let_numba_borrow()

    @overload(math.nextafter)  # type: ignore[untyped-decorator]
    def _after(value: Any, towards: Any) -> Any:
        import numpy as np

        def next_after(value: Any, towards: Any) -> Any:
            return np.nextafter(value, towards)

        return next_after

    @overload(bisect_right)  # type: ignore[untyped-decorator]
    def _right(values: Any, wanted: Any, low: Any, high: Any) -> Any:
        def search(values: Any, wanted: Any, low: Any, high: Any) -> Any:
            while low < high:
                middle = (low + high) // 2
                if wanted < values[middle]:
                    high = middle
                else:
                    low = middle + 1
            return low

        return search

    @overload(bisect_left)  # type: ignore[untyped-decorator]
    def _left(values: Any, wanted: Any, low: Any, high: Any) -> Any:
        def search(values: Any, wanted: Any, low: Any, high: Any) -> Any:
            while low < high:
                middle = (low + high) // 2
                if values[middle] < wanted:
                    low = middle + 1
                else:
                    high = middle
            return low

        return search


def _part(function: FunctionType) -> Any:
    """Compile a function that compiled ones call: into them, as handing over many vectors takes longer than most do."""
    import numba

    return numba.njit(function, forceinline=not function.__module__.endswith(".links"))
