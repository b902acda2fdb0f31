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
    tests do all the time; nor is it given twice, here or in another process of tests. So it stays free until
    the server of the test starts, and while that is down.
    """
    ports = range(_FIRST, int(_RANGE.read_text().split()[0]))
    while True:
        port = secrets.choice(ports)
        if _claim(port) and _is_free(port):
            return port


def _claim(port: int) -> bool:
    # A name in the abstract namespace of Linux has one owner, ends with its process, and leaves no file.
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0ocps-test-port-{port}")
    except OSError:
        claim.close()
        return False
    _ = claim.detach()
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
