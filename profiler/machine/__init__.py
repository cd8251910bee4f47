"""Measure the computer this runs on, keep the result, and turn it into a device that scenarios can use."""

from hybridsplit.profiler.machine.cache import THIS_MACHINE, machine_key, machine_profile
from hybridsplit.profiler.machine.profile import MachineProfile, Measured, measure_machine, this_machine
from hybridsplit.profiler.machine.timing import Timed, timed

__all__ = [
    "THIS_MACHINE",
    "MachineProfile",
    "Measured",
    "Timed",
    "machine_key",
    "machine_profile",
    "measure_machine",
    "this_machine",
    "timed",
]
