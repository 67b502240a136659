"""What goes back by each front door, whatever the site answered."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

import pytest

from mcpsite.aws_lambda.answers import sentence
from tests.mcpsite.aws_lambda.conftest import Handler
from tests.mcpsite.aws_lambda.events import CONTEXT, Front, alb, cookies, http_api, received, rest

pytestmark = pytest.mark.usefixtures("dynamodb")

HTTP: Final = Front("http-api", "", http_api())


@pytest.fixture
def answering(handler: Handler, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have the site answer with these headers and this body."""

    def be(headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        async def site(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})

        monkeypatch.setattr(handler, "_site", site)

    return be


@pytest.mark.parametrize(
    ("kind", "encoding", "is_text"),
    [
        (b"application/json", None, True),
        (b"text/html; charset=utf-8", None, True),
        (b"text/css", b"gzip", False),
        (b"font/woff2", None, False),
        (b"text/plain; charset=latin-1", None, False),
    ],
)
def test_a_body_that_is_no_text_goes_as_base64(
    handler: Handler, answering: Callable[..., None], kind: bytes, encoding: bytes | None, is_text: bool
) -> None:
    body = "ä".encode() if is_text else b"\xe4\x1f"
    answering([(b"content-type", kind), *([(b"content-encoding", encoding)] if encoding else [])], body)
    event, _ = HTTP.ask("GET", "/x")
    result = handler(event, CONTEXT)
    assert result["isBase64Encoded"] is not is_text
    assert received(result).content == body


@pytest.mark.parametrize("many", [False, True])
def test_cookies_by_a_balancer(handler: Handler, answering: Callable[..., None], many: bool) -> None:
    given = [f"c{number}=1" for number in range(40)]
    answering([*((b"set-cookie", cookie.encode()) for cookie in given), (b"vary", b"x"), (b"vary", b"y")], b"")
    event, _ = Front("alb", "", alb(many=many)).ask("GET", "/x")
    result = handler(event, CONTEXT)
    assert sorted(cookies(result)) == sorted(given)
    assert (result["multiValueHeaders"] if many else result["headers"])["vary"] == (["x", "y"] if many else "x, y")
    assert result["statusDescription"] == "200 OK"


ALB: Final = Front("alb", "", alb(many=True))
REST: Final = Front("rest", "/prod", rest("prod"))


@pytest.mark.parametrize(
    ("front", "body"),
    [
        (HTTP, b"1" * 6_000_001),
        (ALB, b"1" * 1_000_001),
        # With a quote each, which JSON has as two.
        (REST, b'"' * 4_000_000),
        # Neither as text nor in base64.
        (HTTP, b'"' * 5_000_000),
    ],
    ids=["http-api", "alb", "escaped", "neither"],
)
def test_an_answer_that_no_function_carries_says_so(
    handler: Handler, answering: Callable[..., None], front: Front, body: bytes
) -> None:
    answering([(b"content-type", b"application/json")], body)
    event, _ = front.ask("GET", "/x")
    answer = received(handler(event, CONTEXT))
    assert answer.status == 500
    assert re.match(r"The answer takes \d,\d{3},\d{3} bytes of a function's result, of which", answer.error["message"])


@pytest.mark.parametrize("body", [b'"' * 4_000_000, "ä".encode() * 1_500_000], ids=["quotes", "letters"])
def test_a_text_that_json_makes_too_long_goes_as_base64(
    handler: Handler, answering: Callable[..., None], body: bytes
) -> None:
    answering([(b"content-type", b"application/json")], body)
    event, _ = HTTP.ask("GET", "/x")
    result = handler(event, CONTEXT)
    assert len(json.dumps(result)) < 6_000_000
    assert received(result).content == body


def test_a_sentence_is_json_whatever_is_in_it() -> None:
    text = 'a "name"\\, and\nanother line'
    assert json.loads(sentence(HTTPStatus.GATEWAY_TIMEOUT, text).body)["error"]["message"] == text
