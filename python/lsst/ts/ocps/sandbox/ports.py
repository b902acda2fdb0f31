"""Free TCP ports of the loopback interface."""

import socket
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

__all__ = ["LOOPBACK", "choose_ports"]

LOOPBACK = "127.0.0.1"


def choose_ports(names: Sequence[str], *, preferred: Mapping[str, int] | None = None) -> dict[str, int]:
    """Choose a free port for each name, all different.

    Nothing is reserved: somebody else may take a port before it is used, so be ready to choose again.

    Parameters
    ----------
    names
        What the ports are for.
    preferred
        Ports to be chosen where they are free, by name.

    Returns
    -------
    dict [ str, int ]
        Port by name.
    """
    ports: dict[str, int] = {}
    with ExitStack() as held:
        for name in names:
            for port in (*filter(None, [(preferred or {}).get(name)]), 0):
                server = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
                # As servers do: a port whose last connections linger in TIME_WAIT is free.
                server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    server.bind((LOOPBACK, port))
                    server.listen(1)
                except OSError:
                    continue
                ports[name] = server.getsockname()[1]
                break
    return ports
