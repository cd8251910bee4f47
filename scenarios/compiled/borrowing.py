"""Vectors that are handed from function to function without counting who holds them."""

from __future__ import annotations

from typing import Any, TypeVar

Vectors = TypeVar("Vectors")


def borrowed(vectors: Vectors) -> Vectors:
    """Return the same vectors; compiled functions then count no references to them, which takes longer than a walk.

    Whoever calls a compiled function keeps them until it returns, and none of these returns any of them. They are to be
    handed on at once, to a function that takes them as arguments: what a function writes to vectors that it has from
    elsewhere Numba may take for dead.

    Parameters
    ----------
    vectors
        A vector, or a tuple of some.
    """
    return vectors


def let_numba_borrow() -> None:
    """Teach Numba the function above: it leaves out of arrays who counts their references."""
    from numba.core import cgutils, types
    from numba.extending import intrinsic, overload

    def converted(context: Any, builder: Any, kind: Any, value: Any) -> Any:
        if isinstance(kind, types.Array):
            array = context.make_array(kind)(context, builder, value)
            array.meminfo = cgutils.get_null_value(array.meminfo.type)
            array.parent = cgutils.get_null_value(array.parent.type)
            return array._getvalue()
        for place, inner in enumerate(kind):
            item = converted(context, builder, inner, builder.extract_value(value, place))
            value = builder.insert_value(value, item, place)
        return value

    @intrinsic  # type: ignore[untyped-decorator]
    def without_counts(typing_context: Any, vectors: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return converted(context, builder, signature.args[0], arguments[0])

        return vectors(vectors), generate

    @overload(borrowed)  # type: ignore[untyped-decorator]
    def _(vectors: Any) -> Any:
        def borrow(vectors: Any) -> Any:
            return without_counts(vectors)

        return borrow
