"""The arithmetic of walked rounds, over flat vectors: as Python, or compiled by Numba, from the same source.

The functions of the modules here take vectors alone, lists as Python and arrays when compiled, and use nothing that
Numba does not know. :mod:`hybridsplit.scenarios.compiled.compiling` compiles them where that pays.
"""
