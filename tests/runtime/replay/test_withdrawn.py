"""What is withdrawn from a resource that serves by priority, also at the very moment at which it is done."""

from __future__ import annotations

import simpy

from hybridsplit.runtime.replay.dispatch import Dispatcher
from hybridsplit.runtime.replay.services import ConstantService


def test_what_was_done_at_this_very_moment_is_not_asked_for_any_more() -> None:
    environment = simpy.Environment()
    dispatcher = Dispatcher(environment, 1e-9)
    first = dispatcher.serve(2.0, 0, ConstantService(1.0))
    second = dispatcher.serve(1.0, 1, ConstantService(2.0))
    environment.run(until=first)
    dispatcher.withdraw(first)
    environment.run(until=second)
    assert abs(environment.now - 3.0) < 1e-6


def test_what_is_being_served_makes_room() -> None:
    environment = simpy.Environment()
    dispatcher = Dispatcher(environment, 1e-9)
    first = dispatcher.serve(2.0, 0, ConstantService(1.0))
    second = dispatcher.serve(1.0, 1, ConstantService(2.0))
    environment.run(until=0.25)
    dispatcher.withdraw(first)
    environment.run(until=second)
    assert abs(environment.now - 2.25) < 1e-6
    assert not first.triggered
