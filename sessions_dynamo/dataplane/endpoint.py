"""Where requests go, by botocore's own rules: region, ``AWS_ENDPOINT_URL``, FIPS, dual stack, account ids, proxies."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore.awsrequest import prepare_request_dict
from botocore.exceptions import ProxyConnectionError
from botocore.httpsession import ProxyConfiguration, get_cert_path
from botocore.utils import get_environ_proxies

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A URL with its path, the ``Host`` that names it, and the region that requests are signed for."""

    url: str
    host: str
    path: str
    region: str


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy, what it asks to know who comes, and the TLS that it is spoken to in, if its URL says so."""

    url: str
    headers: Mapping[str, str]
    tls: ssl.SSLContext | None = None


def endpoint_of(client: DynamoDBClient) -> Endpoint:
    """The endpoint that the client's requests on tables go to. May renew credentials: their account is in its name.

    Raises botocore's errors where the configuration contradicts itself.
    """
    core: Any = client
    context: dict[str, Any] = {}
    model = core.meta.service_model.operation_model("GetItem")
    base, _, _ = core._resolve_endpoint_ruleset(model, {"TableName": "table"}, context)
    request = {"url_path": "/", "query_string": {}, "method": "POST", "headers": {}, "body": b""}
    prepare_request_dict(request, endpoint_url=base)
    url = str(request["url"])
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    if parts.port not in (None, _PORTS.get(parts.scheme)):
        host = f"{host}:{parts.port}"
    region = context.get("signing", {}).get("region") or client.meta.region_name
    return Endpoint(url, host, parts.path or "/", region)


def proxy_of(client: DynamoDBClient, url: str, ca_bundle: str | bool = True) -> Proxy | None:
    """The proxy before a URL, from the client's configuration or the variables of the environment, if any.

    Raises ``ProxyConnectionError`` for one that is no HTTP proxy.
    """
    configured: dict[str, str] | None = client.meta.config.proxies  # type: ignore[attr-defined]
    proxies = ProxyConfiguration(get_environ_proxies(url) if configured is None else configured)
    proxy = proxies.proxy_url_for(url)
    if not proxy:
        return None
    parts = urlsplit(proxy)
    address = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    try:
        is_known = parts.scheme in _PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_known = False
    if not is_known:
        raise ProxyConnectionError(proxy_url=address)
    return Proxy(address, proxies.proxy_headers_for(proxy), tls_of(ca_bundle) if parts.scheme == "https" else None)


def tls_of(ca_bundle: str | bool) -> ssl.SSLContext:
    """A client's TLS against these certificates; ``True`` stands for those that botocore brings. Reads files.

    Raises ``OSError`` where there are none.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    usual: str = get_cert_path(True)  # type: ignore[assignment]
    context.load_verify_locations(cafile=usual if ca_bundle is True else str(ca_bundle))
    return context
