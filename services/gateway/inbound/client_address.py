"""Where a call comes from, believing X-Forwarded-For only from proxies that we were told of."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from litestar.types import Scope

Network = IPv4Network | IPv6Network

UNKNOWN = "unknown"
"""The address of a peer that has none (a Unix socket): all such peers share one quota."""

_FORWARDED_FOR = b"x-forwarded-for"

IPV6_PREFIX_BITS = 64
"""One customer usually has a whole /64: counting single addresses would count nothing."""


def client_address(scope: Scope, trusted_proxies: Sequence[Network]) -> str:
    """Tell the address of the caller: the last one that was not added by a trusted proxy."""
    client = scope.get("client")
    peer = _address(client[0]) if client else None
    if peer is None:
        return UNKNOWN
    for hop in reversed(_forwarded_for(scope)):
        if not _is_trusted(peer, trusted_proxies):
            break
        nearer = _address(hop)
        if nearer is None:
            break
        peer = nearer
    return str(peer)


def is_from_trusted_proxy(scope: Scope, trusted_proxies: Sequence[Network]) -> bool:
    """Tell whether the peer's forwarding headers are believed."""
    client = scope.get("client")
    peer = _address(client[0]) if client else None
    return peer is not None and _is_trusted(peer, trusted_proxies)


def is_forwarded(scope: Scope) -> bool:
    """Tell whether a call says that it came through a proxy, whoever says so."""
    return any(name == _FORWARDED_FOR for name, _ in scope["headers"])


def quota_address(address: str) -> str:
    """Tell under which name an address is counted."""
    parsed = _address(address)
    if isinstance(parsed, IPv6Address):
        return str(ip_network((parsed, IPV6_PREFIX_BITS), strict=False))
    return address


def _forwarded_for(scope: Scope) -> list[str]:
    values = [value.decode("latin-1") for name, value in scope["headers"] if name == _FORWARDED_FOR]
    return [_without_port(hop.strip()) for value in values for hop in value.split(",")]


def _without_port(hop: str) -> str:
    """Return the address alone: Azure's Application Gateway, for one, writes 203.0.113.7:4711."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _is_trusted(address: IPv4Address | IPv6Address, trusted_proxies: Sequence[Network]) -> bool:
    return any(address in network for network in trusted_proxies)
