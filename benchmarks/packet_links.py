"""Links between network namespaces, shaped by token buckets, and timed transfers over TCP sockets between them.

Linux and root only. Every client gets a namespace and a virtual Ethernet pair to the server's; ``tc tbf`` shapes both
ends. Namespaces are named after this process and removed at the end.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SEGMENT_BYTES = 1448
"""TCP payload of a full packet of 1,500 bytes, with time stamps."""
HEADER_BYTES = 66
"""Ethernet, IP and TCP headers of a packet, with time stamps; the bucket counts them."""
BURST_BYTES = 3 * (SEGMENT_BYTES + HEADER_BYTES)
"""The bucket: what passes at once when the link was idle. Timers wake a little late, so fewer packets cost rate."""
PREAMBLE_BYTES = 8 * SEGMENT_BYTES
"""Sent before each transfer, so that the bucket is empty when its time begins to count."""
_NEW_NETWORK = 0x40000000


def why_not() -> str | None:
    """Return why namespaces cannot be made here; None where they can."""
    if sys.platform != "linux":
        return "network namespaces are Linux's"
    if os.geteuid() != 0:
        return "making network namespaces needs root"
    if missing := [tool for tool in ("ip", "tc") if shutil.which(tool) is None]:
        return f"{' and '.join(missing)} (iproute2) not found"
    probe = f"hsp{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True)
    if made.returncode:
        return f"ip netns: {made.stderr.strip()}"
    shaped = subprocess.run(
        ["ip", "netns", "exec", probe, "tc", *_bucket("lo", "add", 1e6).split()], capture_output=True, text=True
    )
    subprocess.run(["ip", "netns", "del", probe], capture_output=True)
    return f"tc tbf: {shaped.stderr.strip()}" if shaped.returncode else None


def wire_bytes(payload_bytes: int) -> int:
    """Return what a payload has on the wire: one header for every segment."""
    return payload_bytes + HEADER_BYTES * -(-payload_bytes // SEGMENT_BYTES)


def _bucket(device: str, verb: str, rate_bps: float) -> str:
    return f"qdisc {verb} dev {device} root tbf rate {max(1000, round(rate_bps))}bit burst {BURST_BYTES} limit 16mb"


class ShapedLink:
    """A client's link to the server: two sockets, and a bucket in each direction.

    Parameters
    ----------
    index
        Which one of this process.
    uplink_bps, downlink_bps
        Rates on the wire.
    """

    def __init__(self, index: int, uplink_bps: float, downlink_bps: float) -> None:
        self._client, self._server = f"hsc{os.getpid()}-{index}", f"hss{os.getpid()}-{index}"
        for name in (self._client, self._server):
            _run("ip", "netns", "add", name)
        _run(
            "ip",
            "link",
            "add",
            "uplink0",
            "netns",
            self._client,
            "type",
            "veth",
            "peer",
            "name",
            "downlink0",
            "netns",
            self._server,
        )
        for name, device, address in ((self._client, "uplink0", "10.77.0.2"), (self._server, "downlink0", "10.77.0.1")):
            _run("ip", "-n", name, "addr", "add", f"{address}/24", "dev", device)
            _run("ip", "-n", name, "link", "set", device, "up")
        with _inside(self._server):
            listener = socket.create_server(("10.77.0.1", 7000))
        with _inside(self._client):
            self.at_client = socket.create_connection(("10.77.0.1", 7000))
        self.at_server, _ = listener.accept()
        listener.close()
        for one in (self.at_client, self.at_server):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._tc = {
            is_up: subprocess.Popen(
                ["ip", "netns", "exec", name, "tc", "-force", "-batch", "-"], stdin=subprocess.PIPE, text=True
            )
            for is_up, name in ((True, self._client), (False, self._server))
        }
        self._verb = "add"
        self.shape(uplink_bps, downlink_bps)

    def shape(self, uplink_bps: float, downlink_bps: float) -> None:
        """Set the rates on the wire from now on."""
        for is_up, rate_bps in ((True, uplink_bps), (False, downlink_bps)):
            tool = self._tc[is_up].stdin
            assert tool is not None
            tool.write(_bucket("uplink0" if is_up else "downlink0", self._verb, rate_bps) + "\n")
            tool.flush()
        if self._verb == "add":
            time.sleep(0.2)  # the first command starts tc
        self._verb = "change"

    def carry(self, size_bytes: int, *, is_up: bool) -> tuple[float, float]:
        """Send bytes, and return when they began to arrive and how long that took, s."""
        source, sink = (self.at_client, self.at_server) if is_up else (self.at_server, self.at_client)
        sender = threading.Thread(target=source.sendall, args=(bytes(PREAMBLE_BYTES + size_bytes),))
        sender.start()
        _receive(sink, PREAMBLE_BYTES)
        began_s = time.monotonic()
        _receive(sink, size_bytes)
        took_s = time.monotonic() - began_s
        sender.join()
        return began_s, took_s

    def close(self) -> None:
        """Remove sockets and namespaces."""
        for one in (self.at_client, self.at_server):
            one.close()
        for tool in self._tc.values():
            assert tool.stdin is not None
            tool.stdin.close()
            tool.wait(timeout=10)
        for name in (self._client, self._server):
            _run("ip", "netns", "del", name)


def _receive(sink: socket.socket, size_bytes: int) -> None:
    buffer = memoryview(bytearray(1 << 16))
    left = size_bytes
    while left:
        got = sink.recv_into(buffer[: min(left, len(buffer))])
        if not got:
            raise RuntimeError("the connection was closed")
        left -= got


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, timeout=20)


@contextmanager
def _inside(name: str) -> Iterator[None]:
    """Make what is opened meanwhile belong to a namespace."""
    setns = ctypes.CDLL(None, use_errno=True).setns
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(Path("/run/netns") / name, os.O_RDONLY)
    try:
        if setns(there, _NEW_NETWORK):
            raise OSError(ctypes.get_errno(), "setns")
        yield
    finally:
        setns(home, _NEW_NETWORK)
        os.close(there)
        os.close(home)
