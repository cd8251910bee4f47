"""What our modes of dispatch have in common."""

from __future__ import annotations

from torch.utils._python_dispatch import TorchDispatchMode


class PlainDispatch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A mode without the wrapper that keeps ``torch.compile`` out of each of its dispatches.

    Nothing is compiled inside our modes, and the wrapper takes about as long as what they do.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False
