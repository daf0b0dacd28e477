"""Which addresses somebody else may make us call: only those of the public internet.

A name is resolved once for each delivery, and the address that was checked is the one that is called: a name that
answers differently the second time (DNS rebinding) leads nowhere else.

Source: OWASP Server-Side Request Forgery Prevention Cheat Sheet; RFC 6890 (special-purpose addresses, in a registry of
IANA); RFC 6052, section 2.1 (NAT64); RFC 8215 (NAT64 of a network's own); RFC 3879 (site-local addresses);
learn.microsoft.com, "What is IP address 168.63.129.16?" (Azure's own services, at a public address).
"""

import asyncio
import socket
from concurrent.futures import Executor
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from services.runtime.errors import RefusedError, UnavailableError

RESERVED: Final = tuple(
    ip_network(network)
    for network in (
        "168.63.129.16/32",
        "192.0.0.0/24",
        "::/96",
        "::ffff:0:0:0/96",
        "64:ff9b:1::/48",
        "3fff::/20",
        "5f00::/16",
        "fec0::/10",
    )
)
"""What Python's own list lets pass, or did in versions that are in use: what clouds offer to machines of their own
(Azure's wireserver, Oracle's metadata), IPv4 addresses in wrappings that only private networks unpack, documentation,
segment routing, and what was private before `fc00::/7`."""

NAT64: Final = IPv6Network("64:ff9b::/96")
"""IPv4 addresses as an IPv6 network sees them: the last four bytes are the address."""


class AddressRefusedError(RefusedError):
    """A name leads to an address that isn't public."""

    default_reason = "address_not_public"


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Tell whether an address is of the public internet, however it is wrapped."""
    if isinstance(address, IPv6Address):
        inside = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inside is None and address in NAT64:
            inside = IPv4Address(address.packed[-4:])
        if inside is not None:
            return is_public(inside)
    is_reserved = any(address in network for network in RESERVED)
    return address.is_global and not address.is_multicast and not is_reserved


async def address_of(host: str, port: int, *, private_allowed: bool, timeout_seconds: float, threads: Executor) -> str:
    """Resolve a host to the address to call, in one of the threads: they stay with a look-up past its deadline.

    Raises:
        AddressRefusedError: One of its addresses isn't public.
        UnavailableError: `name_not_resolved`.
    """
    try:
        async with asyncio.timeout(timeout_seconds):
            found = await asyncio.get_running_loop().run_in_executor(
                threads, socket.getaddrinfo, host, port, socket.AF_UNSPEC, socket.SOCK_STREAM
            )
    except (OSError, UnicodeError, TimeoutError) as error:
        raise UnavailableError(f"{host} can't be resolved.", reason="name_not_resolved") from error
    addresses = [str(sockaddr[0]) for _, _, _, _, sockaddr in found]
    if not addresses:
        raise UnavailableError(f"{host} has no address.", reason="name_not_resolved")
    # All of them: a name that has a private address among public ones has no business here.
    if not private_allowed and not all(is_public(ip_address(address.partition("%")[0])) for address in addresses):
        raise AddressRefusedError(f"{host} leads to an address that isn't public.")
    return addresses[0]
