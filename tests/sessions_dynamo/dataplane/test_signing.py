"""Our signature is botocore's, whatever is signed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from unittest import mock

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import given
from hypothesis import strategies as st

from sessions_dynamo.dataplane.signing import CONTENT_TYPE, Signer

texts = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60)
regions = st.sampled_from(["us-east-1", "eu-west-1", "cn-north-1", "us-gov-west-1"])
hosts = st.sampled_from(
    [
        ("https", "dynamodb.eu-west-1.amazonaws.com", ""),
        ("https", "123456789012.ddb.us-east-1.amazonaws.com", ""),
        ("https", "localhost", ":8443"),
        ("http", "127.0.0.1", ":8000"),
        ("http", "[::1]", ":8000"),
        ("http", "localhost", ""),
    ]
)
paths = st.sampled_from(["/", "/dynamo/", "/a%20b/", "/a//b/../c/"])
keys = st.builds(
    ReadOnlyCredentials, texts, texts, st.none() | st.text(st.characters(codec="ascii", exclude_categories=["C"]))
)
moments = st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31))
bodies = st.text(st.characters(exclude_categories=["Cs"])).map(str.encode) | st.binary(max_size=200)


def by_botocore(
    signing: ReadOnlyCredentials, region: str, url: str, target: str, body: bytes, now: datetime
) -> dict[str, str]:
    request: Any = AWSRequest("POST", url, headers={"Content-Type": CONTENT_TYPE, "X-Amz-Target": target}, data=body)
    with mock.patch("botocore.auth.get_current_datetime", return_value=now):
        SigV4Auth(signing, "dynamodb", region).add_auth(request)
    return dict(request.headers.items())


@given(keys, regions, hosts, paths, st.lists(st.tuples(texts, bodies, moments), min_size=1, max_size=3))
def test_one_signer_signs_as_botocore_does_request_after_request(
    signing: ReadOnlyCredentials,
    region: str,
    place: tuple[str, str, str],
    path: str,
    requests: list[tuple[str, bytes, datetime]],
) -> None:
    scheme, name, port = place
    signer = Signer(host=name + port, path=path, region=region)
    for target, body, now in requests:
        ours = signer.headers(signing, target, body, now.replace(tzinfo=UTC).timestamp())
        assert ours.pop("Host") == name + port
        theirs = by_botocore(signing, region, f"{scheme}://{name}{port}{path}", target, body, now)
        assert {key: " ".join(value.split()) for key, value in theirs.items()} == ours


@given(st.lists(keys, min_size=2, max_size=4), st.lists(moments, min_size=1, max_size=3))
def test_neither_keys_nor_days_are_mixed_up(many: list[ReadOnlyCredentials], days: list[datetime]) -> None:
    signer = Signer(host="localhost", path="/", region="eu-west-1")
    for now in days:
        for signing in [*many, *many]:
            ours = signer.headers(signing, "T", b"{}", now.replace(tzinfo=UTC).timestamp())
            theirs = by_botocore(signing, "eu-west-1", "http://localhost/", "T", b"{}", now)
            assert ours["Authorization"] == theirs["Authorization"]
