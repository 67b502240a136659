"""Events of each front door, as AWS documents them, and what a client behind it gets of the function's answer."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

from django.utils.datastructures import CaseInsensitiveMapping

from tests.mcpsite.peers import Answer

Event = dict[str, Any]
HOST: Final = "testserver"
CONTEXT: Final = SimpleNamespace(
    function_name="sessions",
    aws_request_id="6bc28136-xmpl",
    memory_limit_in_mb="512",
    get_remaining_time_in_millis=lambda: 30_000,
)


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks, by its whole URL."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Front:
    """A front door: what a client's URLs begin with there, and the event that it makes of a request."""

    name: str
    prefix: str
    event: Callable[[Request], Event]

    def __str__(self) -> str:
        return self.name

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[Event, Request]:
        """The event of a request for one of the site's own paths."""
        path, _, query = path.partition("?")
        request = Request(method, f"{self.prefix}{path}", query, {"Host": HOST, **(headers or {})}, body)
        return json.loads(json.dumps(self.event(request))), request


def received(result: dict[str, Any]) -> Answer:
    """What a client has of the function's result."""
    content = b64decode(result["body"]) if result["isBase64Encoded"] else result["body"].encode()
    headers = {name: values[-1] for name, values in result.get("multiValueHeaders", {}).items()}
    headers |= result.get("headers", {})
    # Front doors send names as they like, and peers look for them in one spelling.
    titled = {name.title(): value for name, value in headers.items()}
    return Answer(result["statusCode"], CaseInsensitiveMapping(titled), content)


def cookies(result: dict[str, Any]) -> list[str]:
    """Every cookie that a client has of the function's result."""
    single = [value for name, value in result.get("headers", {}).items() if name.lower() == "set-cookie"]
    return [*result.get("cookies", []), *result.get("multiValueHeaders", {}).get("set-cookie", []), *single]


def _body(request: Request) -> Event:
    if not request.body:
        return {"body": None, "isBase64Encoded": False}
    try:
        return {"body": request.body.decode(), "isBase64Encoded": False}
    except UnicodeDecodeError:
        return {"body": b64encode(request.body).decode(), "isBase64Encoded": True}


def _queries(request: Request) -> tuple[dict[str, str] | None, dict[str, list[str]] | None]:
    many: dict[str, list[str]] = {}
    for name, value in parse_qsl(request.query, keep_blank_values=True):
        many.setdefault(name, []).append(value)
    return {name: values[-1] for name, values in many.items()} or None, many or None


def rest(stage: str, base: str = "", *, many: bool = True) -> Callable[[Request], Event]:
    """A REST API: on its own domain, or below ``base`` of a custom one."""

    def event(request: Request) -> Event:
        inner = request.path.removeprefix(base or f"/{stage}") or "/"
        one_query, many_query = _queries(request)
        proxy = inner.strip("/")
        made: Event = {
            "resource": "/{proxy+}" if proxy else "/",
            "path": request.path if base else inner,
            "httpMethod": request.method,
            "headers": dict(request.headers),
            "multiValueHeaders": {name: [value] for name, value in request.headers.items()},
            "queryStringParameters": one_query,
            "multiValueQueryStringParameters": many_query,
            "pathParameters": {"proxy": proxy} if proxy else None,
            "stageVariables": None,
            "requestContext": {
                "resourcePath": "/{proxy+}",
                "httpMethod": request.method,
                "path": request.path,
                "stage": stage,
                "domainName": "mcp.example.com" if base else "a1b2c3.execute-api.eu-west-1.amazonaws.com",
                "identity": {"sourceIp": "203.0.113.7", "userAgent": "peer"},
                "requestId": "c6af9ac6",
            },
            **_body(request),
        }
        if not many:
            del made["multiValueHeaders"], made["multiValueQueryStringParameters"]
        return made

    return event


def http_api(stage: str = "$default", domain: str = "a1b2c3.execute-api.eu-west-1.amazonaws.com") -> Any:
    """An HTTP API, payload format 2.0; a function URL is its ``$default`` at another domain."""

    def event(request: Request) -> Event:
        # An HTTP API decodes it.
        path = request.path if ".lambda-url." in domain else unquote(request.path)
        if stage != "$default" and ".execute-api." not in domain:
            # The stage is there, and no client has it in its URL.
            path = f"/{stage}{path}"
        return {
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": path,
            "rawQueryString": request.query,
            "headers": {name.lower(): value for name, value in request.headers.items() if name != "Cookie"},
            **({"cookies": request.headers["Cookie"].split("; ")} if "Cookie" in request.headers else {}),
            "requestContext": {
                "stage": stage,
                "domainName": domain,
                "http": {
                    "method": request.method,
                    "path": path,
                    "protocol": "HTTP/1.1",
                    "sourceIp": "203.0.113.7",
                    "userAgent": "peer",
                },
            },
            **_body(request),
        }

    return event


def http_api_in_format_1(request: Request) -> Event:
    """An HTTP API whose integration asks for payload format 1.0, with a catch-all route and a named stage."""
    made = rest("prod")(request)
    path = unquote(request.path)
    context = {**made["requestContext"], "path": path}
    route = {"resource": "$default", "pathParameters": None}
    return {**made, **route, "version": "1.0", "path": path, "requestContext": context}


def alb(*, many: bool) -> Callable[[Request], Event]:
    """An Application Load Balancer; ``many`` is its target group's multi-value headers."""

    def event(request: Request) -> Event:
        pairs = [text.partition("=")[::2] for text in request.query.split("&") if text]
        headers = {
            **{name.lower(): value for name, value in request.headers.items()},
            "x-forwarded-for": "198.51.100.1, 203.0.113.7",
            "x-forwarded-proto": "https",
        }
        one: Event = {"headers": headers, "queryStringParameters": dict(pairs)}
        lists: Event = {
            "multiValueHeaders": {name: [value] for name, value in headers.items()},
            "multiValueQueryStringParameters": {
                name: [value for other, value in pairs if other == name] for name, _ in pairs
            },
        }
        return {
            "requestContext": {"elb": {"targetGroupArn": "arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/x/y"}},
            "httpMethod": request.method,
            "path": request.path,
            **(lists if many else one),
            **_body(request),
        }

    return event


FRONTS: Final = (
    Front("rest", "/prod", rest("prod")),
    Front("rest-one-header", "/prod", rest("prod", many=False)),
    Front("rest-custom-domain", "/tools/v1", rest("prod", base="/tools/v1")),
    Front("http-api", "", http_api()),
    Front("http-api-stage", "/prod", http_api("prod")),
    Front("http-api-custom-domain", "", http_api("prod", "mcp.example.com")),
    Front("http-api-format-1", "/prod", http_api_in_format_1),
    Front("function-url", "", http_api(domain="x7yq.lambda-url.eu-west-1.on.aws")),
    Front("alb", "", alb(many=False)),
    Front("alb-many-headers", "", alb(many=True)),
)
