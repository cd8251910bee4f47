"""A process that watches over a run on Ray, whose native code may end the run's process without a word.

Where Ray's raylet dies while the driver connects to it, Ray's code leaves the driver at once, past every handler of
Python, with exit code 1. So the run is a child of a process that does nothing but pass signals on, wait for it, and say
what happened where it could not say so itself.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Sequence

_PASSED_ON = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
_BY_RAY = {signal.SIGABRT, signal.SIGSEGV}
_PR_SET_PDEATHSIG = 1
_FAILED = 4
_BY_DEFAULT = {"run": "ray", "compare": "ray", "pilot": "inline", "search": "inline"}
"""Executor of every command that trains, where none is named."""
_ENDED = "error: Ray's own code ended the command, since one of its processes had died; "
SENTENCE = _ENDED + "the run goes on from its last complete round with --resume, and --executor inline needs no Ray\n"
SENTENCE_OF_OTHERS = _ENDED + (
    "give the same command again, which keeps what stands complete in its files, or use --executor inline, which needs "
    "no Ray\n"
)


def is_needed(arguments: Sequence[str]) -> bool:
    """Whether a command line may start Ray, on a system where a process can watch over another."""
    command = arguments[0] if arguments else ""
    if command == "plan":  # which has Ray's processes search in parts, where their number is stated
        return sys.platform.startswith("linux") and any(one.partition("=")[0] == "--workers" for one in arguments)
    if command not in _BY_DEFAULT or "--help" in arguments or not sys.platform.startswith("linux"):
        return False
    if command == "compare" and not any(one in ("--run", "--seeds") or one[:8] == "--seeds=" for one in arguments):
        return False
    executor = _BY_DEFAULT[command]
    for one, other in zip(arguments, [*arguments[1:], ""], strict=True):
        if one == "--executor" or one.startswith("--executor="):
            executor = other if one == "--executor" else one.partition("=")[2]
    return executor != "inline"


def begin(command: str = "run") -> int:
    """Go on as the child of a process that watches over this one; return what :func:`end` needs.

    Parameters
    ----------
    command
        Name of the command that is carried out.
    """
    read_end, write_end = os.pipe()
    waited_for = {*_PASSED_ON, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waited_for)
    watcher = os.getpid()
    child = os.fork()
    if child:
        os.close(write_end)
        _watch(child, read_end, waited_for, SENTENCE if command == "run" else SENTENCE_OF_OTHERS)
    os.close(read_end)
    _die_with(watcher)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return write_end


def end(write_end: int) -> None:
    """Say that the run ends by itself, with a message of its own where there is something to say."""
    os.write(write_end, b".")


def _die_with(watcher: int) -> None:
    """Let the kernel kill this process when the one that watches over it is killed."""
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != watcher:
        os._exit(_FAILED)


def _watch(child: int, read_end: int, waited_for: set[signal.Signals], sentence: str) -> None:
    """Pass signals on until the child has ended, and end as it did, with a sentence where it could say nothing."""
    while True:
        come = signal.sigwaitinfo(waited_for)
        if come.si_signo != signal.SIGCHLD:
            # What the terminal sends, the kernel gives to the child as well.
            if come.si_code <= 0:
                os.kill(child, come.si_signo)
            continue
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            break
    is_said = os.read(read_end, 1) == b"."
    code = os.waitstatus_to_exitcode(status)
    if not is_said and (code == 1 or -code in _BY_RAY):
        sys.stderr.write(sentence)
        sys.stderr.flush()
        os._exit(_FAILED)
    if code < 0:
        with contextlib.suppress(OSError):  # of SIGKILL nothing can be changed, nor needs to be
            signal.signal(-code, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {-code})
        os.kill(os.getpid(), -code)
    os._exit(code)
