"""One JSON-RPC message from the bytes of a request's body."""

from __future__ import annotations

import json
import math
from typing import Any, Final, NoReturn

from mcp_types import (
    INVALID_REQUEST,
    PARSE_ERROR,
    JSONRPCError,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    RequestId,
)
from pydantic import ValidationError

Message = JSONRPCRequest | JSONRPCNotification | JSONRPCResponse | JSONRPCError

MAX_DEPTH: Final = 128
"""Levels of arrays and objects in a message: the kernel's own serializer walks no more than about 250."""


class InvalidMessage(Exception):
    """A body that is no single JSON-RPC message: the code and message of the error that says so."""

    def __init__(self, code: int, message: str, request_id: RequestId | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.request_id = request_id


def parse_message(body: bytes) -> Message:
    """The message in a body; raises ``InvalidMessage``.

    Stricter than ``json``: no NaN or infinities, no number beyond a float's range, UTF-8 only (RFC 8259).
    """
    try:
        decoded = json.loads(body.decode(), parse_constant=_refuse_constant, parse_float=_finite)
    except UnicodeDecodeError as exc:
        raise InvalidMessage(PARSE_ERROR, f"Parse error: the body is not UTF-8 at byte {exc.start}") from exc
    except RecursionError as exc:
        raise InvalidMessage(PARSE_ERROR, "Parse error: nested too deeply") from exc
    except ValueError as exc:
        raise InvalidMessage(PARSE_ERROR, f"Parse error: {exc}") from exc
    if isinstance(decoded, list):
        raise InvalidMessage(INVALID_REQUEST, "JSON-RPC batches are not supported: send one message a request")
    if not isinstance(decoded, dict):
        raise InvalidMessage(INVALID_REQUEST, "The body must be one JSON-RPC request, notification or response object")
    request_id = _readable_id(decoded)
    if _depth(decoded) > MAX_DEPTH:
        raise InvalidMessage(INVALID_REQUEST, f"The message is nested deeper than {MAX_DEPTH} levels", request_id)
    model = _model(decoded)
    try:
        return model.model_validate(decoded)
    except ValidationError as exc:
        where = ", ".join(sorted({str(error["loc"][0]) for error in exc.errors(include_input=False) if error["loc"]}))
        raise InvalidMessage(
            INVALID_REQUEST, f"Not a JSON-RPC 2.0 message: check {where or 'its members'}", request_id
        ) from exc


def _model(decoded: dict[str, Any]) -> type[Message]:
    # JSON-RPC 2.0, sections 4 and 5: the members that are present tell the kind, not which model happens to fit.
    if "method" in decoded:
        return JSONRPCRequest if "id" in decoded else JSONRPCNotification
    return JSONRPCError if "error" in decoded else JSONRPCResponse


def _readable_id(decoded: dict[str, Any]) -> RequestId | None:
    value = decoded.get("id")
    return value if isinstance(value, str | int) and not isinstance(value, bool) else None


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level := [
        child
        for node in level
        if isinstance(node, dict | list)
        for child in (node.values() if isinstance(node, dict) else node)
        if isinstance(child, dict | list)
    ]:
        depth += 1
        if depth > MAX_DEPTH:
            break
    return depth + 1


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("a number is out of range")
    return number
