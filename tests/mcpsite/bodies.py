"""Bodies that are no JSON-RPC message, each under the name of what is wrong with it."""

from __future__ import annotations

from typing import Any, Final

NOT_JSON: Final = {
    "empty": b"",
    "blank": b"   ",
    "cut": b"{",
    "single quotes": b"{'jsonrpc': '2.0'}",
    "trailing text": b'{"jsonrpc": "2.0", "id": 1, "method": "ping"} x',
    "NaN as id": b'{"jsonrpc": "2.0", "id": NaN, "method": "ping"}',
    "NaN": b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"a": NaN}}',
    "infinity": b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"a": Infinity}}',
    "negative infinity": b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"a": -Infinity}}',
    "1e999": b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"a": 1e999}}',
    "-1e999": b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"a": -1e999}}',
    "5000 digits": b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"a": ' + b"9" * 5000 + b"}}",
    "not UTF-8": b'{"jsonrpc": "2.0", "id": 1, "method": "\xff\xfe"}',
    "byte order mark": b'\xef\xbb\xbf{"jsonrpc": "2.0", "id": 1, "method": "ping"}',
    "UTF-16": '{"jsonrpc": "2.0", "id": 1, "method": "ping"}'.encode("utf-16"),
    "control character": b'{"jsonrpc": "2.0", "id": 1, "method": "a\nb"}',
    "endlessly nested arrays": b"[" * 200_000 + b"]" * 200_000,
    "endlessly nested objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "endlessly open": b"[" * 200_000,
}

SCALARS: Final = {"number": b"1", "float": b"1.5", "string": b'"ping"', "null": b"null", "true": b"true"}
BATCHES: Final = {"empty batch": b"[]", "batch": b'[{"jsonrpc": "2.0", "id": 1, "method": "ping"}]'}

WRONG_MEMBERS: Final[dict[str, tuple[dict[str, Any], str, Any]]] = {
    "no version": ({"id": 1, "method": "ping"}, "jsonrpc", 1),
    "version 1.0": ({"jsonrpc": "1.0", "id": "x", "method": "ping"}, "jsonrpc", "x"),
    "number as version": ({"jsonrpc": 2.0, "id": 1, "method": "ping"}, "jsonrpc", 1),
    "true as id": ({"jsonrpc": "2.0", "id": True, "method": "ping"}, "id", None),
    "whole float as id": ({"jsonrpc": "2.0", "id": 1.0, "method": "ping"}, "id", None),
    "float as id": ({"jsonrpc": "2.0", "id": 1.5, "method": "ping"}, "id", None),
    "null as id": ({"jsonrpc": "2.0", "id": None, "method": "ping"}, "id", None),
    "array as id": ({"jsonrpc": "2.0", "id": [1], "method": "ping"}, "id", None),
    "object as id": ({"jsonrpc": "2.0", "id": {}, "method": "ping"}, "id", None),
    "null as method": ({"jsonrpc": "2.0", "id": 1, "method": None}, "method", 1),
    "number as method": ({"jsonrpc": "2.0", "id": 1, "method": 7}, "method", 1),
    "array as a notification's method": ({"jsonrpc": "2.0", "method": []}, "method", None),
    "array as params": ({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": []}, "params", 1),
    "string as params": ({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": "x"}, "params", 1),
    "nothing but an id": ({"jsonrpc": "2.0", "id": 1}, "result", 1),
    "number as result": ({"jsonrpc": "2.0", "id": 1, "result": 7}, "result", 1),
    "string as error": ({"jsonrpc": "2.0", "id": 1, "error": "no"}, "error", 1),
    "string as error code": ({"jsonrpc": "2.0", "id": 1, "error": {"code": "x", "message": "no"}}, "error", 1),
    "nothing": ({}, "jsonrpc", None),
}
"""The message, the member that is wrong, and the id that can be read all the same."""


def nested(levels: int) -> Any:
    """Arrays within arrays."""
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value
