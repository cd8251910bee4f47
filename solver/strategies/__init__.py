"""Ways to make a plan, by name. A new strategy of ours is one file here and one word below."""

from __future__ import annotations

from hybridsplit.solver.strategies.base import Proposal, Sharing, Strategy
from hybridsplit.solver.strategies.edgesplit import EdgeSplit
from hybridsplit.solver.strategies.fedavg import FedAvg
from hybridsplit.solver.strategies.greedy import Greedy
from hybridsplit.solver.strategies.ho_sfl import HoSfl
from hybridsplit.solver.strategies.hosl import Hosl
from hybridsplit.solver.strategies.hsfl import Hsfl
from hybridsplit.solver.strategies.optimal import Optimal
from hybridsplit.solver.strategies.random_choice import RandomChoice
from hybridsplit.solver.strategies.registry import STRATEGIES, find_strategy, require_turns
from hybridsplit.solver.strategies.sfl_wireless import SflWireless
from hybridsplit.solver.strategies.smartsplit import SmartSplit
from hybridsplit.solver.strategies.split_sequential import SplitSequential
from hybridsplit.solver.strategies.splitfed import SplitFed
from hybridsplit.solver.strategies.static import Static
from hybridsplit.solver.strategies.time_shared import TimeShared

# In the order of lists and reports.
for _strategy in (
    Optimal, Static, TimeShared, SflWireless, EdgeSplit, SmartSplit, Hsfl, HoSfl, Hosl, SplitFed, SplitSequential,
    FedAvg, Greedy, RandomChoice,
):  # fmt: skip
    STRATEGIES.register(_strategy)

__all__ = ["STRATEGIES", "Proposal", "Sharing", "Strategy", "find_strategy", "require_turns"]
