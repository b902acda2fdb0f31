"""Free TCP ports of the loopback interface."""

import secrets
import socket
from pathlib import Path

__all__ = ["free_port"]

_FIRST = 20_000
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port() -> int:
    """Return a port that nothing listens on now, and that is nobody's by chance.

    The kernel gives it neither to a connection nor to a server that asks for any port, as those of other
    tests do all the time: it stays free until the server of the test starts, and while that is down.
    """
    ports = range(_FIRST, int(_RANGE.read_text().split()[0]))
    while True:
        port = secrets.choice(ports) if ports else 0
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            chosen: int = probe.getsockname()[1]
            return chosen
