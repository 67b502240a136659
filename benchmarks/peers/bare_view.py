"""A bare WSGI view in Django: the session's read and its conditional save by boto3, and no protocol.

``gunicorn benchmarks.peers.bare_view``, on the sessions table of the site. No middleware, no ORM, no check of anything;
messages look like MCP's so that every server gets the same calls. The two requests are those of the site's store.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from typing import Any

import boto3
import django
from botocore.config import Config
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path

TABLE = os.environ.get("DYNAMODB_SESSIONS_TABLE", "")
TTL_SECONDS = 24 * 3600
NAMES = {"#a0": "last_activity", "#a1": "ttl", "#ttl": "ttl", "#state": "state", "#k0": "value"}

settings.configure(
    SECRET_KEY=secrets.token_urlsafe(),
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=[],
    LOGGING_CONFIG=None,
)
django.setup()

dynamodb = boto3.client(
    "dynamodb",
    config=Config(
        connect_timeout=1,
        read_timeout=5,
        retries={"mode": "standard", "total_max_attempts": 4},
        max_pool_connections=64,
        tcp_keepalive=True,
    ),
)


def endpoint(request: HttpRequest) -> JsonResponse:
    """Answer a message as ``benchmarks.server`` would."""
    message = json.loads(request.body)
    if message["method"] == "initialize":
        session_id = _create()
        return JsonResponse(_answer(message, {}), headers={"Mcp-Session-Id": session_id})
    if message["method"] != "tools/call":
        return JsonResponse({}, status=202)
    params = message["params"]
    session_id = request.headers["Mcp-Session-Id"]
    answer = dynamodb.get_item(TableName=TABLE, Key={"session_id": {"S": session_id}}, ConsistentRead=True)
    values = answer["Item"]["state"]["M"]
    if params["name"] == "read":
        return JsonResponse(_answer(message, _text(values["value"]["S"])))
    _save(session_id, params["arguments"]["value"], "value" in values)
    return JsonResponse(_answer(message, _text("stored")))


def _create() -> str:
    session_id = secrets.token_urlsafe(24)
    now = int(time.time())
    dynamodb.put_item(
        TableName=TABLE,
        Item={
            "session_id": {"S": session_id},
            "shard": {"S": "0"},
            "created_at": {"N": str(now * 1000)},
            "last_activity": {"N": str(now // 60 * 60_000)},
            "ttl": {"N": str(now + TTL_SECONDS)},
            "state": {"M": {}},
            "counters": {"M": {}},
        },
        ConditionExpression="attribute_not_exists(session_id) OR #ttl <= :now",
        ExpressionAttributeNames={"#ttl": "ttl"},
        ExpressionAttributeValues={":now": {"N": str(now)}},
    )
    return session_id


def _save(session_id: str, value: str, stored: bool) -> None:
    now = int(time.time())
    room = [] if stored else ["size(#state) <= :room"]
    values: dict[str, Any] = {
        ":now": {"N": str(now)},
        ":a0": {"N": str(now // 60 * 60_000)},
        ":a1": {"N": str(now + TTL_SECONDS)},
        ":k0": {"S": json.dumps(value)},
    }
    if not stored:
        values[":room"] = {"N": "999"}
    dynamodb.update_item(
        TableName=TABLE,
        Key={"session_id": {"S": session_id}},
        UpdateExpression="SET #a0 = :a0, #a1 = :a1, #state.#k0 = :k0",
        ConditionExpression=" AND ".join(
            [
                "attribute_exists(session_id)",
                "attribute_not_exists(terminated_at)",
                "#ttl > :now",
                "attribute_not_exists(principal)",
                *room,
            ]
        ),
        ExpressionAttributeNames=NAMES,
        ExpressionAttributeValues=values,
        ReturnValues="NONE",
        ReturnValuesOnConditionCheckFailure="ALL_OLD",
    )


def _text(text: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}], "isError": False}


def _answer(message: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": message["id"], "result": result}


urlpatterns = [path("mcp", endpoint)]
application = get_wsgi_application()
