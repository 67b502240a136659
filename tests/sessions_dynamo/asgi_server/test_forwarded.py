"""Whose word about a client counts."""

from __future__ import annotations

from typing import Any

import pytest

from sessions_dynamo.asgi_server.forwarded import Proxies

NETWORKS = "10.0.0.0/8, 192.0.2.1,2001:db8::/32"


def _client(trusted: str, peer: str | None, *forwarded: str, proto: str = "", unix: bool = False) -> tuple[Any, str]:
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    if proto:
        headers.append((b"x-forwarded-proto", proto.encode()))
    scope = {
        "client": (peer, 5) if peer else None,
        "server": ("/run/socket", None) if unix else ("127.0.0.1", 80),
        "scheme": "http",
        "headers": headers,
    }
    Proxies(trusted).apply(scope)
    client: Any = scope["client"]
    return client and client[0], str(scope["scheme"])


@pytest.mark.parametrize(
    ("trusted", "forwarded", "client"),
    [
        (NETWORKS, ["6.6.6.6, 203.0.113.9"], "203.0.113.9"),
        (NETWORKS, ["6.6.6.6, 203.0.113.9, 10.2.2.2"], "203.0.113.9"),
        (NETWORKS, ["6.6.6.6", "203.0.113.9", "192.0.2.1"], "203.0.113.9"),
        (NETWORKS, ["203.0.113.9:443"], "203.0.113.9"),
        (NETWORKS, ["[2001:db9::1]:443, 2001:db8::5"], "2001:db9::1"),
        (NETWORKS, ["10.3.3.3, 10.2.2.2"], "10.3.3.3"),
        (NETWORKS, ["203.0.113.9, nonsense"], "10.1.1.1"),
        (NETWORKS, ["nonsense, 10.2.2.2"], "10.2.2.2"),
        (NETWORKS, [""], "10.1.1.1"),
        (NETWORKS, [], "10.1.1.1"),
        ("*", ["6.6.6.6, 203.0.113.9"], "203.0.113.9"),
        ("127.0.0.1", ["203.0.113.9"], "10.1.1.1"),
    ],
)
def test_the_list_is_read_from_the_proxies_side(trusted: str, forwarded: list[str], client: str) -> None:
    assert _client(trusted, "10.1.1.1", *forwarded)[0] == client


def test_the_scheme_is_the_last_proxys() -> None:
    assert _client(NETWORKS, "10.1.1.1", proto="http, https")[1] == "https"
    assert _client(NETWORKS, "10.1.1.1", proto="gopher")[1] == "http"
    assert _client(NETWORKS, "203.0.113.9", proto="https")[1] == "http"


def test_an_ipv4_client_of_a_socket_for_both_families_is_known() -> None:
    assert _client(NETWORKS, "::ffff:10.1.1.1", "203.0.113.9")[0] == "203.0.113.9"


def test_a_unix_socket_is_this_machines_own_and_a_client_that_is_gone_is_nobody() -> None:
    assert _client(NETWORKS, None, "203.0.113.9", unix=True)[0] == "203.0.113.9"
    assert _client(NETWORKS, None, "203.0.113.9")[0] is None


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(ValueError, match="balancer"):
        Proxies("balancer.example")
