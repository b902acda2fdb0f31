"""What is an address, and which belong to the world, not to this machine or its neighbours. No I/O."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from pydantic import IPvAnyNetwork

__all__ = ["is_address", "is_in", "is_public", "network_of"]

_TRANSLATED = ip_network("64:ff9b::/96")
"""IPv4 addresses as a translator of the network writes them (RFC 6052)."""


def is_address(text: str) -> bool:
    """Whether a text is an address, and not a name."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def is_public(text: str) -> bool:
    """Whether an address is of the public internet: not loopback, private, link-local or multicast.

    What carries an IPv4 address in it counts as that one.
    """
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, IPv6Address):
        inner = _inner(address)
        if inner is not None:
            return _is_global(inner)
    return _is_global(address)


def is_in(address: str, networks: Iterable[IPvAnyNetwork]) -> bool:
    """Whether a text is an address of one of some networks."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    # An IPv4 client of a socket that takes both kinds.
    mapped = getattr(found, "ipv4_mapped", None)
    return any(found in network or (mapped is not None and mapped in network) for network in networks)


# Most requests come from few addresses, and to look at one takes some microseconds.
@lru_cache(maxsize=256)
def network_of(address: str) -> str:
    """What is counted as one: whoever has one IPv6 address usually has the network."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if isinstance(found, IPv4Address):
        return address
    # IPv4 clients of a socket that takes both kinds would all be of one network.
    mapped = found.ipv4_mapped
    return str(mapped) if mapped else str(ip_network(f"{found}/64", strict=False))


def _is_global(address: IPv4Address | IPv6Address) -> bool:
    # Some addresses for one purpose only count as global, too.
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _inner(address: IPv6Address) -> IPv4Address | None:
    if address in _TRANSLATED:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None)
