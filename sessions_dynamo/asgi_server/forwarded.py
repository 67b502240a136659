"""Who the client is behind proxies: ``X-Forwarded-For`` and ``X-Forwarded-Proto``, from those that are believed."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

ANYBODY: Final = "*"

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Proxies:
    """The proxies that are believed: addresses and networks, or ``*`` for whoever connects.

    Each proxy adds to the right what it saw itself, so the list is read from there: the client is the first address
    that is none of these networks. With ``*`` only the connection's other end is taken for a proxy, and the client is
    what it added last: what stands further left is the client's own word.
    """

    def __init__(self, trusted: str | Iterable[str]) -> None:
        """Raises ``ValueError`` for what is neither an address nor a network."""
        names = trusted.split(",") if isinstance(trusted, str) else list(trusted)
        names = [name.strip() for name in names if name.strip()]
        self._anybody = ANYBODY in names
        # Of the connection's other end: the same few proxies, request after request.
        self._trusts_host = lru_cache(maxsize=1024)(lambda host: self._trusts(_address(host)))
        self._networks = [ipaddress.ip_network(name, strict=False) for name in names if name != ANYBODY]

    def apply(self, scope: Any) -> None:
        """Put client and scheme into a request's scope, if its other end may speak for them."""
        if not self._anybody and not _is_unix(scope["server"]) and not self._trusts_client(scope["client"]):
            return
        forwarded = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
        scheme = [value for name, value in scope["headers"] if name == b"x-forwarded-proto"]
        if scheme and (named := scheme[-1].rpartition(b",")[2].strip().lower()) in (b"http", b"https"):
            scope["scheme"] = named.decode()
        if forwarded and (found := self._client(b",".join(forwarded).decode("latin-1"))) is not None:
            scope["client"] = (str(found), 0)

    def _client(self, hops: str) -> Address | None:
        """The nearest hop that is no proxy of ours, else the furthest; ``None`` if the nearest is no address."""
        known = None
        for hop in reversed(hops.split(",")):
            if (address := _address(hop)) is None:
                break
            known = address
            if not self._trusts(address):
                break
        return known

    def _trusts_client(self, client: tuple[str, int] | None) -> bool:
        return client is not None and self._trusts_host(client[0])

    def _trusts(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self._networks)


def _is_unix(server: tuple[str, int | None] | None) -> bool:
    """Whether it came over a Unix socket, which only this machine's own processes reach."""
    return server is not None and server[1] is None


def _address(text: str) -> Address | None:
    """An address, with or without a port and brackets; ``None`` for anything else."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    # A socket that takes both families shows IPv4 clients so.
    return getattr(address, "ipv4_mapped", None) or address
