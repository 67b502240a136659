"""Requests go where boto3's go, by botocore's own rules."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from pytest_django import Settings

from sessions_dynamo import client
from sessions_dynamo.dataplane.endpoint import Endpoint, endpoint_of, proxy_of
from sessions_dynamo.dataplane.plane import DataPlane
from sessions_dynamo.errors import CredentialsMissing
from tests.sessions_dynamo.dataplane.servers import Seen, answer, sends, serving
from tests.sessions_dynamo.dataplane.support import GET, plane


class Told(Exception):
    """Ends boto3's request before it is sent."""


def by_boto3(region: str | None = None) -> Endpoint:
    """Where boto3 sends, and how it signs, read off the request that it would send."""
    boto3: Any = client.dynamodb(region)
    heard: list[Any] = []

    def hear(request: AWSRequest, **_: Any) -> None:
        heard.append(request)
        raise Told

    boto3.meta.events.register("before-send.dynamodb", hear)
    with pytest.raises(Told):
        boto3.get_item(**GET)
    (request,) = heard
    scope = request.headers["Authorization"].decode().split("Credential=")[1].split("/")
    host = request.url.split("/")[2]
    return Endpoint(request.url, host, "/" + request.url.split("/", 3)[3], scope[2])


CONFIGURED: dict[str, dict[str, str]] = {
    "a region": {},
    "a region of China": {"AWS_REGION": "cn-north-1"},
    "a region of the government": {"AWS_REGION": "us-gov-west-1"},
    "an endpoint": {"AWS_ENDPOINT_URL": "http://127.0.0.1:8000"},
    "an endpoint of DynamoDB": {
        "AWS_ENDPOINT_URL": "http://no",
        "AWS_ENDPOINT_URL_DYNAMODB": "https://db.test:8443/a/",
    },
    "an endpoint with the scheme's port": {"AWS_ENDPOINT_URL": "https://db.test:443"},
    "an IPv6 endpoint": {"AWS_ENDPOINT_URL": "http://[::1]:8000"},
    "an endpoint that is ignored": {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:8000",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
    },
    "FIPS": {"AWS_REGION": "us-east-1", "AWS_USE_FIPS_ENDPOINT": "true"},
    "dual stack": {"AWS_USE_DUALSTACK_ENDPOINT": "true"},
    "an account": {"AWS_ACCOUNT_ID": "123456789012"},
    "an account, but not in the name": {"AWS_ACCOUNT_ID": "123456789012", "AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled"},
    "an account and FIPS": {"AWS_ACCOUNT_ID": "123456789012", "AWS_USE_FIPS_ENDPOINT": "true"},
    "an account and an endpoint": {"AWS_ACCOUNT_ID": "123456789012", "AWS_ENDPOINT_URL": "http://127.0.0.1:8000"},
    "the local region": {"AWS_REGION": "local"},
}


@pytest.fixture(autouse=True)
def _no_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")


@pytest.mark.parametrize("name", CONFIGURED)
def test_the_endpoint_is_boto3s(name: str, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    for variable, value in CONFIGURED[name].items():
        monkeypatch.setenv(variable, value)
        if variable == "AWS_REGION":
            settings.AWS_REGION = value
    found = endpoint_of(client.dynamodb_access().client)
    theirs = by_boto3()
    assert (found.url, found.path, found.region) == (theirs.url, theirs.path, theirs.region)
    assert found.host == theirs.host.removesuffix(":443")
    if name == "an account":
        assert found.host == "123456789012.ddb.eu-west-1.amazonaws.com"


def test_another_region() -> None:
    assert endpoint_of(client.dynamodb_access("ap-south-1").client) == by_boto3("ap-south-1")


def test_a_region_of_the_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    (tmp_path / "config").write_text("[profile far]\nregion = sa-east-1\nuse_dualstack_endpoint = true\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "far")
    monkeypatch.delenv("AWS_REGION")
    settings.AWS_REGION = ""
    found = endpoint_of(client.dynamodb_access().client)
    assert found == by_boto3()
    assert found.host == "dynamodb.sa-east-1.api.aws"


async def test_no_region_says_what_to_set(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    monkeypatch.delenv("AWS_REGION")
    settings.AWS_REGION = ""
    async with plane() as ours:
        with pytest.raises(CredentialsMissing, match="set AWS_REGION"):
            await ours.request("GetItem", GET)


async def test_the_embedded_server(settings: Settings) -> None:
    with serving(sends(answer())) as server:
        settings.DYNAMODB_EMBEDDED, settings.DYNAMODB_EMBEDDED_PORT = True, server.port
        async with plane() as ours:
            await ours.request("GetItem", GET)
    assert "Credential=embedded/" in server.seen[0].headers["authorization"]


async def test_a_replicas_region(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(sends(answer())) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        ours = DataPlane("ap-south-1")
        await ours.request("GetItem", GET)
        await ours.close()
    assert "/ap-south-1/dynamodb/aws4_request" in server.seen[0].headers["authorization"]


@pytest.mark.parametrize("path", ["", "/", "/dynamo", "/a%20b/"])
async def test_an_endpoint_with_a_path_is_asked_and_signed_as_boto3_does(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(sends(answer())) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url + path)
        async with plane() as ours:
            await ours.request("GetItem", GET)
        client.dynamodb().get_item(**GET)  # type: ignore[arg-type]
    mine, theirs = server.seen
    assert mine.target == theirs.target
    assert mine.headers["authorization"].split("Signature=")[1] == signature(mine, server.url)


def signature(seen: Seen, url: str) -> str:
    """What botocore signs a request with that came over the wire."""
    signed = ("content-type", "x-amz-target")
    request: Any = AWSRequest("POST", url + seen.target, {name: seen.headers[name] for name in signed}, seen.body)
    when = datetime.strptime(seen.headers["x-amz-date"], "%Y%m%dT%H%M%SZ")
    with mock.patch("botocore.auth.get_current_datetime", return_value=when):
        SigV4Auth(Credentials("test", "test"), "dynamodb", "eu-west-1").add_auth(request)
    return str(request.headers["Authorization"]).split("Signature=")[1]


def test_proxies_are_botocores(monkeypatch: pytest.MonkeyPatch) -> None:
    access = client.dynamodb_access()
    url = "https://dynamodb.eu-west-1.amazonaws.com/"
    assert proxy_of(access.client, url) is None
    monkeypatch.setenv("HTTPS_PROXY", "user:p%40ss@proxy.test:3128")
    found = proxy_of(access.client, url)
    assert found is not None
    assert found.url == "http://proxy.test:3128"
    assert set(found.headers) == {"Proxy-Authorization"}
    for excepted in (".amazonaws.com", "*", "dynamodb.eu-west-1.amazonaws.com"):
        monkeypatch.setenv("NO_PROXY", excepted)
        assert proxy_of(access.client, url) is None
