"""The only place that builds AWS clients: region, endpoint, credentials, timeouts and retries."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import boto3
import botocore.loaders
import botocore.session
from botocore.config import Config

from sessions_dynamo.conf import conf, forget_on_change
from sessions_dynamo.errors import boto_errors

if TYPE_CHECKING:
    from botocore.client import BaseClient
    from botocore.credentials import Credentials
    from botocore.loaders import Loader
    from mypy_boto3_dynamodb import DynamoDBClient

EMBEDDED_REGION = "us-east-1"
"""The region of the embedded server when none is configured. It keeps no data anywhere but in memory."""

# A worker thread holds at most one connection; a request waits 1 s to connect and 5 s for an answer, and the
# standard mode retries throttles and server errors with jittered back-off.
_CONFIG = Config(
    connect_timeout=1,
    read_timeout=5,
    retries={"mode": "standard", "total_max_attempts": 4},
    max_pool_connections=64,
    tcp_keepalive=True,
)


def _quick_config() -> Config:
    """A person waits: a page says soon that DynamoDB does not answer, rather than try again unseen."""
    return _CONFIG.merge(
        Config(read_timeout=conf.DYNAMODB_PAGE_SECONDS, retries={"mode": "standard", "total_max_attempts": 1})
    )


def embedded_endpoint() -> str:
    """The URL of the embedded DynamoDB server; loopback only."""
    return f"http://127.0.0.1:{conf.DYNAMODB_EMBEDDED_PORT}"


@lru_cache(maxsize=64)
def aws_client(service: str, region: str | None = None, *, quick: bool = False) -> Any:
    """A thread-safe low-level client of one AWS service, shared by the process; a ``quick`` one is for pages.

    ``region`` defaults to ``AWS_REGION``/``AWS_DEFAULT_REGION``, then to the AWS profile's.
    Raises ``CredentialsMissing`` where no region or profile is usable.
    """
    with boto_errors(service):
        return _make(_session(_core(), region), service, _quick_config() if quick else _CONFIG)


@dataclass(frozen=True, slots=True)
class Access:
    """What a way of its own to DynamoDB needs to reach the same endpoint with the same credentials as boto3 does."""

    client: DynamoDBClient
    """It has the endpoint, the configuration and the meaning of answers; nothing is sent by it."""
    credentials: Callable[[], Credentials | None]
    """What botocore's providers found, kept once found; looking may take seconds."""
    ca_bundle: str | bool
    """The path of the certificates that a server is held against; ``True``: the usual ones."""


def dynamodb_access(region: str | None = None) -> Access:
    """The access of a region, by default the service's own, looked up anew at every call: some 30 ms.

    Raises ``CredentialsMissing`` where no region or profile is usable.
    """
    with boto_errors("dynamodb"):
        core = _core()
        session = _session(core, region)
        client: DynamoDBClient = _make(session, "dynamodb", _CONFIG)
        # As botocore has it: its own setting, then the variable of ``requests``.
        ca_bundle = core.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE") or True
        return Access(client, session.get_credentials, ca_bundle)


def _core() -> botocore.session.Session:
    """A session of its own: boto3's default session is not thread-safe while it makes clients."""
    core = botocore.session.get_session()
    core.register_component("data_loader", _loader(core.get_config_variable("data_path")))
    return core


def _session(core: botocore.session.Session, region: str | None) -> boto3.session.Session:
    region = region or conf.AWS_REGION or None
    if conf.DYNAMODB_EMBEDDED:
        return boto3.session.Session(
            aws_access_key_id="embedded",
            aws_secret_access_key="embedded",
            region_name=region or EMBEDDED_REGION,
            botocore_session=core,
        )
    return boto3.session.Session(region_name=region, botocore_session=core)


def _make(session: boto3.session.Session, service: str, config: Config) -> Any:
    endpoint = embedded_endpoint() if conf.DYNAMODB_EMBEDDED else None
    return session.client(service, endpoint_url=endpoint, config=config)


@cache
def _loader(data_path: str | None) -> Loader:
    """What has read the services' models, which is most of the time that a client takes to make."""
    return botocore.loaders.create_loader(data_path)


def dynamodb(region: str | None = None, *, quick: bool = False) -> DynamoDBClient:
    """The DynamoDB client of a region, by default the service's own; a ``quick`` one is for pages."""
    client: DynamoDBClient = aws_client("dynamodb", region, quick=quick)
    return client


def region_name() -> str:
    """The region that this process talks to."""
    return dynamodb().meta.region_name


def endpoint_url() -> str:
    """The endpoint that this process talks to: AWS's own, an emulator's or the embedded server's."""
    return dynamodb().meta.endpoint_url


_AWS_DOMAINS: Final = (
    ".amazonaws.com",
    ".api.aws",
    ".amazonaws.com.cn",
    ".api.amazonwebservices.com.cn",
    ".amazonaws.eu",
    ".api.amazonwebservices.eu",
    ".c2s.ic.gov",
    ".sc2s.sgov.gov",
    ".cloud.adc-e.uk",
    ".csp.hci.ic.gov",
)


def is_aws(client: BaseClient) -> bool:
    """Whether the client talks to AWS itself rather than to an emulator."""
    host = urlsplit(client.meta.endpoint_url).hostname or ""
    return host.endswith(_AWS_DOMAINS)


forget_on_change(aws_client.cache_clear, "DYNAMODB_", "AWS_")
# A server may have made tables before it forks its workers: a connection is of one process.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=aws_client.cache_clear)
