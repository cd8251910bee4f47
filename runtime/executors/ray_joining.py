"""Whether a Ray cluster can be joined, found out before Ray itself is asked: it tries for half a minute, and loudly."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available

from hybridsplit.scenarios.errors import RunError

_REACH_LIMIT_S = 5.0
_ANSWER_LIMIT_S = 30.0
_REFUSED = "InvalidAuthToken"
_ASK = "import sys; from ray._raylet import GcsClient; print(GcsClient(address=sys.argv[1]).cluster_id)"
"""Asks a cluster for its id, which needs its token and the same version of Ray."""
HOW_TO_START = (
    "start one with 'ray start --head' and give the address that it prints, with the same Python and Ray versions and "
    "the same authentication token on every machine"
)
HOW_TO_SHARE = (
    "copy ~/.ray/auth_token of the machine that started the cluster to this one, readable for its owner alone, and set "
    "RAY_AUTH_MODE=token where 'ray start' runs"
)


def prepare_to_join(address: str) -> None:
    """Reach a cluster, and take its token from where Ray keeps it if it asks for one.

    Joining a cluster by its address, Ray goes by a token only where ``RAY_AUTH_MODE`` says so. Here a token that is
    there is shown to a cluster that wants one; the processes of others would not know what to do with it.

    Parameters
    ----------
    address
        ``HOST:PORT``, or ``auto`` for a cluster on this machine, which Ray finds by itself.

    Raises
    ------
    RunError
        If nothing answers at the address, or the cluster does not accept this machine's token.
    """
    if address == "auto":
        return
    head = f"--address {address}"
    host, separator, port = address.rpartition(":")
    if not (separator and host and port.isdigit()):
        raise RunError(f"{head}: needs HOST:PORT, for example 192.0.2.10:6379, or 'auto'; {HOW_TO_START}")
    try:
        socket.create_connection((host, int(port)), timeout=_REACH_LIMIT_S).close()
    except (OSError, OverflowError) as error:
        raise RunError(f"{head}: cannot join this Ray cluster ({error}); {HOW_TO_START}") from error
    if _is_accepted(address, head):
        return
    whose = "it asks for a token and there is none here"
    if _has_token():
        maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
        if _is_accepted(address, head):
            return
        whose = "its token is not the one here"
    raise RunError(f"{head}: the Ray cluster refuses this machine: {whose}; {HOW_TO_SHARE}")


def _has_token() -> bool:
    if os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return True
    try:
        return (Path.home() / ".ray" / "auth_token").is_file()
    except (RuntimeError, OSError):
        return False


def _is_accepted(address: str, head: str) -> bool:
    """Ask in a process of its own, which is ended as soon as the cluster has refused."""
    asking = subprocess.Popen(  # noqa: S603  our own text, and an address that was checked
        [sys.executable, "-c", _ASK, address], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert asking.stdout is not None
        last = ""
        for line in asking.stdout:
            last = line.strip() or last
            if _REFUSED in line:
                return False
        if asking.wait(_ANSWER_LIMIT_S) != 0:
            raise RunError(f"{head}: cannot join this Ray cluster ({last}); {HOW_TO_START}")
        return True
    finally:
        asking.kill()
        asking.wait()
