"""The contract over every strategy that ships."""

from __future__ import annotations

from hybridsplit.solver.strategies import STRATEGIES
from hybridsplit.testing import StrategyContract

_RESTRICTS = dict.fromkeys(("ho-sfl", "hosl", "fedavg"), ".")
_DRAWS = ("random",)

for _name in STRATEGIES:
    _facts = {
        "strategy": _name, "restricts": _RESTRICTS.get(_name), "weighs_batch_sizes": _name not in _DRAWS,
        "__module__": __name__,
    }  # fmt: skip
    globals()[f"Test_{_name.replace('-', '_')}"] = type(f"Test_{_name.replace('-', '_')}", (StrategyContract,), _facts)
